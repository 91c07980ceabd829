"""What is wrong with a record, and what Polars makes of those with which nothing is wrong.

Polars is only given text that was checked byte by byte, and must find as many records in it as were counted.
"""

import codecs
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from secure_platform.source.records import BROKEN, COMMA, CR, LF, Records, split

Rule = Literal["encoding", "nul_byte", "quoting", "field_count"]
RULES: Final[tuple[Rule, ...]] = ("encoding", "nul_byte", "quoting", "field_count")
GOOD: Final = len(RULES)
"""The code of a record that breaks no rule; any other code is an index of `RULES`."""


@dataclass(frozen=True)
class Piece:
    """Complete records of a buffer, and the physical line on which each of them starts."""

    data: bytes
    records: Records
    lines: NDArray[np.uint64]

    @classmethod
    def of(cls, data: bytes, line: int, *, final: bool, delimiter: int = COMMA) -> "Piece":
        """Split a buffer whose first byte is the start of a record and on this physical line."""
        records = split(data, final=final, delimiter=delimiter)
        before = np.concatenate((np.zeros(1, np.int64), records.feeds[:-1]))[: records.feeds.size]
        return cls(data, records, (before + line).astype(np.uint64))

    @property
    def rest(self) -> bytes:
        """The bytes behind the last complete record."""
        return self.data[self.records.consumed :]

    @property
    def feeds(self) -> int:
        """Line feeds in the complete records."""
        return int(self.records.feeds[-1]) if self.records.feeds.size else 0

    @property
    def empty(self) -> NDArray[np.bool_]:
        """Which records are empty lines: outside quotes, only a line end begins with LF or CR."""
        first = np.frombuffer(self.data, np.uint8)[self.records.start]
        empty: NDArray[np.bool_] = (self.records.fields != BROKEN) & ((first == LF) | (first == CR))
        return empty

    def record(self, index: int) -> bytes:
        """The bytes of one record without its line terminator."""
        start, stop = int(self.records.start[index]), int(self.records.stop[index])
        return self.data[start:stop].removesuffix(b"\n").removesuffix(b"\r")

    def codes(self, width: int) -> NDArray[np.uint8]:
        """For each record the first of `RULES` that it breaks as one of `width` fields, or `GOOD`."""
        records = self.records
        codes = np.full(records.stop.size, GOOD, np.uint8)
        codes[records.fields != width] = RULES.index("field_count")
        codes[records.fields == BROKEN] = RULES.index("quoting")
        if b"\0" in self.data:
            nul = np.flatnonzero(np.frombuffer(self.data, np.uint8)[: records.consumed] == 0)
            codes[np.searchsorted(records.stop, nul, side="right")] = RULES.index("nul_byte")
        codes[self._undecodable()] = RULES.index("encoding")
        return codes

    def gather(self, chosen: NDArray[np.bool_]) -> list[bytes]:
        """The bytes of the chosen records, in runs in which they follow one another."""
        edges = np.flatnonzero(np.diff(chosen, prepend=False, append=False))
        runs = zip(edges[0::2].tolist(), edges[1::2].tolist(), strict=True)
        start, stop = self.records.start, self.records.stop
        return [self.data[start[first] : stop[behind - 1]] for first, behind in runs]

    def _undecodable(self) -> list[int]:
        if self.data.isascii() or _is_utf8(memoryview(self.data)[: self.records.consumed]):
            return []
        return [index for index in range(self.records.stop.size) if not _is_utf8(self.record(index))]


def _is_utf8(data: bytes | memoryview) -> bool:
    try:
        codecs.utf_8_decode(data, "strict", True)
    except UnicodeDecodeError:
        return False
    return True


def parse(
    runs: Sequence[bytes], names: Sequence[str], height: int, *, delimiter: int = COMMA
) -> pl.DataFrame | None:
    """Read good records as text columns; `None` if Polars does not find `height` of them."""
    # Polars looks at the first bytes of what it is given: it drops U+FEFF there, and takes "x^" or "x\x01"
    # for the start of compressed data and finds nothing. A header line of our own keeps data away from there.
    columns = [str(position) for position in range(len(names))]
    text = b"".join((chr(delimiter).join(columns).encode(), b"\n", *runs))
    try:
        frame = pl.read_csv(
            text, separator=chr(delimiter), schema=dict.fromkeys(columns, pl.String), glob=False
        )
    except pl.exceptions.PolarsError:
        return None
    frame.columns = list(names)
    return frame.with_columns(pl.all().replace("", None)) if frame.height == height else None
