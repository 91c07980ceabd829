"""Text as it is searched: one ASCII letter, digit, space or dash for each of their many Unicode forms.

A character becomes one character or none, so that every place in the searched text is one in the original.
What is invisible (zero-width and direction marks, soft hyphens) is taken out, for it splits numbers and
addresses that a reader sees whole.
"""

import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

_CHARACTERS: Final = 1 << 14
_INVISIBLE: Final = frozenset(
    {0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0, *range(0xFE00, 0xFE10)}
)
_MINUS: Final = "\u2212"

# What the bytes of a text hold wherever folding can bring a value to light (RE2).
FOLDING: Final = (
    r"[^\P{Nd}0-9]|\p{Cf}|\p{No}|[\x{ff01}-\x{ff5e}\x{2100}-\x{214f}\x{2460}-\x{24ff}\x{1d400}-\x{1d7ff}"
    r"\x{1f100}-\x{1f1ff}\x{fe00}-\x{fe0f}\x{fe50}-\x{fe6f}\x{034f}\x{115f}\x{1160}\x{3164}\x{ffa0}]"
    r"|[0-9](?:[^\P{Zs} ]|[^\P{Pd}-]|\x{2212})[0-9]"
)


@dataclass(frozen=True)
class Folded:
    """A text as it is searched.

    Attributes:
        data: UTF-8.
        characters: Of each byte, the place of its character in the original; none where they are the same.
    """

    data: bytes
    characters: NDArray[np.int64] | None = None

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The characters of the original that some bytes stand for."""
        if self.characters is None:
            return start, end
        return int(self.characters[start]), int(self.characters[end - 1]) + 1

    def places(self, characters: int) -> int:
        """The first byte that stands for this character of the original or one behind it."""
        if self.characters is None:
            return characters
        return int(np.searchsorted(self.characters, characters))


def fold(text: str) -> Folded:
    """The text as it is searched."""
    if text.isascii():
        return Folded(text.encode())
    kept = [place for place, sign in enumerate(text) if _folded(sign)]
    folded = "".join(map(_folded, text))
    data = folded.encode(errors="replace")
    widths = np.fromiter((len(sign.encode(errors="replace")) for sign in folded), np.int64, len(folded))
    return Folded(data, np.repeat(np.array(kept, dtype=np.int64), widths))


@lru_cache(_CHARACTERS)
def _folded(sign: str) -> str:
    """One character, or none."""
    if sign.isascii():
        return sign
    category = unicodedata.category(sign)
    if category == "Cf" or ord(sign) in _INVISIBLE:
        return ""
    digit = unicodedata.decimal(sign, None)
    if digit is not None:
        return str(digit)
    plain = unicodedata.normalize("NFKC", sign)
    if plain.isascii() and len(plain) == 1:
        return plain
    return {"Pd": "-", "Zs": " "}.get(category, "-" if sign == _MINUS else sign)
