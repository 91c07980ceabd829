"""The audit log is signed with its newest key; what older ones signed counts while they are readable.

The log's origin is fixed by its first key, so that it stays the same log when its key is rotated.
"""

from collections.abc import Sequence
from typing import Final

from secure_platform.keys.catalog import LOG, StoredKey, newest
from secure_platform.keys.material import NotPickled
from secure_platform.keys.opened import OpenedKeys
from secure_platform.keys.rows import KeyRows
from secure_platform.keys.signing import LogSigner

_IDENTITY_HEX: Final = 16


class RingLogSigner(NotPickled):
    """Signs checkpoints with whatever log key is the newest when it is asked.

    Args:
        name: C2SP key name, the same for all versions.
        rows: The versions of the log's key.
        opened: Opens them.
    """

    def __init__(self, name: str, rows: KeyRows, opened: OpenedKeys) -> None:
        self._name = name
        self._rows = rows
        self._opened = opened

    @property
    def name(self) -> str:
        """C2SP key name."""
        return self._name

    @property
    def public_key(self) -> bytes:
        """32-byte Ed25519 public key of the newest version."""
        return _public(newest(self._rows.of(LOG), LOG))

    @property
    def readable_keys(self) -> Sequence[bytes]:
        """Public keys whose signatures count, newest first."""
        return [_public(key) for key in reversed(self._rows.of(LOG)) if key.about.readable]

    @property
    def own_keys(self) -> Sequence[bytes]:
        """Public keys of every version there ever was, newest first."""
        return [_public(key) for key in reversed(self._rows.of(LOG))]

    def sign(self, message: bytes) -> bytes:
        """64-byte signature of the message."""
        return LogSigner(self._name, self._opened.material(newest(self._rows.of(LOG), LOG))).sign(message)


def identity(keys: Sequence[StoredKey]) -> str:
    """What names the log that these keys sign, so that two homes never sign as one log."""
    return _public(keys[0]).hex()[:_IDENTITY_HEX]


def _public(stored: StoredKey) -> bytes:
    return bytes.fromhex(stored.about.public_key or "")
