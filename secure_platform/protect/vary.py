"""Values near the original ones, or exchanged between rows: derived by key, never at random.

What a row or a subject gets depends on its id and the key alone. Building the data again therefore draws
nothing new, and the mean of many releases reveals no more than one of them.
"""

from datetime import date
from typing import Final

import polars as pl

from secure_platform.contract.model import DTYPES
from secure_platform.protect.inputs import Inputs
from secure_platform.protect.keyed import DRAW_HEX, DRAWS, canonical_text, hmac_hex

MAX_SHIFT_DAYS: Final = 183
_SHIFTS: Final = 2 * MAX_SHIFT_DAYS
_SHIFT_HEX: Final = 12
_MICROSECONDS: Final = 86_400_000_000
_FIRST_DAY: Final = (date.min - date(1970, 1, 1)).days
_LAST_DAY: Final = (date.max - date(1970, 1, 1)).days
_INTEGER, _DATE = DTYPES["integer"], DTYPES["date"]
_LARGEST: Final = (1 << 63) - 1


def shifted(column: pl.Expr, inputs: Inputs) -> pl.Expr:
    """A date moved by as many days as all dates of its subject."""
    place = _drawn(inputs.other("subject"), inputs, _SHIFT_HEX) % _SHIFTS
    days = pl.when(place < MAX_SHIFT_DAYS).then(place - MAX_SHIFT_DAYS).otherwise(place - MAX_SHIFT_DAYS + 1)
    unit = 1 if inputs.dtype == _DATE else _MICROSECONDS
    shifted = column.to_physical().cast(pl.Int64) + days * unit
    # 9999-12-31, "for ever" in many systems, must stay a date that every reader can hold.
    limited = shifted.clip(_FIRST_DAY * unit, (_LAST_DAY + 1) * unit - 1)
    return limited.cast(pl.Int32 if inputs.dtype == _DATE else pl.Int64).cast(inputs.dtype)


def noised(column: pl.Expr, inputs: Inputs) -> pl.Expr:
    """A number moved by up to the amount; evenly, and anew when the row's value changes."""
    amount = float(inputs.params["amount"])
    text = pl.concat_str([inputs.other("row"), canonical_text(column, inputs.dtype)], separator="\0")
    drawn = _drawn(text, inputs, DRAW_HEX)
    if inputs.dtype == _INTEGER:
        most = int(amount)
        # The ends of the range would go round to the other one.
        room = _LARGEST - most
        return column.clip(-room, room) + drawn % (2 * most + 1) - most
    return column + (drawn.cast(pl.Float64) / (DRAWS - 1) * 2 - 1) * amount


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
