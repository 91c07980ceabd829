"""What each rule on a single value of a contract's column means, as a Polars expression."""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from typing import Final, Literal

import polars as pl

from secure_platform.contract.model import Column

Rule = Literal["range", "length", "pattern", "enum"]
Test = Callable[[pl.Expr], pl.Expr]

_TO_BOUND: Final[dict[str, Callable[[str], date]]] = {
    "date": date.fromisoformat,
    "timestamp": datetime.fromisoformat,
}
BOUND_SHAPES: Final[Mapping[str, re.Pattern[str]]] = {
    "date": re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}"),
    "timestamp": re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z"),
}
"""One spelling each, so that limits also compare as text."""


def row_rules(column: Column) -> Iterator[tuple[Rule, Test]]:
    """The rules on a single non-null value, as name and Polars expression."""
    if column.logical_type == "number":
        # NaN sorts above every number, so that no upper bound alone would find it.
        yield "range", lambda value: value.is_finite()
    for bound, test in ((column.minimum, pl.Expr.ge), (column.maximum, pl.Expr.le)):
        if bound is not None:
            yield "range", _compare(test, bound_value(column, bound))
    for length, test in ((column.min_length, pl.Expr.ge), (column.max_length, pl.Expr.le)):
        if length is not None:
            yield "length", _compare_length(test, length)
    if column.pattern is not None:
        yield "pattern", _matches(column.pattern)
    if column.enum is not None:
        yield "enum", _among(column.enum)


def bound_value(column: Column, bound: float | str) -> float | date:
    """A bound as the column's own type.

    Raises:
        ValueError: If the bound is text that is not such a value.
        KeyError: If the bound is text and the column neither date nor timestamp.
    """
    if isinstance(bound, str):
        return _TO_BOUND[column.logical_type](bound)
    return bound


def whole(pattern: str) -> str:
    """The regex that matches a value only as a whole, also around alternatives (`^a|b$`)."""
    return rf"\A(?:{pattern})\z"


def _compare(test: Callable[[pl.Expr, pl.Expr], pl.Expr], bound: float | date) -> Test:
    return lambda value: test(value, pl.lit(bound))


def _compare_length(test: Callable[[pl.Expr, pl.Expr], pl.Expr], length: int) -> Test:
    return lambda value: test(value.str.len_chars(), pl.lit(length))


def _matches(pattern: str) -> Test:
    return lambda value: value.str.contains(whole(pattern))


def _among(values: tuple[str, ...]) -> Test:
    return lambda value: value.is_in(values)
