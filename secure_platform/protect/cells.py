"""A text column as one flat buffer of bytes, so that kernels work on whole columns instead of cells.

Cells of the same length form a matrix with one row per cell, and a kernel's results go back to where the
cells were. Null cells are treated as empty, and are null again in the result.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Places = NDArray[np.int64]
AT_ONCE: Final = 1 << 14
"""Rows that a kernel takes at once: its buffers stay in the cache of a core."""
BYTES_AT_ONCE: Final = 1 << 22
"""Long cells are taken in smaller parts: what a kernel makes of them has a bound."""


@dataclass(frozen=True)
class Cells:
    """A column.

    Attributes:
        flat: The bytes of all cells, one after the other.
        ends: Where each cell ends; one more than cells, beginning with 0.
        valid: Which cells are not null.
    """

    flat: Bytes
    ends: Places
    valid: NDArray[np.bool_]

    @classmethod
    def of(cls, column: pl.Series) -> Self:
        """The cells of a text or binary column."""
        filled = column.cast(pl.Binary).fill_null(b"").rechunk().to_arrow()
        _, ends, flat = filled.buffers()
        size = len(column)
        places = np.frombuffer(ends, np.int64)[filled.offset : filled.offset + size + 1]
        data = np.frombuffer(flat, np.uint8) if flat is not None else np.empty(0, np.uint8)
        return cls(data[places[0] : places[-1]], places - places[0], column.is_not_null().to_numpy())

    @classmethod
    def shaped(cls, lengths: Places, valid: NDArray[np.bool_]) -> Self:
        """Cells of these lengths, to be filled; null ones are empty."""
        ends = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(np.where(valid, lengths, 0), out=ends[1:])
        return cls(np.empty(ends[-1], np.uint8), ends, valid)

    @property
    def lengths(self) -> Places:
        """The number of bytes of each cell."""
        return np.diff(self.ends)

    def groups(self) -> Iterator[Places]:
        """The cells that are not null and have the same length, some at a time."""
        rows, lengths = np.flatnonzero(self.valid), self.lengths
        order = rows[np.argsort(lengths[rows], kind="stable")]
        borders = np.flatnonzero(np.diff(lengths[order])) + 1
        for group in np.split(order, borders):
            length = int(lengths[group[0]]) if len(group) else 0
            step = max(1, min(AT_ONCE, BYTES_AT_ONCE // max(length, 1)))
            for start in range(0, len(group), step):
                yield group[start : start + step]

    def read(self, rows: Places) -> Bytes:
        """The bytes of some cells of the same length, a row for each."""
        return self._windows(rows)[self.ends[rows]]

    def write(self, rows: Places, matrix: Bytes) -> None:
        """Put a row of bytes into each of some cells of that length."""
        self._windows(rows)[self.ends[rows]] = matrix

    def series(self) -> pl.Series:
        """As a binary column."""
        buffers = [None, pa.py_buffer(self.ends), pa.py_buffer(self.flat)]
        column = pl.Series(pa.Array.from_buffers(pa.large_binary(), len(self.valid), buffers))
        return column.set(~pl.Series(self.valid), None) if not self.valid.all() else column

    def _windows(self, rows: Places) -> Bytes:
        """The bytes from every place on, as many as each of these cells has."""
        length = int(self.ends[rows[0] + 1] - self.ends[rows[0]])
        shape = (len(self.flat) - length + 1, length)
        return np.lib.stride_tricks.as_strided(self.flat, shape, (1, 1))
