"""Whether bytes hold a value, also where they are compressed: spill files of Polars and DuckDB are."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

import pyarrow as pa
import re2

PIECE: Final = 1 << 18
_FRAMES: Final = {b"\x28\xb5\x2f\xfd": "zstd", b"\x04\x22\x4d\x18": "lz4", b"\x1f\x8b\x08": "gzip"}
_FRAME: Final = re.compile(b"|".join(map(re.escape, _FRAMES)))


class Search:
    """Looks for needles, once in each content: for all in one pass, and for each only where one is.

    Args:
        needles: Label → bytes to look for.
    """

    def __init__(self, needles: Mapping[str, bytes]) -> None:
        self._needles = needles
        options = re2.Options()
        options.encoding = re2.Options.Encoding.LATIN1  # Bytes, whatever they stand for.
        self._any = re2.compile(b"|".join(map(re2.escape, needles.values())), options)
        self._known: dict[int, frozenset[str]] = {}

    @property
    def overlap(self) -> int:
        """How many bytes of the next piece must be searched with a piece."""
        return max(map(len, self._needles.values()))

    def labels(self, content: bytes) -> frozenset[str]:
        """Labels of the needles that the content or a compressed part of it holds."""
        key = hash(content)
        if key not in self._known:
            parts = [part for part in (content, *_unpacked(content)) if self._any.search(part)]
            self._known[key] = frozenset(
                label for label, needle in self._needles.items() if any(needle in part for part in parts)
            )
        return self._known[key]


def _unpacked(content: bytes) -> Iterator[bytes]:
    """Every compressed frame that begins in the content, as far as it can be unpacked."""
    for match in _FRAME.finditer(content):
        packed = pa.BufferReader(pa.py_buffer(content)[match.start() :])
        yield b"".join(_readable(pa.CompressedInputStream(packed, _FRAMES[match[0]])))


def _readable(stream: pa.CompressedInputStream) -> Iterator[bytes]:
    try:
        while block := stream.read(PIECE):
            yield block
    except OSError:  # Cut off, or no frame after all.
        return
