"""Generalizations: each value becomes a coarser one that many share.

No expression can raise on a value: what cannot be read becomes null, or, for a ZIP code, 000.
"""

import json
import sys
from datetime import date
from typing import Final

import polars as pl

from secure_platform.contract.model import DTYPES
from secure_platform.protect.inputs import Inputs
from secure_platform.protect.keyed import canonical_text
from secure_platform.protect.strength import strengths

VALUES: Final = "values"
"""The parameter of a plan that holds a level of a hierarchy, as JSON."""

_TEXT, _INTEGER, _NUMBER = DTYPES["string"], DTYPES["integer"], DTYPES["number"]
_BESIDE: Final = 4 * sys.float_info.epsilon
_MOST_PARTS: Final = 2.0**50
"""Beyond so many widths from zero the numbers of a 64-bit float lie nearly as far apart as the buckets."""
_ISO_YEAR: Final = r"^([0-9]{4})-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])(?:[T ].*)?$"
_ZIP: Final = r"^[0-9]{5}(?:-?[0-9]{4})?$"


def year(column: pl.Expr, inputs: Inputs) -> pl.Expr:
    """The year, but none before the earliest that may be shown."""
    if inputs.dtype == _TEXT:
        year = column.str.extract(_ISO_YEAR, 1).cast(pl.Int32)
    elif inputs.dtype == _INTEGER:
        year = pl.when(column.is_between(1000, 9999)).then(column).cast(pl.Int32)
    else:
        year = column.dt.year()
    earliest = inputs.number("earliest")
    return year if earliest is None else year.clip(lower_bound=earliest)


def quarter(column: pl.Expr, _: Inputs) -> pl.Expr:
    """The first day of the quarter."""
    return column.cast(pl.Date).dt.truncate("1q")


def week(column: pl.Expr, _: Inputs) -> pl.Expr:
    """The Monday of the week."""
    return column.cast(pl.Date).dt.truncate("1w")


def day(column: pl.Expr, _: Inputs) -> pl.Expr:
    """The day of a time, in UTC."""
    return column.cast(pl.Date)


def hour(column: pl.Expr, _: Inputs) -> pl.Expr:
    """The full hour of a time."""
    return column.dt.truncate("1h")


def month(column: pl.Expr, _: Inputs) -> pl.Expr:
    """The first day of the month."""
    return column.cast(pl.Date).dt.truncate("1mo")


def age(column: pl.Expr, inputs: Inputs) -> pl.Expr:
    """Age in whole years, up to the highest that may be shown; with a width, the lowest of its years."""
    if inputs.dtype in (_INTEGER, _NUMBER):
        age = column.clip(0, 1000).cast(pl.Int32, strict=False)
    else:
        as_of = date.fromisoformat(str(inputs.params["as_of"]))
        months, days = column.dt.month(), column.dt.day()
        before = (months > as_of.month) | ((months == as_of.month) & (days > as_of.day))
        age = (pl.lit(as_of.year, dtype=pl.Int32) - column.dt.year() - before.cast(pl.Int32)).clip(0)
    oldest, width = inputs.number("aggregate_age"), inputs.number("width")
    age = age if oldest is None else age.clip(upper_bound=oldest)
    return age if width is None else age // pl.lit(width, pl.Int32) * width


def zip3(column: pl.Expr, inputs: Inputs) -> pl.Expr:
    """The first three digits of a ZIP code, or 000."""
    text = column.cast(pl.String)
    # An integer column has lost the leading zeros.
    code = text.str.zfill(5) if inputs.dtype == _INTEGER else text
    prefix = code.str.head(3)
    allowed = code.str.contains(_ZIP) & ~prefix.is_in(strengths().suppressed_zip3)
    return pl.when(allowed).then(prefix).when(column.is_not_null()).then(pl.lit("000"))


def bucket(column: pl.Expr, inputs: Inputs) -> pl.Expr:
    """The lower end of the bucket; null where the type cannot tell it from the value, or not hold it."""
    width = pl.lit(inputs.params["width"], dtype=inputs.dtype)
    if inputs.dtype != _NUMBER:
        lower = column // width * width
        return pl.when(lower <= column).then(lower)
    parts = column / width
    # A multiple of a decimal width, such as 0.3 of 0.1, comes out of the division a little beside it.
    near = parts.round()
    number = pl.when((parts - near).abs() <= _BESIDE * near.abs()).then(near).otherwise(parts.floor())
    lower = (number * width).round(inputs.decimals("width"))
    return pl.when(parts.abs() < _MOST_PARTS).then(lower)


def limits(column: pl.Expr, inputs: Inputs) -> pl.Expr:
    """Top and bottom code: what lies beyond a limit becomes the limit."""
    lowest, highest = (
        None if name not in inputs.params else pl.lit(inputs.params[name], dtype=inputs.dtype)
        for name in ("lowest", "highest")
    )
    return column.clip(lowest, highest)


def hierarchy(column: pl.Expr, inputs: Inputs) -> pl.Expr:
    """What a value is at a level of its hierarchy; one that is not in it becomes null."""
    values = json.loads(str(inputs.params[VALUES]))
    text = canonical_text(column, inputs.dtype)
    return text.replace_strict(values, default=None, return_dtype=pl.String)
