"""A passphrase opens what scrypt makes slow to guess (RFC 7914), and a wrong one is told from a changed file.

Bytes: `log2 N ‖ r ‖ p ‖ salt (16) ‖ sealed` (see `envelope`), where the head is authenticated too. N = 2^17,
r = 8, p = 1 takes 128 MiB for each guess (OWASP Password Storage Cheat Sheet). What is read may have been
made stronger, but neither weaker nor with more than `MOST_MEMORY`: a file must not exhaust the machine.
"""

import secrets
from typing import Final

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from secure_platform.errors import IntegrityError, UsageError
from secure_platform.keys.envelope import Envelope
from secure_platform.keys.material import KEY_BYTES

LOG2_N: Final = 17
BLOCK_SIZE: Final = 8
PARALLEL: Final = 1
SALT_BYTES: Final = 16
MOST_MEMORY: Final = 1 << 30
_MOST_PARALLEL: Final = 16
_SALT_AT: Final = 3
_SEALED_AT: Final = _SALT_AT + SALT_BYTES


def seal_with_passphrase(passphrase: str, secret: bytes, associated: bytes) -> bytes:
    """Encrypt a secret under a passphrase.

    Args:
        passphrase: In UTF-8; not empty.
        secret: Any bytes.
        associated: What else is authenticated; not stored.
    """
    head = bytes([LOG2_N, BLOCK_SIZE, PARALLEL]) + secrets.token_bytes(SALT_BYTES)
    return head + Envelope(_stretched(passphrase, head)).seal(secret, head + associated)


def open_with_passphrase(passphrase: str, sealed: bytes, associated: bytes, *, name: str) -> bytes:
    """What `seal_with_passphrase` encrypted.

    Args:
        passphrase: The same.
        sealed: What it returned.
        associated: The same.
        name: What is opened, for the error.

    Raises:
        UsageError: If the passphrase is wrong.
        IntegrityError: If anything else differs.
    """
    head = sealed[:_SEALED_AT]
    if len(head) < _SEALED_AT or not _may_be_spent(*head[:_SALT_AT]):
        raise IntegrityError(f"{name} was changed or cut off", "Restore it from a copy.")
    envelope = Envelope(_stretched(passphrase, head))
    if not envelope.belongs(sealed[_SEALED_AT:]):
        raise UsageError(f"The passphrase does not open {name}", "Give the one it was set with.")
    return envelope.open(sealed[_SEALED_AT:], head + associated, name=name)


def _may_be_spent(log2_n: int, block_size: int, parallel: int) -> bool:
    return (
        log2_n >= LOG2_N
        and block_size >= BLOCK_SIZE
        and PARALLEL <= parallel <= _MOST_PARALLEL
        and 128 * block_size << log2_n <= MOST_MEMORY
    )


def _stretched(passphrase: str, head: bytes) -> bytes:
    log2_n, block_size, parallel = head[:_SALT_AT]
    scrypt = Scrypt(salt=head[_SALT_AT:], length=KEY_BYTES, n=1 << log2_n, r=block_size, p=parallel)
    return scrypt.derive(passphrase.encode())
