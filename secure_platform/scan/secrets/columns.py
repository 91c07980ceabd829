"""Columns of data frames: one pass per batch picks the cells that can hold a secret; only these are searched.

The cells of a batch are one text to that pass, so that a cell costs no call of its own. What a column's name
says is the business of the taxonomy: here a value speaks for itself.

Every cell that can hold a secret is searched, with one exception: where a batch of a column has more than
`SAMPLE` different ones and most of a sample hold a secret, the sample stands for them all. That the column
holds secrets is sure then; how many is an estimate, and its reasons say so.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import polars as pl

from secure_platform.scan.blocks import block_of
from secure_platform.scan.cells import shape, text_of
from secure_platform.scan.secrets.engine import Engine, Hit
from secure_platform.scan.secrets.findings import reasons

_SHORTEST: Final = 8
_BATCH: Final = 1 << 16
_CELL: Final = "cell"
_ROWS: Final = "rows"
SAMPLE: Final = 500
_REPEATS: Final = 4
ESTIMATED: Final = "counted by a sample of the cells"


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

    def add(self, other: "ColumnSecrets") -> None:
        """Count those of another batch."""
        self.rows += other.rows
        self.confidence = max(self.confidence, other.confidence)
        self.reasons |= other.reasons

    def count(self, hits: Iterable[Hit], rows: int) -> None:
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
    for name, cells in _signed(engine, frame.select(text.alias(name) for name, text in texts.items())):
        for each in _batch_secrets(engine, name, cells):
            found.setdefault((name, each.info_type), ColumnSecrets(name, each.info_type)).add(each)
    places = {name: place for place, name in enumerate(texts)}
    return sorted(found.values(), key=lambda each: (places[each.column], each.info_type))


def _signed(engine: Engine, frame: pl.LazyFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """What `signed` says of each column, by batch; RE2 and Polars let other threads work beside them."""
    batches = frame.collect_batches(chunk_size=_BATCH, maintain_order=True, engine="streaming")
    with ThreadPoolExecutor(pl.thread_pool_size()) as pool:
        for batch in batches:
            yield from zip(batch.columns, pool.map(partial(signed, engine), batch.get_columns()), strict=True)


def signed(engine: Engine, cells: pl.Series) -> pl.DataFrame:
    """The different cells in which something announces a secret, and how often each is there."""
    cells = cells.alias(_CELL).filter(cells.str.len_bytes() >= _SHORTEST)
    if _repeating(cells):
        return _announcing(engine, cells.value_counts(name=_ROWS)).sort(_CELL)
    chosen = _announcing(engine, cells.to_frame())
    return chosen.group_by(_CELL).agg(pl.len().alias(_ROWS)).sort(_CELL)


def _repeating(cells: pl.Series) -> bool:
    sample = cells.gather_every(max(1, len(cells) // SAMPLE))
    return sample.n_unique() * _REPEATS <= len(sample)


def _announcing(engine: Engine, frame: pl.DataFrame) -> pl.DataFrame:
    """The rows whose cell is touched by a sign."""
    cells = frame.get_column(_CELL)
    if cells.is_empty():
        return frame
    block = block_of(cells.to_list())
    touched = set().union(*map(block.touched, engine.announcements))
    return frame.filter(
        pl.int_range(frame.height).is_in(pl.Series(sorted(touched), dtype=pl.Int64).implode())
    )


def _batch_secrets(engine: Engine, column: str, cells: pl.DataFrame) -> list[ColumnSecrets]:
    """The secrets in a batch's signed cells: in all, or in a sample if most of it holds one."""
    sample = cells.gather_every(-(-cells.height // SAMPLE)) if cells.height > SAMPLE else cells
    found, holding = _search(engine, column, sample)
    if sample.height == cells.height:
        return found
    if holding * 2 < sample.height:
        return _search(engine, column, cells)[0]
    announced, searched = (int(each.get_column(_ROWS).sum()) for each in (cells, sample))
    for each in found:
        each.rows = each.rows * announced // searched
        each.reasons.add(ESTIMATED)
    return found


def _search(engine: Engine, column: str, cells: pl.DataFrame) -> tuple[list[ColumnSecrets], int]:
    """The secrets in these cells, and how many of the cells hold one."""
    found: dict[str, ColumnSecrets] = {}
    holding = 0
    for cell, rows in cells.iter_rows():
        by_type: defaultdict[str, list[Hit]] = defaultdict(list)
        for hit in engine.hits(cell.encode()):
            by_type[hit.rule.info_type].append(hit)
        for kind, hits in by_type.items():
            found.setdefault(kind, ColumnSecrets(column, kind)).count(hits, rows)
        holding += bool(by_type)
    return list(found.values()), holding
