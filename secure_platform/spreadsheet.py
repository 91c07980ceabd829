"""Rows as CSV that a spreadsheet shows and does not execute, and that gives every value back.

The rule, for whoever reads such a file: text is always in quotes, nothing else ever is, and an empty field
without quotes is null. A text that a spreadsheet could take for a formula, and every text that begins with an
apostrophe, has one apostrophe put before it: remove the first character of every text that begins with one,
and each cell is what it was. Column names are texts. Numbers are never touched, so -1.5 stays a number.

The separator is the comma, and the file must be read with it: split at semicolons or tabs, a text such as
`a;=1+1` becomes two cells, and the second is a formula.
"""

import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

MARK: Final = "'"
EXECUTED: Final = frozenset("=+-@")
_CONTROL: Final = frozenset({"Cc", "Cf", "Cs"})
# Blanks, marks and quotes of every kind, and what is not assigned: they may be skipped before a cell is
# looked at.
_SKIPPED: Final = frozenset({"Zs", "Zl", "Zp", "Pi", "Pf", "Ps", "Sk", "Mn", "Me", "Cn"})
_QUOTES: Final = frozenset("\"'")
# They count as letters or symbols, and show nothing: fillers of Hangul, the empty pattern of Braille.
_INVISIBLE: Final = frozenset("\u115f\u1160\u2800\u3164\uffa0")


def csv_lines(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    """The header and one record per row (RFC 4180), without line ends."""
    yield ",".join(map(_text, columns))
    for row in rows:
        yield ",".join(map(_cell, row))


def csv_text(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """The same as one text."""
    return "".join(f"{record}\n" for record in csv_lines(columns, rows))


def neutral(text: str) -> str:
    """The text with a mark before it if a spreadsheet could execute it, or if it begins with the mark."""
    return MARK + text if text.startswith(MARK) or is_executed(text) else text


def is_executed(text: str) -> bool:
    """Whether what a spreadsheet first looks at begins a formula, in any width, or is a control character.

    Source: OWASP, CSV Injection.
    """
    for letter in text:
        category = unicodedata.category(letter)
        if category in _CONTROL:
            return True
        if category not in _SKIPPED and letter not in _QUOTES | _INVISIBLE:
            return bool(EXECUTED.intersection(unicodedata.normalize("NFKC", letter)))
    return False


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Mapping | list | tuple):
        return _text(json.dumps(value, default=str, ensure_ascii=False))
    if isinstance(value, bytes):
        return _text(value.hex())
    return _text(str(value)) if isinstance(value, str | timedelta) else str(value)


def _text(text: str) -> str:
    escaped = neutral(text).replace('"', '""')
    return f'"{escaped}"'
