"""What each transform does to a typed column, as Polars expressions: null stays null, rows stay in place.

No expression can raise on a value, because the error would show the value: what a transform cannot read
becomes null, or, for a ZIP code, 000. `drop` has no expression; the column is not selected.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from types import MappingProxyType
from typing import Final

import polars as pl

from secure_platform.contract.model import DTYPES, Scalar
from secure_platform.errors import PlanRefusedError
from secure_platform.keys.material import TokenKey
from secure_platform.protect.keyed import canonical_text, hmac_hex
from secure_platform.protect.strength import strengths

DROP: Final = "drop"
TOKEN_HEX: Final = 32
"""128 bits: among 10^9 values a collision has a chance of 10^-21; 64 bits would have 2.7 %."""
MAX_SHIFT_DAYS: Final = 183
_SHIFTS: Final = 2 * MAX_SHIFT_DAYS
_SHIFT_HEX: Final = 12
_MICROSECONDS: Final = 86_400_000_000
_FIRST_DAY: Final = (date.min - date(1970, 1, 1)).days
_LAST_DAY: Final = (date.max - date(1970, 1, 1)).days
_TEXT, _INTEGER, _NUMBER = DTYPES["string"], DTYPES["integer"], DTYPES["number"]
_DATE, _TIME = DTYPES["date"], DTYPES["timestamp"]
_ISO_YEAR: Final = r"^([0-9]{4})-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])(?:[T ].*)?$"
_ZIP: Final = r"^[0-9]{5}(?:-?[0-9]{4})?$"
_SEPARATORS: Final = r"[^ .:/()-]"


@dataclass(frozen=True)
class Inputs:
    """What an expression is built from, besides the column.

    Attributes:
        dtype: The column's type in the typed frame.
        params: As the plan resolved them.
        key: For keyed transforms.
        subject: Canonical text of the subject's id, for shift_date.
    """

    dtype: pl.DataType
    params: Mapping[str, Scalar] = field(default_factory=lambda: MappingProxyType({}))
    key: TokenKey | None = None
    subject: pl.Expr | None = None

    def number(self, name: str) -> int | None:
        """An integer parameter of the plan."""
        value = self.params.get(name)
        return None if value is None else int(value)

    def required_key(self) -> TokenKey:
        """The key; a keyed transform without one is refused, never done without."""
        if self.key is None:
            raise PlanRefusedError("A keyed transform has no key", "Compile the plan again.")
        return self.key


@dataclass(frozen=True)
class Transform:
    """How to build one transform.

    Attributes:
        build: Column and inputs to expression.
        outputs: Input type → output type; other input types are refused when the plan is compiled.
        keyed: Whether it needs a key.
    """

    build: Callable[[pl.Expr, Inputs], pl.Expr]
    outputs: Mapping[pl.DataType, pl.DataType]
    keyed: bool = False


def _keep(column: pl.Expr, _: Inputs) -> pl.Expr:
    return column


def _redact(column: pl.Expr, _: Inputs) -> pl.Expr:
    # Built from the column and not from a literal: a frame of literals only would have one row.
    return pl.when(pl.lit(False)).then(column)


def _hash(column: pl.Expr, inputs: Inputs) -> pl.Expr:
    return _token("h", column, inputs)


def _tokenize(column: pl.Expr, inputs: Inputs) -> pl.Expr:
    return _token("t", column, inputs)


def _token(prefix: str, column: pl.Expr, inputs: Inputs) -> pl.Expr:
    key = inputs.required_key()
    digits = hmac_hex(canonical_text(column, inputs.dtype), key.key).str.head(TOKEN_HEX)
    return pl.concat_str([pl.lit(f"{prefix}{key.version}_"), digits])


def _mask(column: pl.Expr, inputs: Inputs) -> pl.Expr:
    shown = inputs.number("keep_last") or 0
    hidden = column.str.replace_all(_SEPARATORS, "*")
    if not shown:
        return hidden
    # A value of which half or more would show is hidden whole.
    head = column.str.head(-shown).str.replace_all(_SEPARATORS, "*")
    long = column.str.len_chars() > 2 * shown
    return pl.when(long).then(pl.concat_str([head, column.str.tail(shown)])).otherwise(hidden)


def _year(column: pl.Expr, inputs: Inputs) -> pl.Expr:
    if inputs.dtype == _TEXT:
        year = column.str.extract(_ISO_YEAR, 1).cast(pl.Int32)
    elif inputs.dtype == _INTEGER:
        year = pl.when(column.is_between(1000, 9999)).then(column).cast(pl.Int32)
    else:
        year = column.dt.year()
    earliest = inputs.number("earliest")
    return year if earliest is None else year.clip(lower_bound=earliest)


def _quarter(column: pl.Expr, _: Inputs) -> pl.Expr:
    return column.cast(pl.Date).dt.truncate("1q")


def _month(column: pl.Expr, _: Inputs) -> pl.Expr:
    return column.cast(pl.Date).dt.truncate("1mo")


def _age(column: pl.Expr, inputs: Inputs) -> pl.Expr:
    if inputs.dtype in (_INTEGER, _NUMBER):
        age = column.clip(0, 1000).cast(pl.Int32, strict=False)
    else:
        as_of = date.fromisoformat(str(inputs.params["as_of"]))
        month, day = column.dt.month(), column.dt.day()
        before = (month > as_of.month) | ((month == as_of.month) & (day > as_of.day))
        age = (pl.lit(as_of.year, dtype=pl.Int32) - column.dt.year() - before.cast(pl.Int32)).clip(0)
    oldest = inputs.number("aggregate_age")
    return age if oldest is None else age.clip(upper_bound=oldest)


def _zip3(column: pl.Expr, inputs: Inputs) -> pl.Expr:
    text = column.cast(pl.String)
    # An integer column has lost the leading zeros.
    code = text.str.zfill(5) if inputs.dtype == _INTEGER else text
    prefix = code.str.head(3)
    allowed = code.str.contains(_ZIP) & ~prefix.is_in(strengths().suppressed_zip3)
    return pl.when(allowed).then(prefix).when(column.is_not_null()).then(pl.lit("000"))


def _bucket(column: pl.Expr, inputs: Inputs) -> pl.Expr:
    width = pl.lit(inputs.params["width"], dtype=inputs.dtype)
    return (column / width).floor() * width if inputs.dtype == _NUMBER else column // width * width


def _shift_date(column: pl.Expr, inputs: Inputs) -> pl.Expr:
    if inputs.subject is None:
        raise PlanRefusedError("A date shift has no subject", "Compile the plan again.")
    digits = hmac_hex(inputs.subject, inputs.required_key().key).str.head(_SHIFT_HEX)
    place = digits.str.to_integer(base=16, dtype=pl.Int64) % _SHIFTS
    days = pl.when(place < MAX_SHIFT_DAYS).then(place - MAX_SHIFT_DAYS).otherwise(place - MAX_SHIFT_DAYS + 1)
    unit = 1 if inputs.dtype == _DATE else _MICROSECONDS
    shifted = column.to_physical().cast(pl.Int64) + days * unit
    # 9999-12-31, "for ever" in many systems, must stay a date that every reader can hold.
    limited = shifted.clip(_FIRST_DAY * unit, (_LAST_DAY + 1) * unit - 1)
    return limited.cast(pl.Int32 if inputs.dtype == _DATE else pl.Int64).cast(inputs.dtype)


def _all_to(output: pl.DataType, *dtypes: pl.DataType) -> Mapping[pl.DataType, pl.DataType]:
    return MappingProxyType(dict.fromkeys(dtypes, output))


_SAME: Final = MappingProxyType({dtype: dtype for dtype in DTYPES.values()})
_TOKENS: Final = _all_to(pl.String(), _TEXT, _INTEGER, _DATE, _TIME)
_DAYS: Final = MappingProxyType({_DATE: _DATE, _TIME: _TIME})

TRANSFORMS: Final[Mapping[str, Transform]] = MappingProxyType(
    {
        "keep": Transform(_keep, _SAME),
        "redact": Transform(_redact, _SAME),
        "hash": Transform(_hash, _TOKENS, keyed=True),
        "tokenize": Transform(_tokenize, _TOKENS, keyed=True),
        "mask": Transform(_mask, _all_to(pl.String(), _TEXT)),
        "shift_date": Transform(_shift_date, _DAYS, keyed=True),
        "generalize.year": Transform(_year, _all_to(pl.Int32(), _TEXT, _INTEGER, _DATE, _TIME)),
        "generalize.quarter": Transform(_quarter, _all_to(pl.Date(), _DATE, _TIME)),
        "generalize.month": Transform(_month, _all_to(pl.Date(), _DATE, _TIME)),
        "generalize.age": Transform(_age, _all_to(pl.Int32(), _INTEGER, _NUMBER, _DATE, _TIME)),
        "generalize.zip3": Transform(_zip3, _all_to(pl.String(), _TEXT, _INTEGER)),
        "generalize.bucket": Transform(_bucket, MappingProxyType({_INTEGER: _INTEGER, _NUMBER: _NUMBER})),
    }
)
"""By full name. Booleans and floats have no tokens: two values hide nothing, and 0.1 has many texts."""
