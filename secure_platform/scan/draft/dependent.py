"""Proposes a dependency where one column determined another in every row, too often for chance.

Codes and names determine other columns; times and measures do not: that two events happened at the same
moment says nothing about the next. A proposal needs at least `GROUPS` groups of rows that agree, with enough
rows in them, and must be improbable if the determined values were drawn at random with their frequencies. The
name of a person determines nothing.

A value composed of the values of other columns (`al_ami-1` of `al` and `ami-1`) is determined by all of them
together; by one alone only as long as the others do not change.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import polars as pl

from secure_platform.contract.model import Dependency
from secure_platform.scan.draft.columns import ColumnDraft, TableDraft
from secure_platform.scan.draft.keys import is_named_like_a_key

GROUPS: Final = 15
"""Values that come more than once, of one that determines; if a tenth of them did not, one in five such sets
would not show it."""
MANY: Final = 100
"""So many groups speak for themselves; of fewer each must have this many rows beside the first:"""
EACH: Final = 2
EVIDENCE: Final = 50.0
"""Nats: below exp(-50) it is not by chance."""
AT_MOST: Final = 2
"""Columns that each determine another: a wrong cell in one is found by the other."""
COLUMNS: Final = 40
"""Of a wider table so many columns are looked at on either side, those that are named like keys first."""
PARTS: Final = 3
_HEAD: Final = 2_000
_LOOKED_AT: Final = 200
_SEED: Final = 0
_BY: Final = "__by"
_PERSONAL: Final = frozenset({"PERSON_NAME", "GENDER", "AGE", "DATE_OF_BIRTH", "ETHNIC_ORIGIN"})

By = tuple[str, ...]


@dataclass(frozen=True)
class _Support:
    """What speaks for a dependency: groups of rows that agree in the determining columns, and their rows."""

    by: By
    column: str
    groups: int
    rows: int
    broken: bool


def dependent(draft: TableDraft) -> TableDraft:
    """The draft with the dependencies between its columns."""
    kept = [column for column in draft.columns if column.protect is None]
    by = _ranked([column for column in kept if _may_determine(column)])
    determined = [column.name for column in _ranked([c for c in kept if _may_be_determined(c)])]
    made = _made_of_others(draft, determined)
    alone = [name for name in determined if name not in made]
    looks: dict[By, Sequence[str]] = {
        (column.name,): names for column in by if (names := _in_head(draft, column.name, alone))
    }
    looks |= {parts: [name] for name, parts in made.items() if len(parts) <= PARTS}
    likely = [each for each in _supports(draft, looks) if _is_enough(each)]
    shares = _alike(draft, {each.column for each in likely})
    found = [each for each in likely if _evidence(each, shares) >= EVIDENCE]
    if not found:
        return draft
    doubt = "columns determine others (`dependencies`) in all rows: do they by their meaning?"
    return replace(draft, dependencies=_chosen(draft, found), doubts=(*draft.doubts, doubt))


def _may_determine(column: ColumnDraft) -> bool:
    kind = column.logical_type == "string" or (
        column.logical_type == "integer" and (is_named_like_a_key(column) or column.reference is not None)
    )
    repeated = column.filled - column.distinct >= GROUPS and column.distinct >= GROUPS
    return kind and repeated and not column.unique and column.info_type not in _PERSONAL


def _may_be_determined(column: ColumnDraft) -> bool:
    return column.logical_type in {"string", "integer"} and column.distinct > 1 and not column.unique


def _ranked(columns: Sequence[ColumnDraft]) -> list[ColumnDraft]:
    return sorted(columns, key=lambda column: not is_named_like_a_key(column))[:COLUMNS]


def _in_head(draft: TableDraft, by: str, names: Sequence[str]) -> list[str]:
    """Those of the columns that it determines in the first rows."""
    others = [name for name in names if name != by]
    if not others:
        return []
    head = draft.frame.select(by, *others).head(_HEAD).drop_nulls(by)
    several = head.group_by(by).agg(pl.col(others).drop_nulls().n_unique()).select(pl.col(others).max())
    counts = several.collect(engine="streaming").row(0, named=True)
    return [name for name, count in counts.items() if count is not None and count <= 1]


def _supports(draft: TableDraft, looks: Mapping[By, Sequence[str]]) -> Iterator[_Support]:
    """Every look at all rows, in one pass each; hashes are compared."""
    queries = [_counted(draft, by, names) for by, names in looks.items()]
    for (by, names), counts in zip(looks.items(), pl.collect_all(queries, engine="streaming"), strict=True):
        row = counts.row(0, named=True)
        for place, name in enumerate(names):
            groups, rows, broken = (int(row[f"{kind}{place}"] or 0) for kind in ("groups", "rows", "broken"))
            yield _Support(by, name, groups, rows, broken=bool(broken))


def _counted(draft: TableDraft, by: By, names: Sequence[str]) -> pl.LazyFrame:
    value = [
        pl.when(pl.col(name).is_not_null()).then(pl.col(name).hash(_SEED)).alias(f"{place}")
        for place, name in enumerate(names)
    ]
    groups = (
        draft.frame.drop_nulls([*by])
        .select(pl.struct(by).hash(_SEED).alias(_BY), *value)
        .group_by(_BY)
        .agg(
            expression.alias(f"{kind}{place}")
            for place in range(len(names))
            for kind, expression in (
                ("count", pl.col(f"{place}").count()),
                ("broken", pl.col(f"{place}").min() != pl.col(f"{place}").max()),
            )
        )
    )
    told = []
    for place in range(len(names)):
        several = pl.col(f"count{place}").filter(pl.col(f"count{place}") > 1)
        told += [several.len().alias(f"groups{place}"), several.sum().alias(f"rows{place}")]
        told.append(pl.col(f"broken{place}").sum().alias(f"broken{place}"))
    return groups.select(told)


def _is_enough(each: _Support) -> bool:
    repeated = each.rows - each.groups
    enough = each.groups >= GROUPS and (each.groups >= MANY or repeated >= EACH * each.groups)
    return enough and not each.broken


def _evidence(each: _Support, shares: Mapping[str, float]) -> float:
    """How unlikely it is, in nats, that all rows of each group drew the value of the first."""
    return (each.rows - each.groups) * -math.log(max(shares[each.column], 1e-300))


def _alike(draft: TableDraft, names: set[str]) -> dict[str, float]:
    """How likely two rows have the same value of a column."""
    ordered = sorted(names)
    share = pl.col("len") / pl.col("len").sum()
    queries = [
        draft.frame.select(pl.col(name).drop_nulls().hash(_SEED))
        .group_by(name)
        .len()
        .select((share**2).sum())
        for name in ordered
    ]
    found = pl.collect_all(queries, engine="streaming")
    return {name: min(1.0, float(each.item())) for name, each in zip(ordered, found, strict=True)}


def _made_of_others(draft: TableDraft, names: Sequence[str]) -> dict[str, By]:
    """Columns in whose values those of others stand as words, each with these others."""
    head = draft.frame.select(column.name for column in draft.columns if column.filled).head(_LOOKED_AT)
    cells = head.collect(engine="streaming")
    texts = [name for name in names if draft.column(name).logical_type == "string"]
    found = {
        name: tuple(
            other for other in cells.columns if other != name and _stands_in(cells.select(other, name))
        )
        for name in texts
    }
    return {name: parts for name, parts in found.items() if parts}


def _stands_in(pairs: pl.DataFrame) -> bool:
    rows = pairs.drop_nulls().unique(maintain_order=True).rows()
    return bool(rows) and all(_is_word_of(part, whole) for part, whole in rows)


def _is_word_of(part: str, whole: str) -> bool:
    return part != whole and bool(re.search(rf"(?<![^\W_]){re.escape(part)}(?![^\W_])", whole))


def _chosen(draft: TableDraft, found: Sequence[_Support]) -> tuple[Dependency, ...]:
    """For each column those that determine it best: named like keys, and with the most groups."""
    places = {column.name: place for place, column in enumerate(draft.columns)}
    chosen: dict[By, list[str]] = {}
    for name in places:
        able = [each for each in found if each.column == name]
        for each in sorted(able, key=lambda each: _rank(draft, each))[:AT_MOST]:
            chosen.setdefault(each.by, []).append(name)
    ordered = sorted(chosen, key=lambda by: [places[name] for name in by])
    return tuple(Dependency(by, tuple(chosen[by])) for by in ordered)


def _rank(draft: TableDraft, each: _Support) -> tuple[bool, int]:
    named = all(is_named_like_a_key(draft.column(name)) for name in each.by)
    return not named, -each.groups
