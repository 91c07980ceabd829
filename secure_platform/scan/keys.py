"""What other columns and cells say about a column: a surrogate key, or values that another column names."""

from collections.abc import Sequence
from typing import Final

import polars as pl

from secure_platform.taxonomy.reading import header_tokens

# Fewer numbers than this follow each other by chance.
_SERIES: Final = 10
# A column of values is told by the first of these that stands beside it.
_VALUES: Final = frozenset(
    {"value", "val", "values", "answer", "response", "wert", "valor", "valeur", "valore"}
)
_TELLERS: Final = (
    *("attribute", "field", "property", "parameter", "variable", "question", "key", "label", "description"),
    *("name", "item", "element", "display", "type", "code", "merkmal", "campo", "champ"),
)


def numbered_through(texts: pl.LazyFrame) -> bool:
    """Whether the cells are integers that leave out fewer than they use: numbers given one after the other.

    Args:
        texts: A frame with the column `value`, without nulls.
    """
    number = pl.col("value").cast(pl.Int64, strict=False)
    row = texts.select(
        number.is_not_null().all().alias("numbers"),
        (number.max() - number.min()).alias("span"),
        number.n_unique().alias("different"),
    ).collect(engine="streaming")
    numbers, span, different = row.row(0)
    return bool(numbers and different >= _SERIES and span < 2 * different)


def told_by(header: Sequence[str]) -> dict[str, str]:
    """The columns of values, each with the column that says of every row what the value is."""
    last = {name: words[-1] for name in header if (words := header_tokens(name))}
    tellers = [name for word in _TELLERS for name in header if last.get(name) == word]
    return {name: tellers[0] for name in header if last.get(name) in _VALUES and tellers}
