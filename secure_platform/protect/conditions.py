"""A contract's conditions become one expression over typed columns; one that does not fit is refused."""

import json
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any, Final

import polars as pl

from secure_platform.contract.conditions import Condition, read_conditions
from secure_platform.contract.model import DTYPES, Protect, Scalar
from secure_platform.errors import PlanRefusedError

WHEN: Final = "when"
"""The parameter of a plan that holds conditions, as JSON."""
_UTC: Final = "+00:00"
_COMPARED: Final[Mapping[pl.DataType, tuple[type, ...]]] = {
    DTYPES["string"]: (str,),
    DTYPES["integer"]: (int,),
    DTYPES["number"]: (int, float),
    DTYPES["boolean"]: (bool,),
    DTYPES["date"]: (str,),
    DTYPES["timestamp"]: (str,),
}
_WITHOUT_ORDER: Final = (DTYPES["string"], DTYPES["boolean"])


def conditions_of(text: str) -> tuple[Condition, ...]:
    """The conditions that a plan holds."""
    return read_conditions(json.loads(text))


def gone_by(protect: Protect) -> frozenset[str]:
    """The columns that the conditions of a transform and of its parts go by."""
    own = {each.column for each in conditions_of(str(protect.params[WHEN]))} if WHEN in protect.params else ()
    return frozenset(own).union(*map(gone_by, protect.parts.values()))


def require_conditions(where: str, columns: Mapping[str, pl.DataType], text: str) -> None:
    """Refuse conditions that do not fit these columns.

    Raises:
        PlanRefusedError: If a column is missing, or a value is none of its type.
    """
    for condition in conditions_of(text):
        dtype = columns.get(condition.column)
        if dtype is None:
            raise PlanRefusedError(
                f"{where} has a condition on {condition.column}, which is no column of its contract",
                "Name a column of the same dataset.",
            )
        try:
            _meets(condition, dtype)
        except (ValueError, TypeError):
            raise PlanRefusedError(
                f"{where} has a condition that does not fit the type of {condition.column}",
                "Write values of the column's type; dates as 'YYYY-MM-DD', times as 'YYYY-MM-DDThh:mm:ssZ'. "
                "Text and booleans have no order.",
            ) from None


def meets(text: str, schema: Mapping[str, pl.DataType]) -> pl.Expr:
    """Whether a row meets all conditions; never null."""
    return all_of(_meets(condition, schema[condition.column]) for condition in conditions_of(text))


def all_of(expressions: Iterable[pl.Expr]) -> pl.Expr:
    """Whether all hold; what is null does not."""
    return pl.all_horizontal([each.fill_null(value=False) for each in expressions])


def _meets(condition: Condition, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(condition.column)
    if condition.comparison == "is_null":
        return column.is_null() == pl.lit(condition.values[0])
    values = [_value(value, dtype) for value in condition.values]
    if condition.comparison in {"below", "at_least"} and dtype in _WITHOUT_ORDER:
        raise TypeError
    match condition.comparison:
        case "below":
            return column < pl.lit(values[0], dtype)
        case "at_least":
            return column >= pl.lit(values[0], dtype)
    found = column.is_in(pl.Series(values, dtype=dtype).implode())
    return ~found if condition.comparison == "none_of" else found


def _value(value: Scalar, dtype: pl.DataType) -> Any:
    if type(value) not in _COMPARED[dtype]:
        raise TypeError
    if dtype == DTYPES["date"]:
        return date.fromisoformat(str(value))
    if dtype == DTYPES["timestamp"]:
        moment = datetime.fromisoformat(str(value).replace("Z", _UTC))
        if moment.utcoffset() is None:
            raise ValueError
        return moment
    return value
