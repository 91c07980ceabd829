"""The stored form of a data key says which key version wraps it and which data key it holds.

Bytes: `spdk 0x01 ‖ len(name) ‖ name ‖ version (4, big-endian) ‖ commitment to the data key (32) ‖ sealed data
key`, as base64. All before the sealed part is authenticated with it, and only the one canonical base64 text
is accepted, so no two texts stand for one key.
"""

import base64
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from secure_platform import canonical
from secure_platform.errors import IntegrityError
from secure_platform.keys.envelope import COMMITMENT_BYTES

_MAGIC: Final = b"spdk\x01"
_VERSION: Final = struct.Struct(">I")


@dataclass(frozen=True)
class WrappedDataKey:
    """A data key as it is stored beside its data.

    Attributes:
        name: The key that wraps it.
        version: That key's version.
        commitment: 32 bytes that name the data key.
        sealed: The data key, sealed under the wrapping key.
    """

    name: str
    version: int
    commitment: bytes
    sealed: bytes = b""

    def associated(self, context: Mapping[str, str]) -> bytes:
        """What the sealing authenticates: this header and what the data key is for."""
        return self._header() + canonical.dumps(dict(context))

    def encode(self) -> str:
        """The stored text."""
        return base64.b64encode(self._header() + self.sealed).decode()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the stored text; nothing in it is trusted until the sealed part has been opened.

        Raises:
            IntegrityError: If it is not of this form.
        """
        try:
            data = base64.b64decode(text, validate=True)
            rest = data.removeprefix(_MAGIC)
            end = 1 + rest[0]
            name = rest[1:end].decode("ascii")
            (version,) = _VERSION.unpack_from(rest, end)
        except (ValueError, IndexError, struct.error):
            raise _unreadable() from None
        sealed_at = end + _VERSION.size + COMMITMENT_BYTES
        parsed = cls(name, version, rest[end + _VERSION.size : sealed_at], rest[sealed_at:])
        if parsed.encode() != text:
            raise _unreadable()
        return parsed

    def _header(self) -> bytes:
        name = self.name.encode("ascii")
        return _MAGIC + bytes([len(name)]) + name + _VERSION.pack(self.version) + self.commitment


def _unreadable() -> IntegrityError:
    return IntegrityError("A wrapped data key is not readable", "Restore the file that holds it from a copy.")
