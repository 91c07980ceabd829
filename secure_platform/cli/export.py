"""Rows as CSV that a spreadsheet shows and does not execute, and that gives every value back.

The rule, for whoever reads such a file: text is always in quotes, everything else never is, and an empty field
without quotes is null. A text that a spreadsheet could take for a formula, and every text that begins with an
apostrophe, has one apostrophe put before it: remove the first character of every text that begins with one,
and each cell is what it was. Column names are texts. Numbers are never touched, so -1.5 stays a number.
"""

import json
import math
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

MARK: Final = "'"
EXECUTED: Final = frozenset("=+-@")
_CONTROL: Final = frozenset({"Cc", "Cf", "Cs"})
# What a spreadsheet, or a reader with another idea of quotes, may skip before it looks at a cell.
_SKIPPED: Final = frozenset("\"'`´‘’“”„‚«»‹›")


def csv_lines(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    """The header and one record per row, without line ends (RFC 4180 but for those)."""
    yield ",".join(map(_text, columns))
    for row in rows:
        yield ",".join(map(_cell, row))


def neutral(text: str) -> str:
    """The text with a mark before it if a spreadsheet could execute it, or if it begins with the mark."""
    return MARK + text if text.startswith(MARK) or is_executed(text) else text


def is_executed(text: str) -> bool:
    """Whether what a spreadsheet first looks at begins a formula, in any width, or is a control character.

    Source: OWASP, CSV Injection.
    """
    for letter in text:
        if letter.isspace() and letter not in "\t\r\n":
            continue
        if letter in _SKIPPED:
            continue
        if letter in "\t\r\n" or unicodedata.category(letter) in _CONTROL:
            return True
        return bool(EXECUTED.intersection(unicodedata.normalize("NFKC", letter)))
    return False


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int() | Decimal():
            return str(value)
        case float():
            return repr(value) if math.isfinite(value) else str(value)
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case str():
            return _text(value)
        case bytes():
            return _text(value.hex())
        case Mapping() | list() | tuple():
            return _text(json.dumps(value, default=str, ensure_ascii=False))
        case _:
            return str(value)


def _text(text: str) -> str:
    escaped = neutral(text).replace('"', '""')
    return f'"{escaped}"'
