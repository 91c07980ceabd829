"""Rows that come once become a frame that can be read again, in bounded memory and never in plain on a disk.

The scanner looks at a table more than once; a database, an object store or an archive is read once. What does
not fit into one part in memory is written to parts encrypted under a key that only this process has, each
removed as soon as it is open: whatever ends the process, nothing readable is left.
"""

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Final

import polars as pl

from secure_platform.store import parquet

PART: Final = 64 << 20
"""Bytes of the rows that are in memory before they are written."""
_KEY: Final = 32
_NAME: Final = b"spooled rows"


class Spool:
    """Takes batches of text columns, which need not have the same columns, and gives them back as one frame.

    Attributes:
        rows: How many were taken.
    """

    def __init__(self, directory: Path, part: int, stack: ExitStack) -> None:
        self.rows = 0
        self._directory = directory
        self._part = part
        self._stack = stack
        self._secret = parquet.FileKey(secrets.token_bytes(_KEY), _NAME)
        self._waiting: list[pl.DataFrame] = []
        self._bytes = 0
        self._names: dict[str, None] = {}
        self._files: list[IO[bytes]] = []

    def add(self, batch: pl.DataFrame) -> None:
        """Take a batch."""
        self.rows += batch.height
        self._names |= dict.fromkeys(batch.columns)
        self._waiting.append(batch)
        self._bytes += int(batch.estimated_size())
        if self._bytes > self._part:
            self._write()

    def frame(self) -> pl.LazyFrame:
        """All rows; null where a batch had no such column."""
        if not self._files:
            return self._joined().lazy() if self._waiting else pl.LazyFrame()
        if self._waiting:
            self._write()
        return parquet.scan_parts(self._files, self._secret, pl.Schema(dict.fromkeys(self._names, pl.String)))

    def _joined(self) -> pl.DataFrame:
        return pl.concat(self._waiting, how="diagonal", rechunk=True)

    def _write(self) -> None:
        path = self._directory / str(len(self._files))
        parquet.write(path, self._joined().lazy(), self._secret)
        self._files.append(self._stack.enter_context(path.open("rb")))
        path.unlink()
        self._waiting, self._bytes = [], 0


@contextmanager
def spool(part: int = PART) -> Iterator[Spool]:
    """A spool for as long as the block runs."""
    with tempfile.TemporaryDirectory(prefix="secure-platform-scan-") as directory, ExitStack() as stack:
        yield Spool(Path(directory), part, stack)
