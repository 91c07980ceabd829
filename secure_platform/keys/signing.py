"""Signatures are made and checked with our own keys, never with a key that comes from a document.

Releases and approvals: ECDSA P-256 with SHA-256, DER (FIPS 186-5). Log checkpoints: Ed25519 (RFC 8032).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_pem_public_key,
)

from secure_platform.errors import IntegrityError
from secure_platform.keys.material import NotPickled

_ECDSA: Final = ec.ECDSA(SHA256())


@dataclass(frozen=True)
class Signature:
    """A signature and the key that made it.

    Attributes:
        keyid: SHA-256 of the public key's PEM, 64 hex digits.
        value: ECDSA signature, DER.
    """

    keyid: str
    value: bytes


class SigningKey(NotPickled):
    """An ECDSA P-256 private key.

    Args:
        material: PKCS #8 DER.

    Raises:
        IntegrityError: If it is not a P-256 private key.
    """

    def __init__(self, material: bytes) -> None:
        key = load_der_private_key(material, password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise IntegrityError("The signing key is not a P-256 key", "Restore the control database.")
        self._key = key
        self.public_key_pem = (
            key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        )

    @staticmethod
    def generate() -> bytes:
        """New private key material, PKCS #8 DER."""
        key = ec.generate_private_key(ec.SECP256R1())
        return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())

    def sign(self, message: bytes) -> Signature:
        """Sign the message."""
        return Signature(keyid_of(self.public_key_pem), self._key.sign(message, _ECDSA))

    def verify(self, message: bytes, signature: bytes) -> None:
        """Check a signature of this key.

        Raises:
            IntegrityError: If it is not this key's signature over these bytes.
        """
        verify_p256(self._key.public_key(), message, signature)


class LogSigner(NotPickled):
    """Signs checkpoints of the audit log with Ed25519.

    Args:
        name: C2SP key name, e.g. `secure-platform/<origin>`.
        seed: 32-byte private key (RFC 8032 §5.1.5).
    """

    def __init__(self, name: str, seed: bytes) -> None:
        self._name = name
        self._key = Ed25519PrivateKey.from_private_bytes(seed)

    @property
    def name(self) -> str:
        """C2SP key name."""
        return self._name

    @property
    def public_key(self) -> bytes:
        """32-byte Ed25519 public key."""
        return self._key.public_key().public_bytes_raw()

    @property
    def readable_keys(self) -> Sequence[bytes]:
        """It alone."""
        return (self.public_key,)

    @property
    def own_keys(self) -> Sequence[bytes]:
        """It alone."""
        return (self.public_key,)

    def sign(self, message: bytes) -> bytes:
        """64-byte signature of the message."""
        return self._key.sign(message)


def log_public_key(seed: bytes) -> bytes:
    """The public half of a key that signs checkpoints."""
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def keyid_of(public_key_pem: str) -> str:
    """The name of a public key: SHA-256 of its PEM, 64 hex digits."""
    return hashlib.sha256(public_key_pem.encode()).hexdigest()


def verify_pem(public_key_pem: str, message: bytes, signature: bytes) -> None:
    """Check an ECDSA P-256 signature by the public half of the key.

    Raises:
        IntegrityError: If it is not a P-256 key, or not its signature over these bytes.
    """
    key = load_pem_public_key(public_key_pem.encode())
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise IntegrityError("The signing key is not a P-256 key", "Restore the control database.")
    verify_p256(key, message, signature)


def verify_p256(public_key: ec.EllipticCurvePublicKey, message: bytes, signature: bytes) -> None:
    """Check an ECDSA signature.

    Raises:
        IntegrityError: If it is not the key's signature over these bytes.
    """
    try:
        public_key.verify(signature, message, _ECDSA)
    except InvalidSignature:
        raise IntegrityError(
            "A signature does not fit the signed bytes",
            "Restore the signed file from a copy, or build it again.",
        ) from None
