"""Columns of data frames: one pass per batch picks the cells that can hold a secret; only these are searched.

The cells of a batch are one text to that pass, so that a cell costs no call of its own. What a column's name
says is the business of the taxonomy: here a value speaks for itself.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import numpy as np
import polars as pl

from secure_platform.scan.cells import shape, text_of
from secure_platform.scan.secrets.engine import Engine, Hit
from secure_platform.scan.secrets.findings import reasons

_SHORTEST: Final = 8
_BATCH: Final = 1 << 16
_CELL: Final = "cell"
_ROWS: Final = "rows"


@dataclass
class ColumnSecrets:
    """The secrets of one info type in one column.

    Attributes:
        rows: How many cells hold one.
        reasons: What the confidence rests on.
    """

    column: str
    info_type: str
    rows: int = 0
    confidence: float = 0.0
    reasons: set[str] = field(default_factory=set)

    def add(self, hits: Iterable[Hit], rows: int) -> None:
        """Count cells with these hits."""
        self.rows += rows
        for hit in hits:
            self.confidence = max(self.confidence, hit.confidence)
            self.reasons |= {hit.rule.description or hit.rule.id, *reasons([hit])}


def scan_columns(engine: Engine, frame: pl.LazyFrame) -> list[ColumnSecrets]:
    """The secrets in the text columns of a frame, in the order of columns, then of info types.

    Raises:
        DataRefusedError: If a column holds bytes, which cannot be searched.
    """
    schema = frame.collect_schema()
    texts = {name: text_of(name, dtype) for name, dtype in schema.items() if shape(name, dtype) == "text"}
    found: dict[tuple[str, str], ColumnSecrets] = {}
    for name, cell, rows in _signed(engine, frame.select(text.alias(name) for name, text in texts.items())):
        by_type: defaultdict[str, list[Hit]] = defaultdict(list)
        for hit in engine.hits(cell.encode()):
            by_type[hit.rule.info_type].append(hit)
        for kind, hits in by_type.items():
            found.setdefault((name, kind), ColumnSecrets(name, kind)).add(hits, rows)
    places = {name: place for place, name in enumerate(texts)}
    return sorted(found.values(), key=lambda each: (places[each.column], each.info_type))


def _signed(engine: Engine, frame: pl.LazyFrame) -> Iterator[tuple[str, str, int]]:
    """Column, cell and how often it is there; RE2 and Polars let other threads work beside them."""
    batches = frame.collect_batches(chunk_size=_BATCH, maintain_order=False, engine="streaming")
    with ThreadPoolExecutor(pl.thread_pool_size()) as pool:
        for batch in batches:
            chosen = pool.map(partial(signed, engine), batch.get_columns())
            for name, cells in zip(batch.columns, chosen, strict=True):
                yield from ((name, cell, rows) for cell, rows in cells.iter_rows())


def signed(engine: Engine, cells: pl.Series) -> pl.DataFrame:
    """The different cells in which something announces a secret, and how often each is there."""
    cells = cells.alias(_CELL).filter(cells.str.len_bytes() >= _SHORTEST)
    if cells.is_empty():
        return pl.DataFrame(schema={_CELL: pl.String, _ROWS: pl.UInt32})
    text = cells.str.join("\n").item().encode()
    ends = (cells.str.len_bytes().cast(pl.Int64) + 1).cum_sum().to_numpy()
    places = np.fromiter((place for span in engine.signs(text) for place in span), dtype=np.int64)
    starts, stops = places[::2], places[1::2]
    size = len(cells) + 1
    begun = np.bincount(np.searchsorted(ends, starts, side="right"), minlength=size)
    ended = np.bincount(np.searchsorted(ends, stops - 1, side="right") + 1, minlength=size + 1)
    # A cell is signed if more signs have begun than have ended before it.
    chosen = cells.filter(pl.Series(np.cumsum(begun - ended[:size])[: len(cells)] > 0))
    return chosen.to_frame().group_by(_CELL).agg(pl.len().alias(_ROWS)).sort(_CELL)
