"""Values that cells hold under names are examined one by one, each under its key as if under a column name.

Keys come from the data, so they are never reported.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from secure_platform.scan.forms import pairs_of
from secure_platform.scan.headers import Headers

# Keys that say little by themselves are read together with the name of their column.
_VAGUE: Final = frozenset({"code", "content", "date", "display", "line", "name", "number", "text", "value"})
# Objects whose keys are data have no end of them: keys behind these name nothing.
_PAIRS: Final = 1_000_000
# Bytes of cells whose pairs are held; those of more are read again for each question.
_HELD: Final = 1 << 26
_KEYS: Final = 1000
# Names of attributes come again in other rows; names of things do not.
_EACH: Final = 2


@dataclass(frozen=True)
class Values:
    """Values whose names, of columns or of keys, mean the same.

    Attributes:
        texts: A frame with the column `value`.
        named: Ids of the info types that the names mean.
        vetoed: Ids of the info types that they rule out.
        keyed: Those of `named` that surrogate keys are not.
    """

    texts: pl.LazyFrame
    named: frozenset[str]
    vetoed: frozenset[str]
    keyed: frozenset[str] = frozenset()


def inside(headers: Headers, column: str, texts: pl.LazyFrame, header: Sequence[str]) -> list[Values]:
    """The values inside a column's cells, by what their keys mean.

    Args:
        headers: What names mean.
        column: Its name, which is also that of the members of a plain list.
        texts: A frame with the column `value`.
        header: All column names of the table.
    """
    pairs = pairs_of(texts)
    if texts.select(pl.col("value").str.len_bytes().sum()).collect(engine="streaming").item() < _HELD:
        pairs = pairs.collect(engine="streaming").lazy()
    keys = pairs.head(_PAIRS).select(pl.col("key").unique().sort().head(_KEYS)).collect(engine="streaming")
    groups = _by_meaning(headers, column, keys["key"].to_list(), header)
    telling = [key for members in groups.values() for key in members]
    rest = Values(pairs.filter(~_is_in(telling)).select("value"), frozenset(), frozenset())
    return [rest, *_of_groups(pairs, groups)]


def told(headers: Headers, column: str, pairs: pl.LazyFrame, header: Sequence[str]) -> list[Values]:
    """The values of a column that another one names row by row, by what those names mean.

    Args:
        headers: What names mean.
        column: The column of values.
        pairs: A frame with the names as `key` and the values as `value`.
        header: All column names of the table.
    """
    filled = pairs.drop_nulls()
    keys = filled.group_by("key").len().sort("key").head(_KEYS + 1).collect(engine="streaming")
    if keys.height > _KEYS or keys["len"].sum() < _EACH * keys.height:
        return []
    return _of_groups(filled, _by_meaning(headers, column, keys["key"].to_list(), header))


def _of_groups(pairs: pl.LazyFrame, groups: Mapping["_Meaning", list[str | None]]) -> list[Values]:
    return [Values(pairs.filter(_is_in(keys)).select("value"), *meaning) for meaning, keys in groups.items()]


def _is_in(keys: Sequence[str | None]) -> pl.Expr:
    return pl.col("key").is_in(pl.Series(keys, dtype=pl.String).implode(), nulls_equal=True)


_Meaning = tuple[frozenset[str], frozenset[str], frozenset[str]]


def _by_meaning(
    headers: Headers, column: str, keys: Iterable[str | None], header: Sequence[str]
) -> Mapping[_Meaning, list[str | None]]:
    """The keys that mean or rule out a type."""
    names = {key: _name(column, key) for key in keys}
    named = headers.named([*dict.fromkeys([*names.values(), *header])])
    groups: dict[_Meaning, list[str | None]] = defaultdict(list)
    for key, name in names.items():
        vetoed = headers.vetoed(name)
        if named[name] or vetoed:
            groups[named[name], vetoed, headers.keyed(name)].append(key)
    return groups


def _name(column: str, key: str | None) -> str:
    if key is None:
        return column
    return f"{column} {key}" if key.lower() in _VAGUE else key
