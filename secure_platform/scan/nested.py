"""JSON text, lists and structs are looked at value by value, each under its own key as under a column name.

Keys come from the data, so they are never reported. They are read with patterns and not with a parser: cells
of any shape, broken ones too, are searched in the same streaming query.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from secure_platform.scan.headers import named_types, vetoed_types
from secure_platform.scan.patterns import DOCUMENT
from secure_platform.taxonomy.info_types import InfoType

_STRING: Final = r'"(?:[^"\\]|\\.)*"'
_SCALAR: Final = rf"(?:{_STRING}|-?[0-9][0-9.eE+-]*)"
_BEFORE_VALUE: Final = rf"^{_STRING}\s*:\s*(?:\[\s*)?"
_PAIR: Final = _BEFORE_VALUE.removeprefix("^") + _SCALAR
_FLAT: Final = rf"^\s*\[\s*{_SCALAR}(?:\s*,\s*{_SCALAR})*\s*\]\s*$"

# Keys that say little by themselves are read together with the name of their column.
_VAGUE: Final = frozenset({"code", "content", "date", "display", "line", "name", "number", "text", "value"})
_LONGEST_KEY: Final = 64
# Objects whose keys are data have no end of them: keys behind these name nothing.
_PAIRS: Final = 1_000_000
_KEYS: Final = 1000


@dataclass(frozen=True)
class Values:
    """Values whose names, of columns or of keys, mean the same.

    Attributes:
        texts: A frame with the column `value`.
        named: Ids of the info types that the names mean.
        vetoed: Ids of the info types that they rule out.
    """

    texts: pl.LazyFrame
    named: frozenset[str]
    vetoed: frozenset[str]


def inside(
    types: Mapping[str, InfoType], column: str, texts: pl.LazyFrame, header: Sequence[str]
) -> list[Values]:
    """The values inside a column's documents, by what their keys mean.

    Args:
        types: The taxonomy.
        column: Its name, which is also that of the members of a plain list.
        texts: A frame with the column `value`.
        header: All column names of the table.
    """
    pairs = _pairs(texts)
    keys = pairs.head(_PAIRS).select(pl.col("key").unique().sort().head(_KEYS)).collect(engine="streaming")
    groups = _by_meaning(types, column, keys["key"].to_list(), header)
    telling = [key for members in groups.values() for key in members]
    rest = Values(pairs.filter(~_is_in(telling)).select("value"), frozenset(), frozenset())
    return [
        rest,
        *(Values(pairs.filter(_is_in(keys)).select("value"), *meaning) for meaning, keys in groups.items()),
    ]


def _is_in(keys: Sequence[str | None]) -> pl.Expr:
    return pl.col("key").is_in(pl.Series(keys, dtype=pl.String).implode(), nulls_equal=True)


_Meaning = tuple[frozenset[str], frozenset[str]]


def _by_meaning(
    types: Mapping[str, InfoType], column: str, keys: Iterable[str | None], header: Sequence[str]
) -> Mapping[_Meaning, list[str | None]]:
    """The keys that mean or rule out a type."""
    names = {key: _name(column, key) for key in keys}
    named = named_types(types, [*dict.fromkeys([*names.values(), *header])])
    groups: dict[_Meaning, list[str | None]] = defaultdict(list)
    for key, name in names.items():
        vetoed = vetoed_types(types, name)
        if named[name] or vetoed:
            groups[named[name], vetoed].append(key)
    return groups


def _name(column: str, key: str | None) -> str:
    if key is None:
        return column
    return f"{column} {key}" if key.lower() in _VAGUE else key


def _pairs(texts: pl.LazyFrame) -> pl.LazyFrame:
    """Every scalar inside the documents, with its key; members of a plain list have none."""
    value = pl.col("value")
    parts = pl.when(value.str.contains(_FLAT)).then(value.str.extract_all(_SCALAR))
    found = (
        texts.filter(value.str.contains(DOCUMENT))
        .select(parts.otherwise(value.str.extract_all(_PAIR)))
        .explode("value", empty_as_null=False, keep_nulls=False)
    )
    return found.select(
        value.str.extract(rf"^({_STRING})\s*:").str.strip_chars('"').str.slice(0, _LONGEST_KEY).alias("key"),
        value.str.replace(_BEFORE_VALUE, "").str.strip_chars('"').alias("value"),
    )
