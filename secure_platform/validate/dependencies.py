"""Columns that determine others do so over the whole dataset: who agrees in the first agrees in the second.

Where rows do not, the value that more than half of them have is believed, and the others are invalid. Where
no value has so many, those rows are believed that are in the majority by another dependency of the column; of
the rest nobody can tell who is wrong: all of them are invalid, as rows are that share a key.

In one pass the least and the greatest 64-bit hash of each determined value are kept for every determining
one; rows where they differ are read again and their values counted exactly, and then once more for the lines
of the invalid ones: a valid row is never held. Values are compared as their contract types.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import polars as pl

from secure_platform.contract.model import Contract, Dependency
from secure_platform.source.csv import LINE
from secure_platform.validate.casts import typed

RULE: Final = "dependency"
_SEED: Final = 0
_BY, _VALUE, _LEAST, _GREATEST = "__by", "__value", "__least", "__greatest"
_ALL, _ALIKE = "__all", "__alike"
"""Names that no column of a contract can have."""
_HASH: Final = pl.col(_BY).hash(_SEED)
_MOST: Final = pl.col(_ALIKE).max().over(_BY)
_OUTVOTED: Final = (pl.col(_ALL) < 2 * _MOST) & (2 * pl.col(_ALIKE) <= pl.col(_ALL))
_UNDECIDED: Final = pl.col(_ALL) >= 2 * _MOST
_BELIEVED: Final = (2 * pl.col(_ALIKE) > pl.col(_ALL)) & (pl.col(_ALIKE) > 1)


def contradictions(contract: Contract, text: pl.LazyFrame) -> Iterator[tuple[str, pl.Series]]:
    """Each column that is not determined as it should be, and the lines of the invalid rows, each once.

    Args:
        contract: The dataset.
        text: Its text columns and `__line`; those of suspects are read once more.
    """
    if not contract.dependencies:
        return
    types = {column.name: typed(column) for column in contract.columns}
    queries = [_suspects(text, types, each) for each in contract.dependencies]
    found = dict(zip(contract.dependencies, pl.collect_all(queries, engine="streaming"), strict=True))
    for column in contract.columns:
        ways = {each: hashes for each, hashes in found.items() if column.name in each.determined}
        lines = _invalid(text, types, column.name, ways)
        if lines.len():
            yield column.name, lines


def _invalid(
    text: pl.LazyFrame,
    types: Mapping[str, pl.Expr],
    name: str,
    ways: Mapping[Dependency, pl.DataFrame],
) -> pl.Series:
    """Lines of the rows whose value is wrong by any dependency of its column, or of which nobody can tell."""
    wrong, open_ = (pl.Series(LINE, [], pl.UInt64) for _ in range(2))
    for each, suspects in ways.items():
        place = each.determined.index(name)
        hashes = suspects.filter(pl.col(f"{_LEAST}{place}") != pl.col(f"{_GREATEST}{place}"))[_BY]
        if hashes.len():
            rows = _rows(text, types, each.columns, name)
            counts = _counted(rows, hashes)
            wrong = pl.concat([wrong, _lines(rows, counts.filter(_OUTVOTED))])
            open_ = pl.concat([open_, _lines(rows, counts.filter(_UNDECIDED))])
    if open_.len():
        for each in ways:
            open_ = open_.filter(~open_.is_in(_believed(text, types, (each.columns, name), open_).implode()))
    return pl.concat([wrong, open_]).unique().sort()


def _suspects(text: pl.LazyFrame, types: Mapping[str, pl.Expr], each: Dependency) -> pl.LazyFrame:
    """Hashes of determining values that go with several of a determined one."""
    names = range(len(each.determined))
    bounds = [
        bound(pl.col(f"{place}")).alias(f"{name}{place}")
        for place in names
        for bound, name in ((pl.Expr.min, _LEAST), (pl.Expr.max, _GREATEST))
    ]
    return (
        _known(text, types, each.columns, each.determined)
        .select(
            pl.struct(each.columns).hash(_SEED).alias(_BY),
            *(
                pl.when(pl.col(name).is_not_null()).then(pl.col(name).hash(_SEED)).alias(f"{place}")
                for place, name in enumerate(each.determined)
            ),
        )
        .group_by(_BY)
        .agg(bounds)
        .filter(
            pl.any_horizontal(pl.col(f"{_LEAST}{place}") != pl.col(f"{_GREATEST}{place}") for place in names)
        )
    )


def _known(
    text: pl.LazyFrame, types: Mapping[str, pl.Expr], by: Sequence[str], determined: Sequence[str]
) -> pl.LazyFrame:
    """The rows that have all determining values, in the types of the contract."""
    return text.select(LINE, *(types[name] for name in (*by, *determined))).drop_nulls([*by])


def _rows(text: pl.LazyFrame, types: Mapping[str, pl.Expr], by: Sequence[str], name: str) -> pl.LazyFrame:
    """Line, determining values and determined one of the rows that have them."""
    known = _known(text, types, by, [name]).drop_nulls(name)
    return known.select(LINE, pl.struct(by).alias(_BY), pl.col(name).alias(_VALUE))


def _counted(rows: pl.LazyFrame, among: pl.Series) -> pl.DataFrame:
    """Of the rows with these hashes: how many have a value, and how many all with its determining ones."""
    return (
        rows.filter(_HASH.is_in(among.implode()))
        .group_by(_BY, _VALUE)
        .agg(pl.len().alias(_ALIKE))
        .collect(engine="streaming")
        .with_columns(pl.col(_ALIKE).sum().over(_BY).alias(_ALL))
    )


def _lines(rows: pl.LazyFrame, pairs: pl.DataFrame) -> pl.Series:
    """Lines of the rows that have one of the pairs of determining values and determined one."""
    if pairs.is_empty():
        return pl.Series(LINE, [], pl.UInt64)
    found = rows.join(pairs.lazy(), on=[_BY, _VALUE], how="semi").select(LINE)
    return found.collect(engine="streaming")[LINE]


def _believed(
    text: pl.LazyFrame, types: Mapping[str, pl.Expr], pair: tuple[tuple[str, ...], str], lines: pl.Series
) -> pl.Series:
    """Those of the lines whose value most of several rows with the same determining values have."""
    rows = _rows(text, types, *pair)
    asked = rows.filter(pl.col(LINE).is_in(lines.implode()))
    hashes = asked.select(_HASH).unique().collect(engine="streaming")
    return _lines(asked, _counted(rows, hashes[_BY]).filter(_BELIEVED))
