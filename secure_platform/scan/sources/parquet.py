"""Parquet as it is found: nested columns, any type, repeated names; read in a process of its own."""

from collections.abc import Iterator

import polars as pl

from secure_platform.scan.sources.documents import Document, Handed
from secure_platform.scan.sources.names import unique
from secure_platform.scan.sources.stray import Stray
from secure_platform.source.csv import LINE
from secure_platform.source.parquet import ParquetRows


def parquet_rows(document: Document) -> Iterator[pl.DataFrame | Stray]:
    """The rows of a Parquet document as text columns; a row that is no text in UTF-8 is given beside them.

    Raises:
        DataRefusedError: If it is damaged, encrypted, or promises more than it can hold.
        SkippedError: If it cannot be read.
    """
    for batch in ParquetRows(Handed(document), names=unique, anything=True).batches():
        yield batch.frame.drop(LINE)
        yield from map(Stray.of, batch.malformed)
