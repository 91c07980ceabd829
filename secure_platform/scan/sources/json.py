"""JSON as tables: one object per line, or an array of objects; numbers keep their spelling, nesting its JSON.

Objects need not have the same members. What is no object, is broken, or has more members than a table has
columns, is given as text with its line.
"""

import codecs
import json
import re
from collections.abc import Iterator
from typing import IO, Any, Final

import polars as pl

from secure_platform.scan.sources.documents import Document
from secure_platform.scan.sources.encodings import utf8
from secure_platform.scan.sources.names import unique
from secure_platform.scan.sources.stray import Stray
from secure_platform.source.csv import COLUMN_LIMIT
from secure_platform.source.records import RECORD_LIMIT

_ROWS: Final = 1 << 16
_CELLS: Final = 1 << 19
_CHARACTERS: Final = 1 << 25
_BLOCK: Final = 1 << 20
_BLANK: Final = re.compile(r"[ \t\r\n]*")


class NoTableError(Exception):
    """It is no array of objects."""


def lines(document: Document) -> Iterator[pl.DataFrame | Stray]:
    """The objects of a document with one on each line.

    Raises:
        SkippedError: If it cannot be read.
    """
    with utf8(document) as stream:
        yield from _lines(stream)


def array(document: Document) -> Iterator[pl.DataFrame]:
    """The objects of an array, which is not held in memory.

    Raises:
        NoTableError: If it is no array of objects, or not to its end.
        SkippedError: If it cannot be read.
    """
    with utf8(document) as stream:
        yield from _array(stream)


def _lines(stream: IO[bytes]) -> Iterator[pl.DataFrame | Stray]:
    table = _Table()
    number = 0
    while record := stream.readline(RECORD_LIMIT):
        number += 1
        text = record.decode("utf-8-sig" if number == 1 else "utf-8", errors="replace").strip()
        if text and not table.add(parsed(text)):
            yield Stray(number, text)
        if table.is_full:
            yield table.taken()
    yield table.taken()


def _array(stream: IO[bytes]) -> Iterator[pl.DataFrame]:
    table = _Table()
    for element in _elements(_Text(stream)):
        if not table.add(element):
            raise NoTableError
        if table.is_full:
            yield table.taken()
    yield table.taken()


class _Table:
    """Rows in the making."""

    def __init__(self) -> None:
        self._columns: dict[str, list[str | None]] = {}
        self._names: set[str] = set()
        self._height = self._characters = 0

    def add(self, row: Any) -> bool:
        """Take an object; no, if it is none or has too many further members."""
        if not isinstance(row, dict) or not row:
            return False
        if len(self._names | row.keys()) > COLUMN_LIMIT:
            return False
        self._names |= row.keys()
        for name, value in row.items():
            column = self._columns.setdefault(name, [])
            column.extend([None] * (self._height - len(column)))
            column.append(cell := spelled(value))
            self._characters += len(cell or "")
        self._height += 1
        return True

    @property
    def is_full(self) -> bool:
        cells = self._height * len(self._columns)
        return self._height >= _ROWS or cells >= _CELLS or self._characters >= _CHARACTERS

    def taken(self) -> pl.DataFrame:
        """The rows so far; the next begin anew."""
        columns, height = self._columns, self._height
        for column in columns.values():
            column.extend([None] * (height - len(column)))
        self._columns, self._height, self._characters = {}, 0, 0
        try:
            return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))
        except UnicodeEncodeError:
            names = unique([_characters(name) for name in columns])
            cells = [list(map(_characters, column)) for column in columns.values()]
            return pl.DataFrame(dict(zip(names, cells, strict=True)), schema=dict.fromkeys(names, pl.String))


class _Text:
    """Text that is read on as far as it is needed."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")
        self._text, self._place, self._ended = "", 0, False

    def mark(self) -> str:
        """The next character that is not blank; empty at the end."""
        while True:
            blank = _BLANK.match(self._text, self._place)
            self._place = blank.end() if blank else self._place
            if self._place < len(self._text) or self._ended:
                return self._text[self._place : self._place + 1]
            self._more()

    def take(self, mark: str) -> None:
        """Go behind the next character, which must be this one."""
        if self.mark() != mark:
            raise NoTableError
        self._place += 1

    def value(self) -> Any:
        """The next value."""
        while True:
            try:
                value, self._place = _DECODER.raw_decode(self._text, self._place)
            except (ValueError, RecursionError):
                if self._ended or len(self._text) - self._place > RECORD_LIMIT:
                    raise NoTableError from None
                self._more()
            else:
                return value

    def _more(self) -> None:
        """Twice as much each time, so that a long value costs its length."""
        rest = self._text[self._place :]
        block = self._stream.read(max(_BLOCK, len(rest)))
        self._ended = not block
        self._text, self._place = rest + self._decoder.decode(block, final=self._ended), 0


def _elements(text: _Text) -> Iterator[Any]:
    text.take("[")
    while text.mark() != "]":
        yield text.value()
        if text.mark() != "]":
            text.take(",")
    text.take("]")
    if text.mark():
        raise NoTableError


def parsed(text: str) -> Any:
    """The value that a text is, its numbers as they are spelled; None if it is none."""
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError):
        return None


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; one with a member twice is none, because the first of them would not be looked at."""
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError
    return members


_DECODER: Final = json.JSONDecoder(
    parse_int=str, parse_float=str, parse_constant=str, strict=False, object_pairs_hook=_members
)


def spelled(value: Any) -> str | None:
    """A member's value as text; what is nested stays JSON, what is empty is null."""
    if value is None or isinstance(value, str):
        return value or None
    return json.dumps(value, ensure_ascii=False)


def _characters(text: str | None) -> str | None:
    """The text without halves of characters, which JSON can hold and UTF-8 cannot."""
    return text if text is None else text.encode(errors="replace").decode()
