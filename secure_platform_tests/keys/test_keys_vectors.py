"""Known answers from Wycheproof and the RFCs for every primitive the ring is built from."""

import base64
import gzip
import hmac
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from secure_platform import canonical
from secure_platform.errors import IntegrityError
from secure_platform.keys.envelope import Envelope, commitment, decrypt
from secure_platform.keys.material import derive, hmac_sha256
from secure_platform.keys.signing import LogSigner, verify_p256
from secure_platform.keys.wrapped import WrappedDataKey

# RFC 8032 §7.1, tests 1 to 3: seed, public key, message, signature.
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
            "d25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
            "387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
            "4a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
]


def wycheproof(shared_data: Path, name: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    path = shared_data / "crypto_signing" / "wycheproof" / name
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [(group, test) for group in json.loads(text)["testGroups"] for test in group["tests"]]


def hkdf_by_hand(key: bytes, purpose: bytes) -> bytes:
    """RFC 5869 for 32 bytes and an empty salt, from `hmac` alone."""
    extracted = hmac.digest(bytes(32), key, "sha256")
    return hmac.digest(extracted, purpose + b"\x01", "sha256")


def test_hkdf_wycheproof(shared_data: Path) -> None:
    """Our derivation has an empty salt and UTF-8 purposes."""
    checked = 0
    for _, test in wycheproof(shared_data, "hkdf_sha256_test.json"):
        info = bytes.fromhex(test["info"])
        if test["result"] != "valid" or test["salt"] or not info.isascii():
            continue
        derived = derive(bytes.fromhex(test["ikm"]), info.decode(), test["size"])
        assert derived.hex() == test["okm"], test["tcId"]
        checked += 1
    assert checked >= 4


def test_hkdf_agrees_with_the_definition_for_every_wycheproof_key(shared_data: Path) -> None:
    for _, test in wycheproof(shared_data, "hkdf_sha256_test.json"):
        key, purpose = bytes.fromhex(test["ikm"]), f"token|{test['tcId']}"
        assert derive(key, purpose) == hkdf_by_hand(key, purpose.encode())


def test_hmac_wycheproof(shared_data: Path) -> None:
    cases = wycheproof(shared_data, "hmac_sha256_test.json")
    for group, test in cases:
        computed = hmac_sha256(bytes.fromhex(test["key"]), bytes.fromhex(test["msg"]))[
            : group["tagSize"] // 8
        ]
        assert (computed.hex() == test["tag"]) is (test["result"] == "valid"), test["tcId"]
    assert len(cases) == 174


def test_aes_gcm_wycheproof(shared_data: Path) -> None:
    """The parameters we use: 256-bit key, 96-bit nonce, 128-bit tag."""
    checked = refused = 0
    for group, test in wycheproof(shared_data, "aes_gcm_test.json.gz"):
        if (group["keySize"], group["ivSize"], group["tagSize"]) != (256, 96, 128):
            continue
        key, nonce, aad = (bytes.fromhex(test[name]) for name in ("key", "iv", "aad"))
        ciphertext = bytes.fromhex(test["ct"] + test["tag"])
        if test["result"] == "valid":
            assert decrypt(key, nonce, ciphertext, aad).hex() == test["msg"], test["tcId"]
        else:
            with pytest.raises(InvalidTag):
                decrypt(key, nonce, ciphertext, aad)
            refused += 1
        checked += 1
    assert checked >= 60
    assert refused >= 20


def test_cell_keys_are_of_the_length_that_aes_siv_takes(shared_data: Path) -> None:
    """RFC 5297 with 512-bit keys, as cells are encrypted."""
    checked = refused = 0
    for group, test in wycheproof(shared_data, "aes_siv_cmac_test.json.gz"):
        if group["keySize"] != 512:
            continue
        siv = AESSIV(bytes.fromhex(test["key"]))
        ciphertext, aad = bytes.fromhex(test["ct"]), [bytes.fromhex(test["aad"])]
        if test["result"] == "valid":
            assert siv.encrypt(bytes.fromhex(test["msg"]), aad) == ciphertext or not test["msg"]
            assert not test["msg"] or siv.decrypt(ciphertext, aad).hex() == test["msg"], test["tcId"]
        else:
            with pytest.raises(InvalidTag):
                siv.decrypt(ciphertext, aad)
            refused += 1
        checked += 1
    assert checked >= 100
    assert refused >= 20


def test_ecdsa_p256_wycheproof(shared_data: Path) -> None:
    refused = 0
    cases = wycheproof(shared_data, "ecdsa_secp256r1_sha256_test.json.gz")
    for group, test in cases:
        key = load_pem_public_key(group["publicKeyPem"].encode())
        assert isinstance(key, ec.EllipticCurvePublicKey)
        message, signature = bytes.fromhex(test["msg"]), bytes.fromhex(test["sig"])
        if test["result"] == "valid":
            verify_p256(key, message, signature)
        else:
            with pytest.raises(IntegrityError):
                verify_p256(key, message, signature)
            refused += 1
    assert len(cases) == 484
    assert refused >= 100


@pytest.mark.parametrize(("seed", "public", "message", "signature"), RFC_8032)
def test_log_signatures_are_those_of_rfc_8032(seed: str, public: str, message: str, signature: str) -> None:
    signer = LogSigner("secure-platform/test", bytes.fromhex(seed))
    assert signer.name == "secure-platform/test"
    assert signer.public_key.hex() == public
    assert signer.sign(bytes.fromhex(message)).hex() == signature


def test_log_signatures_verify_where_wycheproof_verifies(shared_data: Path) -> None:
    """The verifier that accepts our log signatures is the one that passes Wycheproof's Ed25519 cases."""
    for group, test in wycheproof(shared_data, "ed25519_test.json.gz"):
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(group["publicKey"]["pk"]))
        try:
            key.verify(bytes.fromhex(test["sig"]), bytes.fromhex(test["msg"]))
            accepted = True
        except Exception:  # noqa: BLE001 the library names malformed signatures by several classes
            accepted = False
        assert accepted is (test["result"] == "valid"), test["tcId"]
    signer = LogSigner("n", bytes(32))
    Ed25519PublicKey.from_public_bytes(signer.public_key).verify(
        signer.sign(b"size and root"), b"size and root"
    )


def test_sealed_form_is_the_documented_one() -> None:
    """Opened by hand from the module's description, so a change of the format cannot go unnoticed."""
    key = bytes(range(32))
    sealed = Envelope(key).seal(b"secret", b"context")
    assert (
        sealed[:33] == b"\x01" + hkdf_by_hand(key, b"secure-platform/commit/v1") == b"\x01" + commitment(key)
    )
    encryption_key = hkdf_by_hand(key, b"secure-platform/encrypt/v1")
    assert AESGCM(encryption_key).decrypt(sealed[33:45], sealed[45:], b"context") == b"secret"


def test_a_sealed_secret_of_an_earlier_build_still_opens() -> None:
    """A fixed vector, made by hand: data written today must open for years."""
    key, nonce, context = bytes(range(32)), bytes(range(100, 112)), {"dataset": "patients"}
    data_key = sha256(b"data key").digest()
    header = WrappedDataKey("data", 1, hkdf_by_hand(data_key, b"secure-platform/commit/v1"))
    raw_header = b"spdk\x01\x04data\x00\x00\x00\x01" + header.commitment
    associated = raw_header + canonical.dumps(context)
    body = AESGCM(hkdf_by_hand(key, b"secure-platform/encrypt/v1")).encrypt(nonce, data_key, associated)
    sealed = b"\x01" + hkdf_by_hand(key, b"secure-platform/commit/v1") + nonce + body
    parsed = WrappedDataKey.parse(base64.b64encode(raw_header + sealed).decode())
    assert Envelope(key).open(parsed.sealed, parsed.associated(context), name="x") == data_key
    assert (
        sha256(raw_header + sealed).hexdigest()
        == "74b424d81cec4c51d60870b515b7ffef93b08b2f922ba8624ee169de8f7a1a3e"
    )
