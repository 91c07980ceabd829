"""A day that many subjects have a date on tells by how much theirs were moved, to whoever guesses the day.

A shifted date lies within half a year of the true one. So what counts is how much of what lies within half a
year of a day is that day: for so many of the subjects that a guess of it is right. Pairs of subject and day
are counted, so that one who comes every day hides each of these days.
"""

from collections.abc import Iterator
from typing import Any, Final

import polars as pl

from secure_platform.protect.conditions import WHEN, meets
from secure_platform.protect.plan import ColumnPlan, DatasetPlan
from secure_platform.protect.vary import MAX_SHIFT_DAYS, is_placeholder

MOST_TOLD: Final = 0.1
"""A larger share of right guesses is tolerated only where the days are alike: of a new or a monthly feed."""
ALIKE: Final = 10
"""A day is unlike the others if so many times the subjects of the middle one have it."""
MOST_TOLD_ALIKE: Final = 1 / 3
"""The share that is never tolerated."""
FEWEST_SUBJECTS: Final = 5
"""Fewer have a day in common by chance."""
_SHIFT: Final = "shift_date"
_DAY, _SUBJECT, _COUNT = "__day", "__subject", "__count"


def telling_days(plan: DatasetPlan, rows: pl.LazyFrame) -> list[dict[str, Any]] | None:
    """Columns that tell the shift of their subjects.

    Args:
        plan: Of the dataset.
        rows: The typed rows that leave raw, before they are protected.

    Returns:
        `column` and `subjects`, how many have the day that most of them have; never the day. None if nothing
        is shifted.
    """
    shifted = [
        (column.column, *each)
        for column in plan.outputs
        for each in _shifted(column, pl.lit(value=True), rows)
    ]
    if not shifted:
        return None
    found = [{"column": name, "subjects": _subjects(rows, part, meeting)} for name, part, meeting in shifted]
    return [each for each in found if each["subjects"]]


def _shifted(
    column: ColumnPlan, meeting: pl.Expr, rows: pl.LazyFrame
) -> Iterator[tuple[ColumnPlan, pl.Expr]]:
    """The shifts that a column is made of, and the rows that each of them is done in."""
    if column.transform == _SHIFT:
        yield column, meeting
    if WHEN in column.params:
        met = meets(str(column.params[WHEN]), rows.collect_schema())
        yield from _shifted(column.parts["then"], meeting & met, rows)
        yield from _shifted(column.parts["otherwise"], meeting & ~met, rows)


def _subjects(rows: pl.LazyFrame, part: ColumnPlan, meeting: pl.Expr) -> int:
    """How many subjects have the day that tells most; 0 if none tells too much."""
    column, subject = pl.col(part.column), pl.col(str(part.params["subject"]))
    counted = rows.filter(
        meeting, column.is_not_null(), subject.is_not_null(), ~is_placeholder(column, part.params)
    )
    pairs = counted.select(column.dt.date().to_physical().alias(_DAY), subject.alias(_SUBJECT)).unique()
    counts = pairs.group_by(_DAY).agg(pl.len().alias(_COUNT)).sort(_DAY).collect(engine="streaming")
    days = counts[_DAY]
    up_to = pl.concat([pl.Series([0]), counts[_COUNT].cum_sum().cast(pl.Int64)])
    after = days.search_sorted(days + MAX_SHIFT_DAYS, side="right")
    before = days.search_sorted(days - MAX_SHIFT_DAYS, side="left")
    near = up_to.gather(after) - up_to.gather(before)
    told, usual = counts[_COUNT] / near, pl.Series([counts[_COUNT].median()], dtype=pl.Float64)
    unlike = (told > MOST_TOLD) & (counts[_COUNT] >= ALIKE * usual)
    telling = counts.filter((counts[_COUNT] >= FEWEST_SUBJECTS) & (unlike | (told > MOST_TOLD_ALIKE)))
    return int(telling[_COUNT].max() or 0)  # type: ignore[arg-type]
