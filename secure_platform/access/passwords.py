"""A password is long, not one that everybody tries first, and kept only as its Argon2id hash.

Rules of NIST SP 800-63B §5.1.1: length counts, classes of characters do not, and what is common is refused.
Parameters: the second recommended option of RFC 9106 §4 (64 MiB, 3 passes, 4 lanes).
"""

import re
import unicodedata
from functools import cache
from pathlib import Path
from threading import BoundedSemaphore
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from secure_platform.errors import UsageError

ALGORITHM: Final = "Argon2id"
SHORTEST: Final = 12
LONGEST: Final = 128
_DIFFERENT: Final = 6
_COMMON: Final = Path(__file__).with_name("common_words.txt")
_PRODUCT: Final = re.compile(r"[._:@-]")
_SHORTEST_PART: Final = 3
_LOOKS_LIKE: Final = str.maketrans("01345789@$!", "oleastbgasi")
_hasher: Final = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)
# Each takes 64 MiB: more at once would let anybody who can reach the login page use up the memory.
_at_once: Final = BoundedSemaphore(2)


def require_good(password: str, name: str) -> None:
    """Refuse a new password that could be guessed.

    Args:
        password: What was chosen.
        name: Of the principal; part of it does not count.

    Raises:
        UsageError: If it is too short, too long, or made of what is tried first.
    """
    normal = _normal(password)
    if not SHORTEST <= len(normal) <= LONGEST:
        raise UsageError(
            f"The password must have {SHORTEST} to {LONGEST} characters",
            "Take several words that do not fit.",
        )
    plain = normal.casefold()
    parts = {part for part in [name, *_PRODUCT.split(name)] if len(part) >= _SHORTEST_PART}
    tried_first = sorted(_common_words() | parts, key=len, reverse=True)
    if any(
        _left_over(reading, tried_first) < _DIFFERENT for reading in (plain, plain.translate(_LOOKS_LIKE))
    ):
        raise UsageError(
            "The password is made of words or runs that are tried first",
            "Take several words that do not fit.",
        )


def hash_password(password: str) -> str:
    """The Argon2id hash with its parameters and a fresh salt, in PHC form."""
    with _at_once:
        return _hasher.hash(_normal(password))


def is_password(stored: str | None, password: str) -> bool:
    """Whether this is the password; takes as long when there is none."""
    given = _normal(password[: LONGEST + 1])
    with _at_once:
        try:
            return _hasher.verify(stored or _nobodys(), given) and bool(stored)
        except (VerificationError, InvalidHashError):
            return False


def is_outdated(stored: str) -> bool:
    """Whether a hash has other parameters than new ones get."""
    return _hasher.check_needs_rehash(stored)


def _normal(password: str) -> str:
    return unicodedata.normalize("NFKC", password)


def _left_over(text: str, words: list[str]) -> int:
    """How many different characters are left without the words and without steps such as 1234 or aaa."""
    for word in words:
        text = text.replace(word, "")
    pairs = zip(" " + text, text, strict=False)
    return len({after for before, after in pairs if abs(ord(after) - ord(before)) > 1})


@cache
def _common_words() -> frozenset[str]:
    return frozenset(_COMMON.read_text("ascii").split())


@cache
def _nobodys() -> str:
    return _hasher.hash("nobody has this password")
