"""After a rotation, a new token must stand for the same value as the old one; row counts show that it does.

Both frames were made from the same raw rows in the same order. So every column that the rotation does not
concern is unchanged, every null is where it was, and each old token meets exactly one new one. This needs no
key: neither the new one, nor the old one, which may already be destroyed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import polars as pl

from secure_platform.errors import DataRefusedError
from secure_platform.protect.plan import ColumnPlan, DatasetPlan
from secure_platform.protect.reversible import AT_RANDOM

TOKENS: Final = frozenset({"tokenize", "vault", "hash", "encrypt.deterministic", "fpe"})
"""Others that have a key do not stand for one value: of many dates, some shift to the same."""
_BY_CHANCE: Final = frozenset({"fpe"})
"""Among a million numbers of six digits, one becomes the same under two keys."""
_FIX: Final = "Run the whole build instead, and review what it changes."


@dataclass(frozen=True)
class Moved:
    """A column whose key has another version.

    Attributes:
        old: The version it had.
        new: The version it has.
    """

    column: str
    domain: str
    transform: str
    old: int
    new: int


def moved(old: DatasetPlan, new: DatasetPlan) -> list[Moved]:
    """The columns that differ in the version of their key and in nothing else."""
    return [
        Moved(now.column, now.token_domain, now.full_name, was.token_version, now.token_version)
        for was, now in _pairs(old, new)
        if was != now == replace(was, token_version=now.token_version)
        if now.token_domain and was.token_version and now.token_version
    ]


def unmoved(old: DatasetPlan, new: DatasetPlan) -> list[str]:
    """The columns whose values are exactly as before."""
    same = [now for was, now in _pairs(old, new) if was == now]
    return [now.column for now in same if all(each.full_name != AT_RANDOM for each in now.every())]


def _pairs(old: DatasetPlan, new: DatasetPlan) -> list[tuple[ColumnPlan, ColumnPlan]]:
    before = {column.column: column for column in old.outputs}
    return [(before[column.column], column) for column in new.outputs if column.column in before]


def require_one_to_one(
    dataset: str,
    old: pl.LazyFrame,
    new: pl.LazyFrame,
    columns: Sequence[Moved],
    kept: Sequence[str],
) -> Mapping[str, int]:
    """Compare a dataset as it was released with the same rows under the new keys.

    Args:
        dataset: Its name, for errors.
        old: As it was released.
        new: As it is now.
        columns: Whose key has another version.
        kept: Columns that must be as they were.

    Returns:
        Column of tokens → how many distinct ones it has, before and now.

    Raises:
        DataRefusedError: If rows, nulls or other columns differ, or two tokens became one or one two.
    """
    rows = [int(frame.select(pl.len()).collect(engine="streaming").item()) for frame in (old, new)]
    if rows[0] != rows[1]:
        raise DataRefusedError(f"{dataset} has {rows[1]} rows and was released with {rows[0]}", _FIX)
    names = [*kept, *(each.column for each in columns)]
    both = pl.concat(
        [old.select(pl.col(names).name.prefix("old ")), new.select(pl.col(names).name.prefix("new "))],
        how="horizontal",
    )
    found = both.select(_counts(columns, kept)).collect(engine="streaming").row(0, named=True)
    differing = sorted(name for name in kept if found[f"differing {name}"])
    if differing:
        raise DataRefusedError(f"{dataset} differs in {', '.join(differing)} from what was released", _FIX)
    broken = sorted(each.column for each in columns if _is_broken(each, found))
    if broken:
        raise DataRefusedError(
            f"Old and new tokens of {dataset} differ in what they join: {', '.join(broken)}", _FIX
        )
    return {each.column: found[f"new {each.column}"] for each in columns if each.transform in TOKENS}


def _counts(columns: Sequence[Moved], kept: Sequence[str]) -> list[pl.Expr]:
    counts = [
        pl.col(f"old {name}").ne_missing(pl.col(f"new {name}")).sum().alias(f"differing {name}")
        for name in kept
    ]
    for each in columns:
        old, new = pl.col(f"old {each.column}"), pl.col(f"new {each.column}")
        counts.append((old.is_null() != new.is_null()).sum().alias(f"nulls {each.column}"))
        if each.transform in TOKENS:
            counts += [
                old.n_unique().alias(f"old {each.column}"),
                new.n_unique().alias(f"new {each.column}"),
                pl.struct(old, new).n_unique().alias(f"pairs {each.column}"),
                (old == new).sum().alias(f"equal {each.column}"),
            ]
    return counts


def _is_broken(each: Moved, found: Mapping[str, int]) -> bool:
    if found[f"nulls {each.column}"]:
        return True
    if each.transform not in TOKENS:
        return False
    distinct = {found[f"{kind} {each.column}"] for kind in ("old", "new", "pairs")}
    if len(distinct) > 1:
        return True
    return each.transform not in _BY_CHANCE and found[f"equal {each.column}"] > 0
