import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given, settings
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey  # type: ignore[attr-defined]  # exported without a marker

from secure_platform import canonical
from secure_platform.control.database import ControlDatabase
from secure_platform.errors import IntegrityError, UsageError
from secure_platform.keys.home import HomeKeys
from secure_platform.keys.providers.local import LocalKeyProvider
from secure_platform.keys.ring import KeyRing
from secure_platform.release.bundle import PAYLOAD_TYPE, pae, sign_statement, verify_bundle

SUBJECT = canonical.sha256(b"a manifest")
KIND = "https://example.test/predicate/v1"
PREDICATE = {"text": "ü", "number": 3, "list": [1, None, True]}


def new_ring(home: Path) -> KeyRing:
    home.mkdir(mode=0o700)
    database = ControlDatabase.at(home / "control.db")
    database.migrate()
    ring = HomeKeys(LocalKeyProvider.create(home / "keys"), database, home / "audit.db").ring
    ring.initialise()
    return ring


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyRing:
    return new_ring(tmp_path_factory.mktemp("bundle") / "home")


@pytest.fixture(scope="module")
def bundle(keys: KeyRing) -> bytes:
    return sign_statement(
        keys, subject_name="manifest.json", subject_digest=SUBJECT, predicate_type=KIND, predicate=PREDICATE
    )


def check(keys: KeyRing, bundle: bytes) -> Any:
    return verify_bundle(keys, bundle, predicate_type=KIND, subject_digest=SUBJECT)


def resign(keys: KeyRing, payload: bytes, payload_type: str = PAYLOAD_TYPE) -> bytes:
    """A bundle that our own key really signed, over a payload that `sign_statement` would never write."""
    signature = keys.sign(pae(payload_type, payload))
    return canonical.dumps(
        {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {"publicKey": {"hint": signature.keyid}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": base64.b64encode(payload).decode(),
                "payloadType": payload_type,
                "signatures": [{"sig": base64.b64encode(signature.value).decode(), "keyid": signature.keyid}],
            },
        }
    )


def test_what_was_signed_is_returned(keys: KeyRing, bundle: bytes) -> None:
    assert check(keys, bundle) == PREDICATE


def test_securesystemslib_accepts_it_and_refuses_an_edited_payload(keys: KeyRing, bundle: bytes) -> None:
    document = json.loads(bundle)
    keyid = document["verificationMaterial"]["publicKey"]["hint"]
    key = SSlibKey(keyid, "ecdsa", "ecdsa-sha2-nistp256", {"public": keys.public_key_pem(keyid)})
    envelope = Envelope.from_dict(document["dsseEnvelope"])
    envelope.verify([key], 1)
    assert json.loads(envelope.payload)["subject"][0]["digest"] == {"sha256": SUBJECT.removeprefix("sha256:")}
    envelope.payload = envelope.payload.replace(b'"number":3', b'"number":4')
    with pytest.raises(VerificationError):
        envelope.verify([key], 1)


def test_every_flipped_bit_is_refused(keys: KeyRing, bundle: bytes) -> None:
    for offset in range(len(bundle)):
        flipped = bytearray(bundle)
        flipped[offset] ^= 1 << (offset % 8)
        with pytest.raises(IntegrityError):
            check(keys, bytes(flipped))


def edit(change: Callable[[dict[str, Any]], None]) -> Callable[[bytes], bytes]:
    def edited(bundle: bytes) -> bytes:
        document = json.loads(bundle)
        change(document)
        return canonical.dumps(document)

    return edited


def _envelope(**members: Any) -> Callable[[bytes], bytes]:
    return edit(lambda document: document["dsseEnvelope"].update(members))


def _second_signature(document: dict[str, Any]) -> None:
    document["dsseEnvelope"]["signatures"] *= 2


def _other_keyid(document: dict[str, Any]) -> None:
    document["dsseEnvelope"]["signatures"][0]["keyid"] = "0" * 64


def _foreign_key(document: dict[str, Any]) -> None:
    envelope = document["dsseEnvelope"]
    payload = base64.b64decode(envelope["payload"])
    private = ec.generate_private_key(ec.SECP256R1())
    value = private.sign(pae(PAYLOAD_TYPE, payload), ec.ECDSA(SHA256()))
    envelope["signatures"][0]["sig"] = base64.b64encode(value).decode()


def _foreign_hint(document: dict[str, Any]) -> None:
    _foreign_key(document)
    _other_keyid(document)
    document["verificationMaterial"]["publicKey"]["hint"] = "0" * 64


@pytest.mark.parametrize(
    ("change", "culprit"),
    [
        (_envelope(payloadType="application/json"), "payload of the bundle is not an in-toto statement"),
        (_envelope(signatures=[]), "0 signatures"),
        (_envelope(signatures="none"), "0 signatures"),
        (_envelope(payload="!"), "payload of the bundle is not base64"),
        (_envelope(payload=7), "payload of the bundle is not base64"),
        (_envelope(extra=1), "envelope of the bundle has 1 unknown members"),
        (edit(_second_signature), "2 signatures"),
        (edit(_other_keyid), "names another key than the bundle"),
        (edit(_foreign_key), "signature does not fit"),
        (edit(_foreign_hint), "not one of this home's signing keys"),
        (edit(lambda d: d.update(mediaType="application/json")), "not a Sigstore bundle v0.3"),
        (edit(lambda d: d.update(certificate="x")), "bundle has 1 unknown members"),
        (edit(lambda d: d.pop("dsseEnvelope")), "bundle lacks dsseEnvelope"),
        (edit(lambda d: d["verificationMaterial"].update(tlogEntries=[{}])), "transparency log entries"),
        (edit(lambda d: d["verificationMaterial"].update(publicKey={"hint": 1})), "hint of the bundle"),
        (lambda b: b + b" ", "canonical form"),
        (lambda b: json.dumps(json.loads(b)).encode(), "canonical form"),
        (lambda b: b[:-1], "not a strict JSON document"),
        (lambda b: b"\xef\xbb\xbf" + b, "not a strict JSON document"),
        (
            lambda b: b.replace(b'"mediaType":', b'"mediaType":"x","mediaType":', 1),
            "not a strict JSON document",
        ),
        (lambda _: b"[]", "bundle is not an object"),
        (lambda _: b" " * (2 << 20), "larger than 1 MiB"),
        (lambda _: b"[" * 100_000, "not a strict JSON document"),
    ],
)
def test_a_bundle_of_another_shape_is_refused(
    keys: KeyRing, bundle: bytes, change: Callable[[bytes], bytes], culprit: str
) -> None:
    with pytest.raises(IntegrityError, match=culprit):
        check(keys, change(bundle))


STATEMENT: dict[str, Any] = {
    "_type": "https://in-toto.io/Statement/v1",
    "subject": [{"name": "manifest.json", "digest": {"sha256": SUBJECT.removeprefix("sha256:")}}],
    "predicateType": KIND,
    "predicate": {},
}
ANOTHER = {"name": "manifest.json", "digest": {"sha256": "0" * 64}}


@pytest.mark.parametrize(
    ("members", "culprit"),
    [
        ({"_type": "https://in-toto.io/Statement/v0.1"}, "not an in-toto Statement v1"),
        ({"predicateType": KIND + "x"}, "another predicate type"),
        ({"predicate": []}, "predicate of the signed statement is not an object"),
        ({"subject": [ANOTHER]}, "about another subject"),
        ({"subject": [STATEMENT["subject"][0], ANOTHER]}, "2 subjects"),
        ({"subject": []}, "0 subjects"),
        ({"subject": [{"name": 1, "digest": {"sha256": "0" * 64}}]}, "has no name"),
        ({"subject": [{"name": "m", "digest": {"sha256": "0" * 64, "md5": "0"}}]}, "1 unknown members"),
        ({"subject": [{"name": "m", "digest": {"sha256": 5}}]}, "about another subject"),
        ({"extra": 1}, "statement has 1 unknown members"),
    ],
)
def test_a_signed_statement_of_another_shape_is_refused(
    keys: KeyRing, members: dict[str, Any], culprit: str
) -> None:
    assert check(keys, resign(keys, canonical.dumps(STATEMENT))) == {}
    with pytest.raises(IntegrityError, match=culprit):
        check(keys, resign(keys, canonical.dumps({**STATEMENT, **members})))


def test_duplicate_keys_in_the_signed_statement_are_refused(keys: KeyRing) -> None:
    payload = canonical.dumps(STATEMENT).replace(b'"predicate":', b'"predicate":{"a":1},"predicate":', 1)
    with pytest.raises(IntegrityError, match="not a strict JSON document"):
        check(keys, resign(keys, payload))


def test_a_signature_for_another_payload_type_is_refused(keys: KeyRing) -> None:
    document = json.loads(resign(keys, canonical.dumps(STATEMENT), "application/json"))
    document["dsseEnvelope"]["payloadType"] = PAYLOAD_TYPE
    with pytest.raises(IntegrityError, match="signature does not fit"):
        check(keys, canonical.dumps(document))


def test_another_home_refuses_it(bundle: bytes, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="not one of this home's signing keys"):
        check(new_ring(tmp_path / "home"), bundle)


def test_only_a_sha256_digest_can_be_signed(keys: KeyRing) -> None:
    with pytest.raises(UsageError):
        sign_statement(keys, subject_name="m", subject_digest="md5:0", predicate_type=KIND, predicate={})


@settings(max_examples=150, deadline=None)
@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.booleans() | st.text(), st.lists).map(json.dumps).map(str.encode)
)
def test_arbitrary_bytes_are_refused_with_our_own_error(keys: KeyRing, data: bytes) -> None:
    with pytest.raises(IntegrityError):
        check(keys, data)
