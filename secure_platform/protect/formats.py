"""The format that a column keeps, read from its contract's pattern: which symbols, and how many.

Only patterns that fix the format are read: single characters and classes, with or without a count, such as
`^[0-9]{3}-[0-9]{2}-[0-9]{4}$`. All classes have the same symbols, and nothing else varies. What the classes
match is encrypted, the rest stays, and the output matches the pattern again.
"""

import re
from dataclasses import dataclass
from typing import Final

_PART: Final = re.compile(
    r"(?:\[(?P<symbols>(?:[0-9A-Za-z](?:-[0-9A-Za-z])?)+)\]|(?P<fixed>[^\\\[\](){}*+?.|^$]|\\[-./+() ]))"
    r"(?:(?P<optional>\?)|\{(?P<least>[0-9]{1,3})(?:,(?P<most>[0-9]{1,3}))?\})?"
)
_SYMBOLS: Final = re.compile(r"(.)(?:-(.))?")


@dataclass(frozen=True)
class Format:
    """The shape of a column.

    Attributes:
        symbols: In the order of their codes, each once.
        shortest, longest: How many of them a value has.
    """

    symbols: str
    shortest: int
    longest: int


def read_format(pattern: str) -> Format | None:
    """The shape that an anchored pattern describes; None if it does not describe one for sure."""
    body, symbols, fixed, shortest, longest, place = pattern[1:-1], set[str](), "", 0, 0, 0
    while place < len(body):
        part = _PART.match(body, place)
        if part is None:
            return None
        place = part.end()
        if part["fixed"]:
            fixed += part["fixed"][-1]
            continue
        symbols.add(_expanded(part["symbols"]))
        least = 0 if part["optional"] else int(part["least"] or 1)
        shortest, longest = shortest + least, longest + int(part["most"] or part["least"] or 1)
    if len(symbols) != 1 or not fixed.isascii():
        return None
    (found,) = symbols
    return Format(found, shortest, longest) if not set(found) & set(fixed) else None


def _expanded(symbols: str) -> str:
    found = {
        chr(code)
        for first, last in _SYMBOLS.findall(symbols)
        for code in range(ord(first), ord(last or first) + 1)
    }
    return "".join(sorted(found))
