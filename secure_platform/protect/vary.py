"""Values near the original ones, or exchanged between rows: derived by key, never at random.

What a row or a subject gets depends on its id and the key alone. Building the data again therefore draws
nothing new, and the mean of many releases reveals no more than one of them. The output may not tell what was
drawn either: a date that stands for no day is not moved, and numbers with noise are multiples of a step,
computed as integers, because the last bits of a sum of floats tell which floats were added (Mironov 2012).
"""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Final

import polars as pl

from secure_platform.contract.model import DTYPES, Scalar
from secure_platform.protect.inputs import Inputs
from secure_platform.protect.keyed import DRAW_HEX, hmac_hex

MAX_SHIFT_DAYS: Final = 183
_SHIFTS: Final = 2 * MAX_SHIFT_DAYS
_SHIFT_HEX: Final = 12
_MICROSECONDS: Final = 86_400_000_000
PLACEHOLDERS: Final = "placeholders"
"""The parameter that names days that stand for none."""
STEP: Final = "step"
"""The parameter that says what numbers with noise are multiples of."""
_NO_DAYS: Final = (date(1900, 1, 1), date(1970, 1, 1))
_NO_YEARS: Final = (date.min.year, date.max.year)
_INTEGER, _DATE = DTYPES["integer"], DTYPES["date"]
_LARGEST: Final = (1 << 63) - 1
_FINEST: Final = -4
_EXACT: Final = 1 << 53
"""From here on a float is not every integer."""


def shifted(column: pl.Expr, inputs: Inputs) -> pl.Expr:
    """A date moved by as many days as all dates of its subject; one that stands for no day is null."""
    place = _drawn(inputs.other("subject"), inputs, _SHIFT_HEX) % _SHIFTS
    days = pl.when(place < MAX_SHIFT_DAYS).then(place - MAX_SHIFT_DAYS).otherwise(place - MAX_SHIFT_DAYS + 1)
    unit = 1 if inputs.dtype == _DATE else _MICROSECONDS
    # Of the first and the last year nothing is moved: what is left cannot leave the calendar.
    moved = pl.when(~is_placeholder(column, inputs.params)).then(column.to_physical().cast(pl.Int64))
    shifted = moved + days * unit
    return shifted.cast(pl.Int32 if inputs.dtype == _DATE else pl.Int64).cast(inputs.dtype)


def is_placeholder(column: pl.Expr, params: Mapping[str, Scalar]) -> pl.Expr:
    """Whether a date or time stands for no day but for "unknown" or "for ever".

    Everybody knows what it was before it was moved: it would tell by how much all dates of its subject are.
    """
    return column.dt.year().is_in(_NO_YEARS) | column.dt.date().is_in([*_NO_DAYS, *declared_days(params)])


def declared_days(params: Mapping[str, Scalar]) -> list[date]:
    """The days that a contract says stand for none.

    Raises:
        ValueError: If one is not written as YYYY-MM-DD.
    """
    given = str(params.get(PLACEHOLDERS, ""))
    return [date.fromisoformat(day.strip()) for day in given.split(",")] if given else []


def noised(column: pl.Expr, inputs: Inputs) -> pl.Expr:
    """A number on the step, moved by up to the amount; null where a float is too large for that.

    The same subject, or where none is named the same row, with the same number of steps is given the same.
    """
    step = Decimal(str(inputs.params[STEP]))
    most = int(Decimal(str(inputs.params["amount"])) // step)
    if inputs.dtype == _INTEGER:
        # The ends of the range would go round to the other one.
        room, whole = _LARGEST - (most + 1) * int(step), int(step)
        steps = (column.clip(-room, room) + whole // 2) // whole
        return (steps + _moved_by(steps, most, inputs)) * whole
    steps = (column / float(step)).round().cast(pl.Int64, strict=False)
    steps = pl.when(steps.is_between(most - _EXACT, _EXACT - most)).then(steps)
    moved = (steps + _moved_by(steps, most, inputs)).cast(pl.Float64) * float(step)
    # 0.3 and not 3 x 0.1, which a float tells from it.
    return moved.round(inputs.decimals(STEP))


def least_step(amount: float) -> float:
    """The power of ten that goes into the amount a hundred times or more, down to 0.0001."""
    return float(Decimal(10) ** max(Decimal(str(amount)).adjusted() - 2, _FINEST))


def _moved_by(steps: pl.Expr, most: int, inputs: Inputs) -> pl.Expr:
    """By how many steps, evenly."""
    # A marker keeps a subject and a row of the same name apart.
    named = [
        pl.concat_str([pl.lit(name), inputs.other(name), steps.cast(pl.String)], separator="\0")
        for name in ("subject", "row")
        if name in inputs.others or name == "row"
    ]
    return _drawn(pl.coalesce(named), inputs, DRAW_HEX) % (2 * most + 1) - most


def shuffled(column: pl.Expr, inputs: Inputs) -> pl.Expr:
    """The values of the rows that have one, each in another order; nulls stay where they are."""
    given = column.is_not_null()
    order = _drawn(inputs.other("row"), inputs, DRAW_HEX)
    values = column.filter(given).sort_by(order.filter(given))
    place = given.cum_sum().cast(pl.Int64) - 1
    return pl.when(given).then(values.gather(place.clip(0), null_on_oob=True))


def _drawn(text: pl.Expr, inputs: Inputs, digits: int) -> pl.Expr:
    drawn = hmac_hex(text, inputs.required_key().key).str.head(digits)
    return drawn.str.to_integer(base=16, dtype=pl.Int64)
