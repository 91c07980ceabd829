"""Many texts searched as one: which of them a pass over all of them touches."""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Final, cast

import numpy as np
import polars as pl

from secure_platform.errors import DataRefusedError
from secure_platform.scan.secrets.linear import Pattern

ROWS: Final = 1 << 16
BYTES: Final = 4 << 20
_FEW: Final = 256
_WORTH_A_THREAD: Final = 1 << 16
_BETWEEN: Final = "\n\0\n"


@dataclass(frozen=True)
class Block:
    """Texts beside each other.

    Attributes:
        first: The place of the first of them among all texts.
        data: All of them, in UTF-8.
        ends: The byte behind each.
    """

    first: int
    texts: Sequence[str]
    data: bytes
    ends: Sequence[int]

    def touched(self, sign: Pattern) -> list[int]:
        """The places of the texts that a match touches; of each text the first match is enough."""
        found: list[int] = []
        start = 0
        while (match := sign.search(self.data, start)) is not None:
            first, last = match.span()
            places = range(bisect_right(self.ends, first), bisect_right(self.ends, last - 1) + 1)
            found += places
            # What parts the texts stays in sight: a pattern may begin with what is before a value.
            start = max(last, self.ends[places[-1]] - 1)
            if start >= len(self.data):
                break
        return found

    def chosen(self, touched: Iterable[list[int]]) -> dict[int, str]:
        """The texts at any of these places in the block, by their place among all."""
        places = sorted(set().union(*touched))
        return {self.first + place: self.texts[place] for place in places}


def blocks(texts: Iterable[str | None] | pl.Series) -> Iterator[Block]:
    """The texts in blocks that are bounded in number and, but for a few texts, in size; null is no text.

    Raises:
        DataRefusedError: If a series does not hold text.
    """
    if isinstance(texts, pl.Series) and texts.dtype != pl.String:
        raise DataRefusedError(f"Series {texts.name} does not hold text", "Cast it to String.")
    first, source = 0, iter(texts)
    while batch := _batch(source):
        yield block_of(batch, first)
        first += len(batch)


def telling(texts: Iterable[str | None] | pl.Series, signs: Sequence[Pattern]) -> Iterator[dict[int, str]]:
    """The texts that a match of any sign touches, by their place.

    Each sign is a pass of its own, for together their automaton would not fit the memory. RE2 lets several
    run at once, and the next block be made meanwhile.
    """
    running: deque[tuple[Block, list[Future[list[int]]]]] = deque()
    with ThreadPoolExecutor(pl.thread_pool_size()) as pool:
        for block in blocks(texts):
            if block.first == 0 and len(block.data) < _WORTH_A_THREAD:
                yield block.chosen(block.touched(sign) for sign in signs)
                continue
            running.append((block, [pool.submit(block.touched, sign) for sign in signs]))
            if len(running) > 1:
                done, found = running.popleft()
                yield done.chosen(each.result() for each in found)
        for done, found in running:
            yield done.chosen(each.result() for each in found)


def _batch(source: Iterator[str | None]) -> list[str]:
    batch: list[str] = []
    size = 0
    while len(batch) < ROWS and size < BYTES:
        few = list(islice(source, _FEW))
        if not few:
            break
        texts = [text or "" for text in few] if None in few else cast("list[str]", few)
        batch += texts
        size += sum(map(len, texts))
    return batch


def block_of(texts: Sequence[str], first: int = 0) -> Block:
    """Texts as one block, of which the first has this place."""
    data = _BETWEEN.join(texts).encode(errors="replace")
    encoded: Iterable[str | bytes] = (
        texts if data.isascii() else (text.encode(errors="replace") for text in texts)
    )
    sizes = np.fromiter(map(len, encoded), np.int64, len(texts))
    return Block(first, texts, data, np.cumsum(sizes + len(_BETWEEN)).tolist())
