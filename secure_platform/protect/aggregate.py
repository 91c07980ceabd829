"""The exact numbers of an aggregate, bounded so that no person changes them by more than was declared.

They are never shown without noise. If a person has more groups or rows than may count, a keyed hash of those
rows alone decides which do: no other person's rows influence it, and it is the same in every run.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product as combinations
from typing import Any, Final

import polars as pl

from secure_platform.contract.aggregates import Aggregate, Group, Measure, exact
from secure_platform.contract.model import Scalar
from secure_platform.protect.keyed import canonical_text, hmac_hex
from secure_platform.protect.sensitivity import Query, queries

_SUBJECT, _ORDER = "__subject", "__order"
_NULL: Final = "\x01"
_SEPARATOR: Final = "\0"


@dataclass(frozen=True)
class Answer:
    """The exact numbers, without noise.

    Attributes:
        groups: Values of the columns of `group_by` for each group, in the order in which they are published.
        numbers: For each group, the numbers of each query.
    """

    groups: tuple[tuple[Any, ...], ...]
    numbers: tuple[tuple[tuple[int, ...], ...], ...]

    def to_json(self) -> list[Any]:
        """As canonical JSON; it reveals the data, so it is only ever hashed."""
        told = [[str(value) for value in group] for group in self.groups]
        return [told, [[list(map(str, each)) for each in row] for row in self.numbers]]


def answered(aggregate: Aggregate, frame: pl.LazyFrame, subject: str, key: bytes) -> Answer:
    """Count what the aggregate asks for.

    Args:
        aggregate: What is asked.
        frame: The protected dataset.
        subject: The column that identifies persons; rows without a value in it do not count.
        key: 32 bytes; orders the rows of each person.
    """
    asked, names = queries(aggregate), [group.column for group in aggregate.group_by]
    bounded = _bounded(aggregate, frame, subject, key)
    columns = [number.alias(f"{n} {m}") for n, query in enumerate(asked) for m, number in _numbers(query)]
    # A constant groups everything where nothing is grouped by.
    grouped = bounded.group_by(names or [pl.lit(0).alias("__all")]).agg(*columns)
    counted = grouped.collect(engine="streaming")
    found = {row[: len(names)]: row[-len(columns) :] for row in counted.rows()}
    if not names:
        found = {(): next(iter(counted.select(pl.col(r"^\d+ \d+$")).rows()), (0,) * len(columns))}
    groups = tuple(_declared(aggregate.group_by, frame) if aggregate.declared else sorted(found, key=_text))
    nothing = (0,) * len(columns)
    return Answer(groups, tuple(tuple(_by_query(asked, found.get(group, nothing))) for group in groups))


def _bounded(aggregate: Aggregate, frame: pl.LazyFrame, subject: str, key: bytes) -> pl.LazyFrame:
    """The rows that count: each person's in no more groups, and no more rows in each, than declared."""
    schema = frame.collect_schema()
    names = [group.column for group in aggregate.group_by]
    used = dict.fromkeys([*names, *(each.column for each in aggregate.measures if each.column)])
    rows = frame.select(pl.col(subject).alias(_SUBJECT), *used).filter(
        pl.col(_SUBJECT).is_not_null(), *(_among(group, schema) for group in aggregate.group_by)
    )
    schema = rows.collect_schema()
    if names:
        groups = rows.select(_SUBJECT, *names).unique()
        kept = _first(groups, [_SUBJECT], aggregate.contribution.groups, _hash(groups, schema, key))
        rows = rows.join(kept, on=[_SUBJECT, *names], how="semi")
    return _first(rows, [_SUBJECT, *names], aggregate.contribution.rows, _hash(rows, schema, key))


def _first(rows: pl.LazyFrame, by: Sequence[str], most: int, order: pl.Expr) -> pl.LazyFrame:
    ordered = rows.with_columns(order.alias(_ORDER)).sort(*by, _ORDER)
    return ordered.group_by(by, maintain_order=True).head(most).drop(_ORDER)


def _hash(rows: pl.LazyFrame, schema: pl.Schema, key: bytes) -> pl.Expr:
    names = rows.collect_schema().names()
    texts = [canonical_text(pl.col(name), schema[name]).fill_null(_NULL) for name in names]
    return hmac_hex(pl.concat_str(texts, separator=_SEPARATOR), key)


def _among(group: Group, schema: pl.Schema) -> pl.Expr:
    column = pl.col(group.column)
    if group.partitions is None:
        return column.is_not_null()
    texts = [_spelled(value) for value in group.partitions]
    return canonical_text(column, schema[group.column]).is_in(texts)


def _spelled(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _declared(groups: Sequence[Group], frame: pl.LazyFrame) -> Iterator[tuple[Any, ...]]:
    schema = frame.collect_schema()
    return combinations(
        *(_typed([_spelled(value) for value in g.partitions or ()], schema[g.column]) for g in groups)
    )


def _typed(texts: Sequence[str], dtype: pl.DataType) -> list[Any]:
    if dtype == pl.Boolean():
        return [text == "true" for text in texts]
    column = pl.Series(texts, dtype=pl.String)
    return (column.str.to_date("%Y-%m-%d") if dtype == pl.Date() else column.cast(dtype)).to_list()


def _numbers(query: Query) -> Iterator[tuple[int, pl.Expr]]:
    """The numbers of a query in a group."""
    measure = query.measure
    if query.kind == "rows":
        yield 0, pl.len()
    elif query.kind == "persons" or measure is None:
        yield 0, pl.col(_SUBJECT).n_unique()
    else:
        steps, (lowest, highest) = _steps(measure), measure.bounds
        if query.kind == "bins":
            yield from ((n, (steps == lowest + n).sum()) for n in range(query.numbers))
        elif query.kind == "given":
            yield 0, steps.is_not_null().sum()
        else:
            yield 0, (steps * 2 - lowest - highest if query.kind == "centred" else steps).sum()


def _steps(measure: Measure) -> pl.Expr:
    """A value as a whole number of steps, within its limits; NaN counts as null."""
    lowest, highest = measure.bounds
    step = float(exact(measure.step or 1))
    value = pl.col(measure.column or "").cast(pl.Float64).fill_nan(None) / step
    # First the limits: infinity and what no integer holds become one of them.
    return value.clip(lowest, highest).round().cast(pl.Int64)


def _by_query(asked: Sequence[Query], row: Sequence[Any]) -> Iterator[tuple[int, ...]]:
    at = 0
    for query in asked:
        yield tuple(int(number) for number in row[at : at + query.numbers])
        at += query.numbers


def _text(group: tuple[Any, ...]) -> tuple[str, ...]:
    return tuple(map(str, group))
