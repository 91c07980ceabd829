"""Authenticated encryption of key material that commits to its key.

A sealed secret is `0x01 ‖ commitment (32) ‖ nonce (12) ‖ AES-256-GCM ciphertext and tag`. Encryption key and
commitment are derived from the same input key by HKDF. AES-GCM alone does not commit: one ciphertext can be
made to open under two keys, so the commitment is compared first. It has 32 bytes because it must resist
collisions, not only guesses. The nonce is random: a key seals at most 2^32 secrets (NIST SP 800-38D §8.3).
"""

import hmac
import secrets
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from secure_platform.errors import IntegrityError
from secure_platform.keys.material import NotPickled, derive

FORMAT: Final = b"\x01"
COMMITMENT_BYTES: Final = 32
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
_NONCE_AT: Final = len(FORMAT) + COMMITMENT_BYTES
_CIPHERTEXT_AT: Final = _NONCE_AT + NONCE_BYTES


def commitment(key: bytes) -> bytes:
    """32 bytes that name this key and no other, and tell nothing about it."""
    return derive(key, "secure-platform/commit/v1")


class Envelope(NotPickled):
    """Seals and opens under one 32-byte key."""

    def __init__(self, key: bytes) -> None:
        self._head = FORMAT + commitment(key)
        self._encryption_key = derive(key, "secure-platform/encrypt/v1")

    def seal(self, plaintext: bytes, associated: bytes) -> bytes:
        """Encrypt; `associated` is authenticated, not stored."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return self._head + nonce + AESGCM(self._encryption_key).encrypt(nonce, plaintext, associated)

    def belongs(self, sealed: bytes) -> bool:
        """Whether this was sealed in this format under this key."""
        return hmac.compare_digest(sealed[:_NONCE_AT], self._head)

    def open(self, sealed: bytes, associated: bytes, *, name: str) -> bytes:
        """Decrypt what `seal` returned.

        Args:
            sealed: The bytes as stored.
            associated: The same bytes that were given to `seal`.
            name: What is opened, for the error.

        Raises:
            IntegrityError: If key, associated data or any sealed byte differs.
        """
        if self.belongs(sealed) and len(sealed) >= _CIPHERTEXT_AT + TAG_BYTES:
            try:
                return decrypt(
                    self._encryption_key,
                    sealed[_NONCE_AT:_CIPHERTEXT_AT],
                    sealed[_CIPHERTEXT_AT:],
                    associated,
                )
            except InvalidTag:
                pass
        raise IntegrityError(
            f"{name} does not authenticate: it was changed, or it belongs to something else",
            "Restore it from a copy.",
        )


def decrypt(key: bytes, nonce: bytes, ciphertext: bytes, associated: bytes) -> bytes:
    """AES-GCM decryption (NIST SP 800-38D) of ciphertext ‖ 16-byte tag.

    Raises:
        InvalidTag: If it does not authenticate.
    """
    return AESGCM(key).decrypt(nonce, ciphertext, associated)
