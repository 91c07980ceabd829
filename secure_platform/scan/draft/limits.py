"""Proposes limits and lists of values, for public and internal columns only, without revealing an extreme.

A limit is the next power of ten, or the beginning of a decade: the largest value does not belong in a
repository, and would make a poor rule. A list is proposed if there are few values that occur often and in
both halves of the rows: a value that only one half has suggests that more will come. A list that shares a
value with a confidential column is not proposed.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import polars as pl

from secure_platform.scan.draft.columns import ColumnDraft, TableDraft
from secure_platform.scan.draft.keys import is_named_like_a_key
from secure_platform.scan.draft.shapes import cast
from secure_platform.taxonomy.info_types import info_types

FEWEST: Final = 2
"""One value everywhere does not tell what others there are."""
MOST_VALUES: Final = 20
LONGEST: Final = 40
OFTEN: Final = 5
"""A value that comes less often may be somebody's."""
LARGEST: Final = 10**14
"""With room above it a limit is still a number that every reader of YAML and JSON takes for the same."""
ROOM: Final = 10
"""Times the largest value: what is rare is often far out."""
_CODE: Final = re.compile(r"[A-Za-z0-9+<>=?](?:[A-Za-z0-9 _./+&%,()<>=:-]*[A-Za-z0-9+<>=?%.)])?")
_NAMES: Final = re.compile(r"[A-Z][a-z]+(?: [A-Z]\.?)? [A-Z][a-z]+")


def limited(drafts: Sequence[TableDraft]) -> list[TableDraft]:
    """The drafts with limits and lists of values."""
    lists = {(draft.dataset, c.name): _values(draft, c) for draft in drafts for c in draft.columns if _few(c)}
    secret = _in_common(drafts, sorted({value for values in lists.values() for value in values}))
    told = {place: values for place, values in lists.items() if values and not secret & {*values}}
    return [_with_lists(_measured(draft), told) for draft in drafts]


def may_be_told(column: ColumnDraft) -> bool:
    """Whether its values may stand in a contract."""
    names_nobody = column.info_type is None or info_types()[column.info_type].group != "identifier"
    return bool(column.filled) and column.is_open and names_nobody and not column.is_key


def _measured(draft: TableDraft) -> TableDraft:
    kinds = {"integer", "number", "date", "timestamp"}
    columns = [
        c for c in draft.columns if c.logical_type in kinds and may_be_told(c) and not is_named_like_a_key(c)
    ]
    ends = [
        pl.struct(cast(c).min().alias("low"), cast(c).max().alias("high")).alias(str(place))
        for place, c in enumerate(columns)
    ]
    if not ends:
        return draft
    half = (draft.rows + 1) // 2
    halves = [
        part.select(ends).collect(engine="streaming").row(0)
        for part in (draft.frame.head(half), draft.frame.slice(half))
    ]
    return draft.with_columns([_with_limits(c, *found) for c, *found in zip(columns, *halves, strict=True)])


def _with_limits(column: ColumnDraft, *halves: Mapping[str, Any]) -> ColumnDraft:
    """The column with the limits that both halves of the rows have; one that has no value has all."""
    found = [_limits(column, half["low"], half["high"]) for half in halves if half["low"] is not None]
    lowest, highest = {low for low, _ in found}, {high for _, high in found}
    return replace(
        column,
        minimum=lowest.pop() if len(lowest) == 1 else None,
        maximum=highest.pop() if len(highest) == 1 else None,
    )


def _limits(column: ColumnDraft, low: Any, high: Any) -> tuple[float | str | None, float | None]:
    if column.logical_type in {"date", "timestamp"}:
        first = f"{low.year // 10 * 10:04}-01-01"
        return first if column.logical_type == "date" else f"{first}T00:00:00Z", None
    if max(abs(low), abs(high)) >= LARGEST:
        return None, None
    return 0 if low >= 0 else -_power(-low), _power(high) if high > 0 else 0


def _power(value: float) -> int:
    """The next power of ten that leaves room."""
    return int(10 ** max(0, math.ceil(math.log10(value * ROOM)))) if value > 0 else 1


def _few(column: ColumnDraft) -> bool:
    return column.logical_type == "string" and column.distinct <= 2 * MOST_VALUES and may_be_told(column)


def _with_lists(draft: TableDraft, told: Mapping[tuple[str, str], tuple[str, ...]]) -> TableDraft:
    return draft.with_columns([replace(c, enum=told.get((draft.dataset, c.name))) for c in draft.columns])


def _values(draft: TableDraft, column: ColumnDraft) -> tuple[str, ...]:
    """The values, if they are few codes that come often; none otherwise."""
    late = pl.col("row") * 2 >= draft.rows
    counts = (
        draft.frame.select(pl.col(column.name).alias("value"))
        .with_row_index("row")
        .drop_nulls("value")
        .group_by("value")
        .agg(pl.len(), ((~late).any() & late.any()).alias("throughout"))
    )
    found = counts.sort("value").collect(engine="streaming").rows()
    codes = all(len(v) <= LONGEST and _CODE.fullmatch(v) and not _NAMES.fullmatch(v) for v, *_ in found)
    often = all(count >= OFTEN and throughout for _, count, throughout in found)
    few = FEWEST <= len(found) <= MOST_VALUES
    return tuple(value for value, *_ in found) if few and codes and often else ()


def _in_common(drafts: Sequence[TableDraft], values: Sequence[str]) -> set[str]:
    """Those of the values that a confidential column has too."""
    value = pl.col("value")
    closed = [
        draft.frame.select(pl.col(column.name).alias("value")).filter(value.is_in(values))
        for draft in drafts
        for column in draft.columns
        if not column.is_open
    ]
    if not closed or not values:
        return set()
    return {*pl.concat(closed).unique().collect(engine="streaming")["value"].to_list()}
