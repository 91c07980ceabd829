"""A trust root tells verifiers without a key ring which signing keys are this home's, and which are revoked.

It is one file of canonical JSON: the root itself, and an ECDSA P-256 signature over its DSSE encoding by one
of its own keys that is not revoked. The signature shows that the file is complete, not whose it is: a root
must be handed over in a way that its receiver trusts. A root with a smaller number never replaces one with a
larger.

A signature does not prove when it was made. Nothing that a revoked key signed is therefore trusted, however
old it claims to be; what deserved it has been signed again. The date on which a key stopped signing is for
information only.
"""

import base64
import binascii
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from secure_platform import canonical
from secure_platform.errors import IntegrityError
from secure_platform.keys.catalog import SIGN, KeyVersion
from secure_platform.keys.ring import KeyRing
from secure_platform.keys.signing import keyid_of, verify_p256
from secure_platform.release.bundle import pae
from secure_platform.release.manifest import Count

FORMAT: Final = "secure-platform/trust-root/v1"
PAYLOAD_TYPE: Final = "application/vnd.secure-platform.trust-root.v1+json"
TRUST_ROOT: Final = "trust-root.json"
MAX_BYTES: Final = 1 << 20
_FIX: Final = "Ask whoever runs the home for its trust root: secure-platform keys trust-root."

KeyId = Annotated[str, StringConstraints(pattern=r"\A[0-9a-f]{64}\z")]


class TrustedKey(BaseModel):
    """One version of the home's signing key.

    Attributes:
        keyid: SHA-256 of its PEM.
        public_key: SPKI, PEM.
        not_before: When it was made.
        not_after: When it was followed by another; None while it signs.
        revoked_at: When it was given up; None while it is believed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    keyid: KeyId
    public_key: str
    not_before: str
    not_after: str | None
    revoked_at: str | None


class TrustRoot(BaseModel):
    """The signing keys of one home.

    Attributes:
        origin: Name of the home's audit log.
        number: Entries of that log when the root was made; it only grows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal["secure-platform/trust-root/v1"]
    origin: str
    environment: str
    number: Count
    issued_at: str
    keys: Annotated[list[TrustedKey], Field(min_length=1)]

    def verify(self, message: bytes, signature: bytes, keyid: str) -> None:
        """Check a signature against the keys that are believed.

        Raises:
            IntegrityError: If the key is not one of the home's, or revoked, or the signature does not fit.
        """
        key = next((each for each in self.keys if each.keyid == keyid), None)
        if key is None:
            raise IntegrityError("A signature names a key that is not in the trust root", _FIX)
        if key.revoked_at is not None:
            raise IntegrityError(
                f"A signature was made with a key that was revoked at {key.revoked_at}",
                "Ask for the package again: what stands was signed again when the key was revoked.",
            )
        verify_p256(_public_key(key), message, signature)


def trust_root(keys: KeyRing, *, origin: str, environment: str, number: int, now: datetime) -> TrustRoot:
    """What is to be believed now."""
    versions = [version for version in keys.versions() if version.name == SIGN]
    following = [*versions[1:], None]
    return TrustRoot(
        format=FORMAT,
        origin=origin,
        environment=environment,
        number=number,
        issued_at=now.isoformat(),
        keys=[_trusted(version, after) for version, after in zip(versions, following, strict=True)],
    )


def seal(root: TrustRoot, keys: KeyRing) -> bytes:
    """The document that is published."""
    body = root.model_dump()
    signature = keys.sign(pae(PAYLOAD_TYPE, canonical.dumps(body)))
    return canonical.dumps(_document(body, signature.keyid, signature.value))


def read_trust_root(document: bytes) -> TrustRoot:
    """Read what `seal` wrote.

    Raises:
        IntegrityError: If it is not a trust root, or not signed by one of its own keys that is believed.
    """
    if len(document) > MAX_BYTES:
        raise IntegrityError("The trust root is larger than one can be", _FIX)
    content = canonical.loads(document, name="The trust root")
    try:
        body, keyid = content["trust_root"], content["signature"]["keyid"]
        value = base64.b64decode(content["signature"]["sig"], validate=True)
        exact = canonical.dumps(_document(body, keyid, value)) == document
        root = TrustRoot.model_validate(body)
    except (KeyError, TypeError, ValueError, binascii.Error, ValidationError):
        raise IntegrityError("The trust root is malformed", _FIX) from None
    if not exact or any(keyid_of(key.public_key) != key.keyid for key in root.keys):
        raise IntegrityError("The trust root is malformed", _FIX)
    root.verify(pae(PAYLOAD_TYPE, canonical.dumps(body)), value, keyid)
    return root


def _trusted(version: KeyVersion, after: KeyVersion | None) -> TrustedKey:
    pem = version.public_key or ""
    return TrustedKey(
        keyid=keyid_of(pem),
        public_key=pem,
        not_before=version.created_at.isoformat(),
        not_after=after.created_at.isoformat() if after else None,
        revoked_at=None if version.readable else version.changed_at.isoformat(),
    )


def _public_key(key: TrustedKey) -> ec.EllipticCurvePublicKey:
    try:
        public = load_pem_public_key(key.public_key.encode())
    except (ValueError, UnsupportedAlgorithm):
        public = None
    if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
        raise IntegrityError("The trust root holds a key that is not a P-256 key", _FIX)
    return public


def _document(body: Any, keyid: Any, signature: bytes) -> dict[str, Any]:
    encoded = base64.b64encode(signature).decode()
    return {"trust_root": body, "signature": {"keyid": keyid, "sig": encoded}}
