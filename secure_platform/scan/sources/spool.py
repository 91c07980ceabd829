"""Rows that come once become a frame that can be read again, in bounded memory and never in plain on a disk.

The scanner looks at a table more than once; a database, an object store or an archive is read once. What does
not fit into one part in memory is written to parts encrypted under a key that only this process has, each
removed as soon as it is open: whatever ends the process, nothing readable is left.
"""

import secrets
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import polars as pl
from polars.io.plugins import register_io_source
from polars.selectors import by_name

from secure_platform.store import parquet

PART: Final = 64 << 20
"""Bytes of the rows that are in memory before they are written."""
_KEY: Final = 32
_NAME: Final = b"spooled part "


class Spool:
    """Takes batches of text columns, which need not have the same columns, and gives them back as one frame.

    Attributes:
        rows: How many were taken.
    """

    def __init__(self, directory: Path, part: int) -> None:
        self.rows = 0
        self._directory = directory
        self._part = part
        self._waiting: list[pl.DataFrame] = []
        self._bytes = 0
        self._parts: list[pl.LazyFrame] = []

    def add(self, batch: pl.DataFrame) -> None:
        """Take a batch."""
        self.rows += batch.height
        self._waiting.append(batch)
        self._bytes += int(batch.estimated_size())
        if self._bytes > self._part:
            self._write()

    def frame(self) -> pl.LazyFrame:
        """All rows, part after part each time they are read; null where a batch had no such column."""
        parts = [*self._parts, *([self._joined().lazy()] if self._waiting else [])]
        names = dict.fromkeys(name for part in parts for name in part.collect_schema().names())

        def read(
            columns: list[str] | None, predicate: pl.Expr | None, rows: int | None, _: int | None
        ) -> Iterator[pl.DataFrame]:
            left = rows
            for part in parts:
                frame = _with(part, columns if columns is not None else list(names), predicate)
                taken = frame if left is None else frame.head(left)
                left = None if left is None else left - taken.height
                yield taken
                if left == 0:
                    return

        return register_io_source(read, schema=dict.fromkeys(names, pl.String))

    def _joined(self) -> pl.DataFrame:
        return pl.concat(self._waiting, how="diagonal", rechunk=True)

    def _write(self) -> None:
        secret = parquet.FileKey(secrets.token_bytes(_KEY), _NAME + str(len(self._parts)).encode())
        path = self._directory / str(len(self._parts))
        parquet.write(path, self._joined().lazy(), secret)
        with path.open("rb") as file:
            self._parts.append(parquet.scan(file, secret))
        path.unlink()
        self._waiting, self._bytes = [], 0


def _with(part: pl.LazyFrame, names: Sequence[str], predicate: pl.Expr | None) -> pl.DataFrame:
    """A part with these columns; the predicate may be about others."""
    present = part.collect_schema().names()
    wanted = [*names, *(predicate.meta.root_names() if predicate is not None else ())]
    missing = [pl.lit(None, pl.String).alias(name) for name in dict.fromkeys(wanted) if name not in present]
    frame = part.with_columns(missing)
    chosen = frame if predicate is None else frame.filter(predicate)
    return chosen.select(by_name(*names)).collect()


@contextmanager
def spool(part: int = PART) -> Iterator[Spool]:
    """A spool for as long as the block runs."""
    with tempfile.TemporaryDirectory(prefix="secure-platform-scan-") as directory:
        yield Spool(Path(directory), part)
