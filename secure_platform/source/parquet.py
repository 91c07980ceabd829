"""A Parquet file becomes the same text columns as its CSV export would, or it is refused.

It is read in a process of its own (`parquet_process.py`), never in this one: on hostile files Parquet readers
panic, swell and end their process. An empty text is null, as in CSV; the number of a row stands for its line.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import polars as pl

from secure_platform.confined import Limits, tables
from secure_platform.source import parquet_process
from secure_platform.source.csv import LINE, Batch, Malformed, check_names
from secure_platform.source.parquet_process import RECORD, ROW, RULE
from secure_platform.source.stream import SourceFile

MEMORY: Final = 3 << 29
PATIENCE: Final = 300
SLOWEST: Final = 1 << 20
"""Bytes that are read in a second at least, beyond the first minutes."""


class ParquetSource:
    """A `.parquet` file of flat columns.

    Args:
        path: The file; it must be a regular file.

    Attributes:
        header: The column names, in the file's order.

    Raises:
        DataRefusedError: If it is not such a file, is encrypted, or promises more than it can hold.
    """

    def __init__(self, path: Path) -> None:
        self._file = SourceFile(path)
        names = [name for table in self._tables("header") for name in table["name"].to_list()]
        self.header = check_names([name or None for name in names], self._file.refusal)

    def batches(self) -> Iterator[Batch]:
        """Read all rows in bounded memory; a file without rows gives one empty batch.

        Raises:
            DataRefusedError: If the file is damaged, unpacks to too much, or changed.
        """
        some = False
        for table in self._tables("rows"):
            some = True
            yield self._batch(table)
        if not some:
            yield Batch(pl.DataFrame(schema={LINE: pl.UInt64, **dict.fromkeys(self.header, pl.String)}), [])

    def fingerprint(self) -> str:
        """Digest of the file's own bytes, `sha256:<64 hex digits>`."""
        return self._file.fingerprint()

    def _tables(self, wanted: str) -> Iterator[pl.DataFrame]:
        limits = Limits(
            memory=MEMORY,
            seconds=PATIENCE + self._file.size / SLOWEST,
            too_long=self._file.refusal("takes too long to read", "Give it as CSV."),
            failed=self._file.refusal(
                f"breaks its reader, or unpacks to more than {MEMORY >> 20} MiB at a time",
                "It is damaged, encrypted in parts, or made to do so: export it anew, or give it as CSV.",
            ),
        )
        with self._file.stored() as file:
            request: dict[str, Any] = {
                "name": self._file.name,
                "descriptor": file.fileno(),
                "wanted": wanted,
            }
            for table in tables(parquet_process.__name__, request, limits, descriptor=file.fileno()):
                yield pl.DataFrame(table)

    def _batch(self, table: pl.DataFrame) -> Batch:
        set_aside = table.filter(pl.col(RULE).is_not_null()).select(ROW, RULE, RECORD)
        good = table.filter(pl.col(RULE).is_null()).drop(RULE, RECORD)
        good.columns = [LINE, *self.header]
        return Batch(
            good.with_columns(pl.col(self.header).replace("", None)),
            [Malformed(*record) for record in set_aside.iter_rows()],
        )
