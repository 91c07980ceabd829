"""A Parquet file becomes the same text columns as its CSV export would, or it is refused.

It is read in a process of its own (`parquet_process.py`), never in this one: on hostile files Parquet readers
panic, swell and end their process. An empty text is null, as in CSV; the number of a row stands for its line.
"""

import io
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol

import polars as pl

from secure_platform.confined import Limits, tables
from secure_platform.errors import DataRefusedError
from secure_platform.source import parquet_process
from secure_platform.source.csv import LINE, Batch, Malformed, Naming, check_names
from secure_platform.source.parquet_process import RECORD, ROW, RULE
from secure_platform.source.stream import SourceFile

MEMORY: Final = 3 << 29
PATIENCE: Final = 300
SLOWEST: Final = 1 << 20
"""Bytes that are read in a second at least, beyond the first minutes."""


class Seekable(Protocol):
    """Stored bytes that another process can be given."""

    name: str

    @property
    def size(self) -> int:
        """How many."""

    def stored(self) -> AbstractContextManager[io.FileIO]:
        """The bytes, behind a descriptor of this process."""

    def refusal(self, what: str, fix: str) -> DataRefusedError:
        """An error about them."""


class ParquetRows:
    """The rows of Parquet, wherever its bytes are.

    Args:
        file: Holds the bytes.
        names: Makes column names of those in the file, or refuses them; by default as a dataset needs them.
        anything: Whether to read nested columns, and types that no contract has.

    Attributes:
        header: The column names, in the file's order.
        types: Column → stable name of its type.

    Raises:
        DataRefusedError: If it is no Parquet, is encrypted, or promises more than it can hold.
    """

    def __init__(self, file: Seekable, *, names: Naming | None = None, anything: bool = False) -> None:
        self._bytes = file
        self._anything = anything
        named: Naming = names or (lambda cells: check_names(cells, file.refusal))
        tables = list(self._tables("header"))
        self.header = tuple(named([name or None for table in tables for name in table["name"].to_list()]))
        kinds = [kind for table in tables for kind in table["type"].to_list()]
        self.types: Mapping[str, str] = dict(zip(self.header, kinds, strict=True))

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

    def _tables(self, wanted: str) -> Iterator[pl.DataFrame]:
        limits = Limits(
            memory=MEMORY,
            seconds=PATIENCE + self._bytes.size / SLOWEST,
            too_long=self._bytes.refusal("takes too long to read", "Give it as CSV."),
            failed=self._bytes.refusal(
                f"breaks its reader, or unpacks to more than {MEMORY >> 20} MiB at a time",
                "It is damaged, encrypted in parts, or made to do so: export it anew, or give it as CSV.",
            ),
        )
        with self._bytes.stored() as file:
            request: dict[str, Any] = {
                "name": self._bytes.name,
                "descriptor": file.fileno(),
                "wanted": wanted,
                "anything": self._anything,
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


class ParquetSource(ParquetRows):
    """A `.parquet` file of a dataset, with flat columns.

    Args:
        path: The file; it must be a regular file.

    Raises:
        DataRefusedError: If it is not such a file, is encrypted, or promises more than it can hold.
    """

    def __init__(self, path: Path) -> None:
        self._file = SourceFile(path)
        super().__init__(self._file)

    def fingerprint(self) -> str:
        """Digest of the file's own bytes, `sha256:<64 hex digits>`."""
        return self._file.fingerprint()

    @property
    def written_at(self) -> datetime:
        """When the file was last written; aware, UTC."""
        return self._file.written_at
