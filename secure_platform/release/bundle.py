"""One statement, one signature, one bundle; what is verified is exactly what is parsed.

An in-toto Statement v1 in a DSSE envelope in a Sigstore bundle v0.3 with a public-key hint. The reader
accepts only what the writer writes: a bundle with a member it does not know, a second signature or a second
subject could be understood differently by another reader. The key comes from the key ring, never the bundle.

Sources: in-toto attestation framework v1 (Statement), DSSE v1 (PAE), Sigstore protobuf specs (bundle v0.3).
"""

import base64
import binascii
import hmac
import re
from collections.abc import Mapping
from typing import Any, Final, Protocol

from secure_platform import canonical
from secure_platform.errors import IntegrityError, UsageError
from secure_platform.keys.ring import KeyRing

BUNDLE_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
MAX_BYTES: Final = 1 << 20
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_FIX: Final = "Do not use it: restore it from a copy, or have it signed again."


class Verifier(Protocol):
    """Whose signatures are believed: the key ring in its home, a trust root elsewhere."""

    def verify(self, message: bytes, signature: bytes, keyid: str) -> None:
        """Check a signature.

        Raises:
            IntegrityError: If the key is not trusted, or the signature does not fit.
        """
        ...


def pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE pre-authentication encoding: the bytes that are signed. Source: DSSE v1."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign_statement(
    keys: KeyRing,
    *,
    subject_name: str,
    subject_digest: str,
    predicate_type: str,
    predicate: Mapping[str, Any],
) -> bytes:
    """Sign a statement about one subject.

    Args:
        keys: The ring whose signing key (ECDSA P-256, SHA-256) signs.
        subject_name: What the subject is called, e.g. `manifest.json`.
        subject_digest: `sha256:<64 hex digits>` of the subject's bytes.
        predicate_type: URI of the predicate's type.
        predicate: What is stated; canonical JSON must be able to carry it.

    Returns:
        The bundle, as canonical JSON.

    Raises:
        UsageError: If the digest is not a SHA-256 digest.
    """
    if not _DIGEST.fullmatch(subject_digest):
        raise UsageError("The subject's digest is not `sha256:<64 hex digits>`", "Pass the file's digest.")
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": subject_name, "digest": {"sha256": subject_digest.removeprefix("sha256:")}}],
        "predicateType": predicate_type,
        "predicate": dict(predicate),
    }
    payload = canonical.dumps(statement)
    signature = keys.sign(pae(PAYLOAD_TYPE, payload))
    return canonical.dumps(_bundle(payload, signature.value, signature.keyid))


def signer_of(bundle: bytes) -> str:
    """The name of the key that a bundle says it was signed with; nothing is verified.

    Raises:
        IntegrityError: If it is not of the form that `sign_statement` writes.
    """
    return _open(bundle)[2]


def sign_again(keys: KeyRing, bundle: bytes) -> bytes:
    """The same statement under the present signing key; the caller has verified that it is ours."""
    payload, _, _ = _open(bundle)
    signature = keys.sign(pae(PAYLOAD_TYPE, payload))
    return canonical.dumps(_bundle(payload, signature.value, signature.keyid))


def verify_bundle(
    keys: Verifier, bundle: bytes, *, predicate_type: str, subject_digest: str
) -> Mapping[str, Any]:
    """Verify a bundle against the subject's digest, which the caller derives from the subject's own bytes.

    Args:
        keys: Whose signatures are believed.
        bundle: The bundle's bytes.
        predicate_type: The only predicate type that is accepted.
        subject_digest: `sha256:<64 hex digits>` of the subject's bytes.

    Returns:
        The predicate.

    Raises:
        IntegrityError: If anything in it is not what `sign_statement` writes, or the signature is not ours.
    """
    payload, signature, keyid = _open(bundle)
    keys.verify(pae(PAYLOAD_TYPE, payload), signature, keyid)
    statement = _members(
        canonical.loads(payload, name="The signed statement"),
        {"_type", "subject", "predicateType", "predicate"},
        "statement",
    )
    _require(statement["_type"] == STATEMENT_TYPE, "The signed statement is not an in-toto Statement v1")
    _require(statement["predicateType"] == predicate_type, "The signed statement has another predicate type")
    _check_subject(statement["subject"], subject_digest)
    predicate = statement["predicate"]
    _require(isinstance(predicate, dict), "The predicate of the signed statement is not an object")
    return dict(predicate)


def _bundle(payload: bytes, signature: bytes, keyid: str) -> dict[str, Any]:
    return {
        "mediaType": BUNDLE_TYPE,
        "verificationMaterial": {"publicKey": {"hint": keyid}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": keyid}],
        },
    }


def _open(bundle: bytes) -> tuple[bytes, bytes, str]:
    """The signed bytes, the signature and the name of the key; nothing is authenticated yet."""
    _require(len(bundle) <= MAX_BYTES, "The bundle is larger than 1 MiB")
    document = _members(
        canonical.loads(bundle, name="The bundle"),
        {"mediaType", "verificationMaterial", "dsseEnvelope"},
        "bundle",
    )
    _require(document["mediaType"] == BUNDLE_TYPE, "The bundle is not a Sigstore bundle v0.3")
    keyid = _hint(document["verificationMaterial"])
    envelope = _members(
        document["dsseEnvelope"], {"payload", "payloadType", "signatures"}, "envelope of the bundle"
    )
    _require(envelope["payloadType"] == PAYLOAD_TYPE, "The payload of the bundle is not an in-toto statement")
    signature = _members(
        _single(envelope["signatures"], "signature"), {"sig", "keyid"}, "signature of the bundle"
    )
    _require(signature["keyid"] == keyid, "The signature names another key than the bundle")
    payload, value = _decode(envelope["payload"], "payload"), _decode(signature["sig"], "signature")
    # Re-encoding also refuses stray base64 bits and other spellings of the JSON: one content, one spelling.
    _require(bundle == canonical.dumps(_bundle(payload, value, keyid)), "The bundle is not in canonical form")
    return payload, value, keyid


def _hint(material: Any) -> str:
    members = _members(material, {"publicKey", "tlogEntries"}, "verification material of the bundle")
    _require(
        members["tlogEntries"] == [], "The bundle carries transparency log entries, which are not used here"
    )
    hint = _members(members["publicKey"], {"hint"}, "public key of the bundle")["hint"]
    _require(isinstance(hint, str), "The public key hint of the bundle is not text")
    return str(hint)


def _check_subject(subjects: Any, digest: str) -> None:
    subject = _members(_single(subjects, "subject"), {"name", "digest"}, "subject of the statement")
    _require(isinstance(subject["name"], str), "The subject of the statement has no name")
    found = _members(subject["digest"], {"sha256"}, "digest of the subject")["sha256"]
    _require(
        isinstance(found, str) and hmac.compare_digest(f"sha256:{found}".encode(), digest.encode()),
        "The signed statement is about another subject",
    )


def _single(value: Any, what: str) -> Any:
    count = len(value) if isinstance(value, list) else 0
    _require(count == 1, f"The bundle has {count} {what}s instead of exactly one")
    return value[0]


def _members(value: Any, names: set[str], what: str) -> dict[str, Any]:
    _require(isinstance(value, dict), f"The {what} is not an object")
    missing, unknown = names - value.keys(), value.keys() - names
    _require(not missing, f"The {what} lacks {', '.join(sorted(missing))}")
    _require(not unknown, f"The {what} has {len(unknown)} unknown members")
    return dict(value)


def _decode(text: Any, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise IntegrityError(f"The {what} of the bundle is not base64", _FIX) from None


def _require(holds: bool, culprit: str) -> None:  # noqa: FBT001 - reads as the sentence it is
    if not holds:
        raise IntegrityError(culprit, _FIX)
