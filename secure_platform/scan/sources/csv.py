"""CSV as people have it: any usual delimiter and encoding, empty or repeated column names, bad records.

The delimiter is the one that parts most of the first records into as many fields as the header; the encoding
is what a byte order mark says, else UTF-8, else Windows-1252. A record that is none of the table is not left
out: it is given as text, with its line.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import polars as pl

from secure_platform.errors import DataRefusedError
from secure_platform.scan.sources.documents import Document
from secure_platform.scan.sources.encodings import utf8
from secure_platform.scan.sources.names import unique
from secure_platform.scan.sources.stray import Stray
from secure_platform.source.csv import LINE, CsvText
from secure_platform.source.records import COMMA, split
from secure_platform.source.stream import Readable

HEAD: Final = 64 << 10
_DELIMITERS: Final = (COMMA, *b";\t|")


def csv_rows(document: Document) -> Iterator[pl.DataFrame | Stray]:
    """The rows of a CSV document as text columns, and what is no row.

    Raises:
        DataRefusedError: If it is no CSV.
        SkippedError: If it cannot be read.
    """
    text = _Decoded(document)
    table = CsvText(text, delimiter=text.delimiter, names=unique)
    for batch in table.batches():
        yield batch.frame.drop(LINE)
        yield from map(Stray.of, batch.malformed)


class _Decoded:
    """A document's text in UTF-8; bytes that are none in a document of UTF-8 stay what they are."""

    def __init__(self, document: Document) -> None:
        self._document = document
        with utf8(document) as stream:
            head = stream.read(HEAD)
        self.delimiter = delimiter_of(head, whole=len(head) < HEAD)

    @contextmanager
    def text(self) -> Iterator[Readable]:
        """The bytes, in UTF-8 as far as they are text."""
        with utf8(self._document) as stream:
            yield stream

    def refusal(self, what: str, fix: str) -> DataRefusedError:
        """An error about it."""
        return DataRefusedError(f"{self._document.name} {what}", fix)


def delimiter_of(head: bytes, *, whole: bool) -> int:
    """The byte between the fields of a CSV text that begins so.

    Args:
        head: In UTF-8.
        whole: Whether the text ends there.
    """

    def rank(delimiter: int) -> tuple[float, int]:
        fields = split(head, final=whole, delimiter=delimiter).fields
        return (
            (float((fields == fields[0]).mean()), int(fields[0])) if fields.size and fields[0] > 1 else (0, 0)
        )

    best: int = max(_DELIMITERS, key=rank)
    return best
