"""Many texts as one: what a pass over all of them touches, by text."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import chain, islice
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from secure_platform.errors import DataRefusedError

ROWS: Final = 1 << 16
BYTES: Final = 8 << 20
_BETWEEN: Final = "\n\0\n"

Signs = Callable[[bytes], Iterable[tuple[int, int]]]


@dataclass(frozen=True)
class Block:
    """Texts beside each other.

    Attributes:
        first: The place of the first of them among all texts.
        texts: None for what is no text.
        data: All of them, in UTF-8.
        ends: The byte behind each.
    """

    first: int
    texts: Sequence[str | None]
    data: bytes
    ends: NDArray[np.int64]

    def touched(self, signs: Signs) -> NDArray[np.bool_]:
        """Which of the texts a sign touches."""
        places = np.fromiter(chain.from_iterable(signs(self.data)), dtype=np.int64)
        size = len(self.ends)
        # A text is touched if more signs have begun than have ended before it.
        begun = np.bincount(np.searchsorted(self.ends, places[::2], side="right"), minlength=size + 1)
        ended = np.bincount(np.searchsorted(self.ends, places[1::2] - 1, side="right") + 1, minlength=size + 1)
        touched: NDArray[np.bool_] = np.cumsum(begun[:size] - ended[:size]) > 0
        return touched


def blocks(texts: Iterable[str | None] | pl.Series) -> Iterator[Block]:
    """The texts in blocks that are bounded in number and, but for one text, in size.

    Raises:
        DataRefusedError: If a series does not hold text.
    """
    if isinstance(texts, pl.Series) and texts.dtype != pl.String:
        raise DataRefusedError(f"Series {texts.name} does not hold text", "Cast it to String.")
    first, source = 0, iter(texts)
    while batch := _batch(source):
        yield _block(first, batch)
        first += len(batch)


def _batch(source: Iterator[str | None]) -> list[str | None]:
    batch: list[str | None] = []
    size = 0
    for text in islice(source, ROWS):
        batch.append(text)
        size += len(text or "")
        if size >= BYTES:
            break
    return batch


def _block(first: int, batch: list[str | None]) -> Block:
    texts = [text or "" for text in batch]
    joined = _BETWEEN.join(texts)
    plain = joined.isascii()
    sizes = [len(text) if plain else len(text.encode(errors="replace")) for text in texts]
    ends = np.cumsum(np.array(sizes, dtype=np.int64) + len(_BETWEEN))
    return Block(first, batch, joined.encode(errors="replace"), ends)


def telling(block: Block, signs: Sequence[Signs], pool: Executor | None) -> list[NDArray[np.bool_]]:
    """Which texts each kind of sign touches; RE2 lets other threads work beside it."""
    return list((pool.map if pool else map)(block.touched, signs))
