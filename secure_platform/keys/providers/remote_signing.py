"""A signature that a service made is checked here before anybody relies on it, by the public half it gave."""

from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

from secure_platform.errors import IntegrityError, ServiceError
from secure_platform.keys.signing import Signature, keyid_of, verify_p256

_PEM: Final = b"-----BEGIN"


def p256_pem(given: bytes, *, name: str) -> str:
    """The one PEM text of a P-256 public key, by which it is known.

    Args:
        given: SPKI, PEM or DER.
        name: The key, for the error.

    Raises:
        ServiceError: If it is not a P-256 public key.
    """
    key = _loaded(given, name)
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def checked_signature(public_key_pem: str, message: bytes, value: bytes) -> Signature:
    """The signature, which fits.

    Raises:
        ServiceError: If it does not.
    """
    try:
        verify_p256(_loaded(public_key_pem.encode(), "The public key"), message, value)
    except IntegrityError:
        raise ServiceError(
            "The service that holds the signing key made a signature that does not fit", "Look into its log."
        ) from None
    return Signature(keyid_of(public_key_pem), value)


def _loaded(given: bytes, name: str) -> ec.EllipticCurvePublicKey:
    load = load_pem_public_key if given.startswith(_PEM) else load_der_public_key
    try:
        key = load(given)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ServiceError(f"{name} does not sign with ECDSA P-256", "Name a key that does in the settings.")
    return key
