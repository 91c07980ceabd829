"""A workbook is a table for each sheet, read in a process of its own (`workbook_process.py`).

The first row that has a cell is the header. Formulas count by the values that were saved with them.
"""

from collections.abc import Iterator
from itertools import groupby
from typing import Any, Final

import polars as pl

from secure_platform.confined import Limits, tables
from secure_platform.scan.sources import workbook_process
from secure_platform.scan.sources.documents import LARGEST, Document, Handed, SkippedError
from secure_platform.scan.sources.names import unique
from secure_platform.scan.sources.workbook_process import SHEET

_MEMORY: Final = 3 << 29
_PATIENCE: Final = 300


def sheets(document: Document) -> Iterator[tuple[str, Iterator[pl.DataFrame]]]:
    """The sheets by name; the rows of one are to be read before the next is asked for.

    Raises:
        DataRefusedError: If it is no workbook, is encrypted, or unpacks to too much.
        SkippedError: If it cannot be read.
    """
    if document.size > LARGEST:
        raise SkippedError(f"larger than {LARGEST >> 20} MiB: save its sheets as CSV")
    for name, parts in groupby(_parts(document), key=lambda part: part[0]):
        yield name, _rows(part for _, part in parts)


def _parts(document: Document) -> Iterator[tuple[str, pl.DataFrame]]:
    handed = Handed(document)
    limits = Limits(
        memory=_MEMORY,
        seconds=_PATIENCE,
        too_long=handed.refusal("takes too long to read", "Save its sheets as CSV."),
        failed=handed.refusal("breaks its reader, or unpacks to too much", "Save its sheets as CSV."),
    )
    with handed.stored() as file:
        request: dict[str, Any] = {"name": document.name, "descriptor": file.fileno()}
        for table in tables(workbook_process.__name__, request, limits, descriptor=file.fileno()):
            yield table.schema.metadata[SHEET].decode(), pl.DataFrame(table.replace_schema_metadata())


def _rows(parts: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    names: tuple[str, ...] = ()
    for part in parts:
        filled = part.cast(pl.String).filter(pl.any_horizontal(pl.all().is_not_null()))
        if not names and filled.height:
            names = unique(filled.row(0))
            filled = filled.slice(1)
        if names:
            filled.columns = list(names)
            yield filled
