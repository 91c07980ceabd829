"""A column of any type becomes text, or is refused: what cannot be searched must not count as clean."""

from collections.abc import Iterable
from typing import Final, Literal

import polars as pl
import polars.selectors as cs
from polars.datatypes import DataTypeClass

from secure_platform.errors import DataRefusedError

Shape = Literal["text", "number", "date", "none"]

_WITHOUT_EVIDENCE: Final = (pl.Boolean, pl.Null, pl.Time, pl.Duration)


def shape(name: str, dtype: pl.DataType) -> Shape:
    """How a column of this type is scanned.

    Raises:
        DataRefusedError: If values of the type cannot be searched.
    """
    if any(leaf in {pl.Binary, pl.Object} for leaf in _leaves(dtype)):
        raise DataRefusedError(
            f"Column {name} holds bytes or objects, which cannot be scanned",
            "Decode it to text or leave it out.",
        )
    if dtype in _WITHOUT_EVIDENCE:
        return "none"
    if dtype.is_numeric():
        return "number"
    return "date" if dtype.is_temporal() else "text"


def column_of(name: str) -> pl.Expr:
    """The column of exactly this name; `pl.col` would read `*` and `^...$` as patterns over all columns."""
    return cs.by_name(name).as_expr()


def text_of(name: str, dtype: pl.DataType) -> pl.Expr:
    """The column as text; nested values as their JSON, null for null."""
    column = column_of(name)
    if dtype == pl.String:
        return column
    if dtype.is_nested():
        json = pl.struct(column).struct.json_encode().str.replace_all(r"\\[bfnrt]", " ")
        return pl.when(column.is_not_null()).then(json)
    return column.cast(pl.String)


def _leaves(dtype: pl.DataType | DataTypeClass) -> Iterable[pl.DataType | DataTypeClass]:
    if isinstance(dtype, pl.List | pl.Array):
        yield from _leaves(dtype.inner)
    elif isinstance(dtype, pl.Struct):
        for member in dtype.fields:
            yield from _leaves(member.dtype)
    else:
        yield dtype
