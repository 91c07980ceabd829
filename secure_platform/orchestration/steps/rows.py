"""Which rows of a dataset leave the raw zone, and an account of those that do not.

Rows stay behind because conditions name them, because they are not in the sample, because a row they
reference stayed behind, or because they would stand out. Rows that reference a key that does not exist are
orphans: an error in the data, which the contract tolerates or not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from secure_platform.protect.anonymity import measured
from secure_platform.protect.days import telling_days
from secure_platform.protect.execute import PlanKeys, apply, split_orphans
from secure_platform.protect.plan import ColumnPlan, DatasetPlan
from secure_platform.protect.suppression import chosen, in_large_classes

_NUMBERS: Final = ("Int", "UInt", "Float")
TELLING: Final = "days_that_tell"
"""Where the verdict names the columns in which one day is that of too many subjects."""


@dataclass(frozen=True)
class Rows:
    """The rows of a dataset.

    Attributes:
        kept: Those that leave raw.
        orphans: Those that point at a key that does not exist.
        raw: Those that were chosen, as they were.
        protected: The same ones in the same order, protected.
        stations: Before and after each place where rows stay behind.
    """

    kept: pl.LazyFrame
    orphans: pl.LazyFrame
    raw: pl.LazyFrame
    protected: pl.LazyFrame
    stations: tuple[tuple[pl.LazyFrame, pl.LazyFrame], ...]

    def queries(self) -> list[pl.LazyFrame]:
        """The queries whose results `behind` takes."""
        return [frame.select(pl.len()) for station in self.stations for frame in station]

    @staticmethod
    def behind(counts: Sequence[pl.DataFrame]) -> int:
        """How many rows stayed behind."""
        numbers = [int(count.item()) for count in counts]
        return sum(numbers[::2]) - sum(numbers[1::2])


def leaving(
    plan: DatasetPlan,
    typed: pl.LazyFrame,
    parents: Mapping[str, pl.LazyFrame],
    complete: Mapping[str, pl.LazyFrame],
    keys: PlanKeys,
) -> Rows:
    """The rows of a dataset that leave the raw zone, and the others.

    Args:
        plan: Of the dataset.
        typed: Its valid rows.
        parents: Every other dataset it references, after `apply`, as far as it left raw.
        complete: The same datasets with the rows that stayed behind; empty if none could.
        keys: Opens the keys that the plan names.
    """
    rule = plan.suppression
    raw = chosen(rule, typed, keys) if rule else typed
    protected = apply(plan, raw, keys)
    resolved, lost = split_orphans(plan, protected, parents)
    orphans = split_orphans(plan, protected, complete)[1] if complete else lost
    kept = in_large_classes(rule, resolved) if rule else resolved
    stations = ((typed, raw), (lost, orphans), (resolved, kept))
    return Rows(kept, orphans, raw, protected, stations if rule or complete else ())


def totalled(plan: DatasetPlan, typed: pl.LazyFrame) -> pl.LazyFrame:
    """Raw rows as control totals may ask them: what leaves raw, and numbers only where they stay numbers."""
    return typed.select(map(_totalled, plan.outputs))


def _totalled(column: ColumnPlan) -> pl.Expr:
    cell = pl.col(column.column)
    if column.full_name == "redact":
        return pl.when(pl.lit(value=False)).then(cell).alias(column.column)
    types = (column.input_type, column.output_type or "")
    stays = types[0] == types[1] or all(each.startswith(_NUMBERS) for each in types)
    return cell if stays else cell.cast(pl.String)


def account(plan: DatasetPlan, rows: Rows, output: pl.LazyFrame, behind: int) -> tuple[bool, dict[str, Any]]:
    """Whether the output is as anonymous as required, and the details for the verdict."""
    telling = telling_days(plan, rows.raw)
    anonymous, detail = _anonymous(plan, rows, output, behind)
    return anonymous and not telling, detail if telling is None else {**detail, TELLING: telling}


def _anonymous(
    plan: DatasetPlan, rows: Rows, output: pl.LazyFrame, behind: int
) -> tuple[bool, dict[str, Any]]:
    if not rows.stations:
        return True, {}
    detail: dict[str, Any] = {"stayed_behind": behind}
    rule = plan.suppression
    if rule is None or not rule.quasi:
        return True, detail
    found = measured(rows.raw, rows.protected, output, rule.quasi, rule.sensitive, rule.subject)
    enough = not found.classes or (found.k >= rule.k and (found.l is None or found.l >= rule.l))
    few = found.suppressed <= rule.at_most * found.rows
    asked = {"k": rule.k, "l": rule.l, "at_most": f"{rule.at_most:.4f}"}
    return enough and few, {**detail, "anonymity": {**found.to_json(), "asked": asked}}
