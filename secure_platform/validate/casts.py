"""The one spelling in which each contract type is written as text; any other is no value of that type.

A spelling that a lenient reader would accept hides a mistake (`2020-02-30`, `1e400`, `007` in a number
column) or makes one value look like two. So, in ASCII and without surrounding blanks:

- integer: decimal without leading zeros or plus sign, within 64 bits.
- number: as in JSON (RFC 8259 §6), finite as a 64-bit float, rounded to the nearest; minus zero becomes zero.
- boolean: `true` or `false`.
- date: `YYYY-MM-DD`, a day of the proleptic Gregorian calendar from year 1.
- timestamp: `YYYY-MM-DDThh:mm:ssZ`, with one to six digits of a second's fraction if need be (RFC 3339, UTC
  as `Z` only, no leap second).
- string: any text.

A contract may name another spelling of dates and timestamps (`contract/formats.py`), which is then the one.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Final

import polars as pl

from secure_platform.contract.formats import FORMATS
from secure_platform.contract.model import Column, LogicalType

INTEGER: Final = r"\A(?:0|-?[1-9][0-9]{0,18})\z"
NUMBER: Final = r"\A-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?\z"
DATE: Final = r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}\z"
TIMESTAMP: Final = r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-5][0-9](?:\.[0-9]{1,6})?Z\z"
WHOLE_SECONDS: Final = len("YYYY-MM-DDThh:mm:ssZ")


def typed(column: Column) -> pl.Expr:
    """The text column as its contract type; null where the text is no value of it. Pure and lazy."""
    text = pl.col(column.name)
    value = _CASTS[column.logical_type](text) if column.format is None else _spelled(column, text)
    return value.alias(column.name)


def _spelled(column: Column, text: pl.Expr) -> pl.Expr:
    letters = FORMATS[column.logical_type][column.format or ""]
    if column.logical_type == "date":
        value = text.str.to_date(letters, strict=False)
    else:
        value = text.str.to_datetime(letters, time_unit="us", time_zone="UTC", strict=False)
    # A reader of formats is lenient; a value that is written again in another way had another spelling.
    exact = value.dt.to_string(letters) == text
    return _where(exact & value.dt.year().is_between(date.min.year, date.max.year), value)


def _string(text: pl.Expr) -> pl.Expr:
    return text


def _integer(text: pl.Expr) -> pl.Expr:
    return _where(text.str.contains(INTEGER), text.cast(pl.Int64, strict=False))


def _number(text: pl.Expr) -> pl.Expr:
    value = text.cast(pl.Float64, strict=False)
    # Adding zero does not do: Polars leaves the sign where a column has more than one row.
    unsigned = pl.when(value == 0).then(0.0).otherwise(value)
    return _where(text.str.contains(NUMBER) & value.is_finite(), unsigned)


def _boolean(text: pl.Expr) -> pl.Expr:
    return _where(text.is_in(("true", "false")), text == "true")


def _date(text: pl.Expr) -> pl.Expr:
    value = text.str.to_date("%Y-%m-%d", strict=False)
    return _where(text.str.contains(DATE) & (value >= date.min), value)


def _timestamp(text: pl.Expr) -> pl.Expr:
    # The format for fractions is four times slower, so it only sees the rows that have one.
    fractional = pl.when(text.str.len_bytes() != WHOLE_SECONDS).then(text)
    value = pl.coalesce(
        text.str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC", strict=False),
        fractional.str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", time_zone="UTC", strict=False),
    )
    earliest = pl.lit(datetime.min.replace(tzinfo=UTC), pl.Datetime("us", "UTC"))
    return _where(text.str.contains(TIMESTAMP) & (value >= earliest), value)


def _where(valid: pl.Expr, value: pl.Expr) -> pl.Expr:
    return pl.when(valid).then(value)


_CASTS: Final[Mapping[LogicalType, Callable[[pl.Expr], pl.Expr]]] = {
    "string": _string,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "date": _date,
    "timestamp": _timestamp,
}
