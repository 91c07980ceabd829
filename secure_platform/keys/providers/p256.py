"""The public half of a signing key that a service holds has one text here, by which the key is known."""

from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

from secure_platform.errors import ServiceError

_PEM: Final = b"-----BEGIN"


def p256_pem(given: bytes, *, name: str) -> str:
    """The canonical PEM of a P-256 public key.

    Args:
        given: SPKI, PEM or DER.
        name: The key, for the error.

    Raises:
        ServiceError: If it is not a P-256 public key.
    """
    load = load_pem_public_key if given.startswith(_PEM) else load_der_public_key
    try:
        key = load(given)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ServiceError(f"{name} does not sign with ECDSA P-256", "Name a key that does in the settings.")
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
