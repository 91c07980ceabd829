"""Proposes a pattern where all values have the same structure: numbers and codes, never names or prose.

A value consists of runs of digits, capital and small letters, with separators between them. A column has a
pattern if all values have one structure, with digits; if the column may be shown, one word may stand for a
missing number, as long as it occurs often and in both halves of the rows. Codes of several structures get no
pattern, because more would come. A run has a fixed length only if it has that length everywhere. Letters are
written as a class, or literally if the column may be shown and all values agree. The structure of a
restricted value is not written down.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import polars as pl

from secure_platform.scan.draft.columns import ColumnDraft, TableDraft
from secure_platform.scan.draft.limits import may_be_told
from secure_platform.taxonomy.classification import Classification

FILLED: Final = 100
DISTINCT: Final = 30
"""Values that must agree: if a tenth were built in another way, one in twenty such sets would not show it."""
MOST_DISTINCT: Final = 200_000
MOST_FORMS: Final = 2
RARE: Final = 0.05
LONGEST: Final = 64
_RUNS: Final = re.compile(r"[0-9]+|[a-z]+|[A-Z]+|[-_./:%#+ ]")
_CLASSES: Final = ("0-9", "a-z", "A-Z")
Runs = tuple[str, ...]


def patterned(drafts: Sequence[TableDraft]) -> list[TableDraft]:
    """The drafts with patterns."""
    return [
        draft.with_columns([_with_pattern(draft, column) for column in draft.columns]) for draft in drafts
    ]


def _with_pattern(draft: TableDraft, column: ColumnDraft) -> ColumnDraft:
    closed = column.classification >= Classification.RESTRICTED
    fits = column.logical_type == "string" and column.format is None and column.enum is None
    if closed or not fits or column.filled < FILLED or not DISTINCT <= column.distinct <= MOST_DISTINCT:
        return column
    found = _values(draft, column)
    if found["value"].str.len_chars().max() > LONGEST:  # type: ignore[operator]
        return column
    pattern = _pattern(found, told=may_be_told(column))
    return column if pattern is None else replace(column, pattern=pattern)


def _values(draft: TableDraft, column: ColumnDraft) -> pl.DataFrame:
    """Each value, how often it comes, and whether it comes in the first and in the last half of the rows."""
    late = pl.col("row") * 2 >= draft.rows
    return (
        draft.frame.select(pl.col(column.name).alias("value"))
        .with_row_index("row")
        .drop_nulls("value")
        .group_by("value")
        .agg(pl.len().alias("count"), (~late).any().alias("early"), late.any().alias("late"))
        .sort("value")
        .collect(engine="streaming")
    )


def _pattern(found: pl.DataFrame, *, told: bool) -> str | None:
    """The pattern of all values; None if they are not built alike."""
    forms: dict[str, list[Runs]] = defaultdict(list)
    counts: dict[str, int] = defaultdict(int)
    halves: dict[str, list[bool]] = defaultdict(lambda: [False, False])
    for value, count, early, late in found.iter_rows():
        runs = _RUNS.findall(value)
        if "".join(runs) != value or not runs:
            return None
        form = "".join(_kind(run) for run in runs)
        forms[form].append(tuple(runs))
        counts[form] += count
        halves[form] = [halves[form][0] or early, halves[form][1] or late]
        if len(forms) > MOST_FORMS:
            return None
    total = sum(counts.values())
    if not all(counts[form] >= RARE * total and all(halves[form]) for form in forms):
        return None
    parts = [_part(values, told=told) for _, values in sorted(forms.items())]
    if None in parts or sum("0" in form for form in forms) != 1:
        return None
    joined = "|".join(filter(None, parts))
    return f"^{joined}$" if len(parts) == 1 else f"^(?:{joined})$"


def _part(values: Sequence[Runs], *, told: bool) -> str | None:
    """One form; None for words, unless it is one word that may be told."""
    if not any(run.isdigit() for run in values[0]):
        return _literal("".join(values[0])) if told and len(values) == 1 else None
    if len(values) < DISTINCT:
        return None
    return "".join(_spelled({runs[place] for runs in values}, told=told) for place in range(len(values[0])))


def _spelled(runs: set[str], *, told: bool) -> str:
    first, *others = runs
    kind = _kind(first)
    if kind not in "0aA" or (told and kind != "0" and not others):
        return _literal(first)
    lengths = {len(run) for run in runs}
    times = f"{{{lengths.pop()}}}" if len(lengths) == 1 else "+"
    return f"[{_CLASSES['0aA'.index(kind)]}]{times}"


def _kind(run: str) -> str:
    first = run[0]
    if first.isalnum():
        return "0" if first.isdigit() else "a" if first.islower() else "A"
    return first


def _literal(text: str) -> str:
    """The text as a regex; of all separators two mean something there."""
    return re.sub("([.+])", r"\\\1", text)
