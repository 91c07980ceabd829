"""Key material is never shown, printed, copied by pickle, or used for two purposes.

One key per purpose is derived with HKDF-SHA-256 (RFC 5869, empty salt: the input keys are uniformly random).
"""

import hmac
import re
import secrets
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final, NoReturn, Protocol

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from secure_platform.errors import UsageError

KEY_BYTES: Final = 32
# A MAC as text: the version of the key `mac`, and the HMAC-SHA-256.
MAC_TEXT: Final = re.compile(r"m([1-9][0-9]{0,8}):([0-9a-f]{64})")
# What a sealed secret begins with: the version of the key `data`.
SEALED_VERSION: Final = struct.Struct(">I")


class NotPickled:
    """What holds key material cannot leave the process through pickle or `copy`."""

    def __reduce__(self) -> NoReturn:
        raise UsageError(
            f"{type(self).__name__} holds key material and cannot be pickled or copied",
            "Open the key ring again where the key is needed.",
        )


@dataclass(frozen=True)
class DataKey(NotPickled):
    """A fresh key for one snapshot or file, and the form of it that may be stored beside the data.

    Attributes:
        plaintext: 32 bytes; use them, never store them.
        wrapped: Base64 text that `KeyRing.open_data_key` opens under the same context.
    """

    plaintext: bytes = field(repr=False)
    wrapped: str


@dataclass(frozen=True)
class TokenKey(NotPickled):
    """The key of one token domain.

    Attributes:
        version: Of the domain's token key; tokens carry it.
        key: 32 bytes.
    """

    version: int
    key: bytes = field(repr=False)


@dataclass(frozen=True)
class CellKey(NotPickled):
    """The key that the cells of one domain are encrypted with.

    Attributes:
        version: Of the domain's cell key; encrypted cells carry it.
        key: 64 bytes, for AES-256-SIV (RFC 5297).
    """

    version: int
    key: bytes = field(repr=False)


@dataclass(frozen=True)
class DigestKey(NotPickled):
    """The key of the digests for one purpose.

    Attributes:
        version: Of the digest key; what is digested says it.
        key: 32 bytes.
    """

    version: int
    key: bytes = field(repr=False)


class PersonKeys(Protocol):
    """The keys of the persons of one domain; the place of each is a keyed hash of who it is."""

    def made(self, persons: Collection[str]) -> Mapping[str, tuple[bytes, bytes]]:
        """Person → place (32 bytes) and key (32 bytes); who has none gets one, who was erased is left out."""
        ...

    def at(self, places: Collection[bytes]) -> Mapping[bytes, bytes]:
        """Place → key; who was erased is left out."""
        ...


def random_key() -> bytes:
    """32 bytes of the operating system's generator."""
    return secrets.token_bytes(KEY_BYTES)


def derive(key: bytes, purpose: str, length: int = KEY_BYTES) -> bytes:
    """The key for one purpose: HKDF-SHA-256(key, salt="", info=purpose) (RFC 5869)."""
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=purpose.encode()).derive(key)


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """HMAC-SHA-256 (RFC 2104), 32 bytes."""
    return hmac.digest(key, message, "sha256")
