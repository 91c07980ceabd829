"""A passphrase becomes a key by scrypt (RFC 7914), whose cost is stored beside what it opens.

What is stored is not trusted: a cost below ours would make guessing cheap, one far above it would use up the
memory of whoever opens the file, so both are refused before anything is computed.
"""

import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from secure_platform import canonical
from secure_platform.errors import IntegrityError, UsageError
from secure_platform.keys.envelope import Envelope
from secure_platform.keys.material import KEY_BYTES

LEAST_N: Final = 1 << 17
MOST_N: Final = 1 << 20
BLOCKS: Final = 8
MOST_P: Final = 4
SALT_BYTES: Final = 32


@dataclass(frozen=True)
class Stretching:
    """How one passphrase is stretched: 128 MiB and about half a second at the least.

    Attributes:
        salt: Hexadecimal.
        n: CPU and memory cost, a power of two.
        r: Block size.
        p: Parallelisation.
    """

    salt: str
    n: int = LEAST_N
    r: int = BLOCKS
    p: int = 1

    @classmethod
    def new(cls) -> Self:
        """With a fresh salt."""
        return cls(secrets.token_hex(SALT_BYTES))

    @classmethod
    def read(cls, stored: Any, *, name: str) -> Self:
        """What `to_json` wrote.

        Args:
            stored: As it was read.
            name: What it was read from, for the error.

        Raises:
            IntegrityError: If it is something else, or a cost that is not ours.
        """
        numbers = isinstance(stored, Mapping) and set(stored) == {"kdf", "salt", "n", "r", "p"}
        known = numbers and stored["kdf"] == "scrypt" and all(type(stored[each]) is int for each in "nrp")
        if known and _bounded(stored) and _is_salt(stored["salt"]):
            return cls(stored["salt"], stored["n"], stored["r"], stored["p"])
        raise IntegrityError(f"{name} was not made by this platform", "Restore it from a copy.")

    def to_json(self) -> dict[str, Any]:
        """What is stored."""
        return {"kdf": "scrypt", **asdict(self)}

    def key(self, passphrase: bytes) -> bytes:
        """The 32-byte key of this passphrase."""
        stretched = Scrypt(salt=bytes.fromhex(self.salt), length=KEY_BYTES, n=self.n, r=self.r, p=self.p)
        return stretched.derive(passphrase)


def seal_under(passphrase: bytes, magic: bytes, secret: bytes) -> bytes:
    """A file: magic ‖ canonical JSON of how the passphrase is stretched ‖ LF ‖ sealed secret.

    All that stands before the sealed part is authenticated with it.
    """
    stretching = Stretching.new()
    head = magic + canonical.dumps(stretching.to_json()) + b"\n"
    return head + Envelope(stretching.key(passphrase)).seal(secret, head)


def open_under(passphrase: bytes, magic: bytes, content: bytes, *, name: str) -> bytes:
    """What `seal_under` sealed.

    Args:
        passphrase: As it was given then.
        magic: What the content begins with.
        content: The whole file.
        name: Of the file, for the errors.

    Raises:
        UsageError: If the passphrase is another one.
        IntegrityError: If a byte of it differs.
    """
    header, newline, sealed = content.removeprefix(magic).partition(b"\n")
    stretching = Stretching.read(canonical.loads(header, name=name), name=name)
    envelope = Envelope(stretching.key(passphrase))
    if not envelope.belongs(sealed):
        raise UsageError(f"The passphrase does not open {name}", "Give the one that it was sealed with.")
    return envelope.open(sealed, magic + header + newline, name=name)


def _bounded(stored: Mapping[str, int]) -> bool:
    n = stored["n"]
    is_power = n > 0 and n & (n - 1) == 0
    return is_power and LEAST_N <= n <= MOST_N and stored["r"] == BLOCKS and 1 <= stored["p"] <= MOST_P


def _is_salt(text: Any) -> bool:
    try:
        return isinstance(text, str) and len(bytes.fromhex(text)) == SALT_BYTES and text == text.lower()
    except ValueError:
        return False
