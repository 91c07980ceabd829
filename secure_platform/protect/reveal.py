"""An original value is recovered in two ways only: by decryption with its key, or by looking it up.

What a plan encrypted, or stored until a day, is opened with the key that the plan names. Any other token
cannot be reversed; but while its rows are still there, the tokens of all of them can be made again and the
ones asked about found among them. Hashes, and transforms that lose information, are refused.
"""

from collections.abc import Mapping
from typing import Final

import polars as pl

from secure_platform.contract.rules import whole
from secure_platform.errors import IntegrityError, UsageError
from secure_platform.protect.execute import PlanKeys, apply, undo
from secure_platform.protect.plan import ColumnPlan, DatasetPlan
from secure_platform.protect.transforms import TRANSFORMS

CELL: Final = "cell"
VALUE: Final = "value"
LOOKED_UP: Final = frozenset({"tokenize"})


def is_looked_up(column: ColumnPlan) -> bool:
    """Whether the values of a column are found among the rows that it was made of.

    Raises:
        UsageError: If they cannot be made again at all.
    """
    if column.full_name in LOOKED_UP:
        return True
    if TRANSFORMS[column.full_name].undo is None:
        raise UsageError(
            f"{column.column} was made by {column.full_name}, which nobody can undo",
            "Only what is encrypted, keeps its format (fpe), is tokenized or stored can be revealed.",
        )
    return False


def opened(plan: DatasetPlan, column: ColumnPlan, cells: pl.Series, keys: PlanKeys) -> pl.DataFrame:
    """`cell` and `value` of cells that are undone with their key; null where its person was erased.

    Raises:
        IntegrityError: If one is not what the plan made, or its key may not be used any more; then of none.
    """
    pattern = column.params.get("pattern")
    if pattern is not None and not cells.str.contains(whole(str(pattern))).all():
        raise IntegrityError(
            f"What should be of {plan.dataset}.{column.column} does not have its format",
            "Name the column that the cell comes from.",
        )
    single = DatasetPlan(plan.dataset, (column,))
    values = undo(single, cells.alias(column.column).to_frame(), keys)
    return pl.DataFrame([cells.alias(CELL), values[column.column].alias(VALUE)])


def found(
    plan: DatasetPlan, column: ColumnPlan, cells: pl.Series, typed: pl.LazyFrame, keys: PlanKeys
) -> pl.DataFrame:
    """`cell` and `value` of tokens; the value of one that no row was made into is null.

    Args:
        plan: Of the dataset.
        column: That the tokens are of.
        cells: The tokens.
        typed: The rows that they were made of.
        keys: Opens the key that the plan names.
    """
    made = apply(DatasetPlan(plan.dataset, (column,)), typed, keys).select(pl.all().alias(CELL))
    known = (
        pl.concat([made, typed.select(pl.col(column.column).alias(VALUE))], how="horizontal")
        .filter(pl.col(CELL).is_in(cells.implode()))
        .unique()
        .collect(engine="streaming")
    )
    return cells.alias(CELL).to_frame().join(known, on=CELL, how="left", maintain_order="left")


def column_of(plans: Mapping[str, DatasetPlan], dataset: str, name: str) -> ColumnPlan:
    """A column of a protected dataset.

    Raises:
        UsageError: If there is none.
    """
    plan = plans.get(dataset)
    column = next((each for each in plan.outputs if each.column == name), None) if plan else None
    if column is None:
        left = sorted(f"{each}.{one.column}" for each in plans for one in plans[each].outputs)
        raise UsageError(
            f"The release has no column {dataset}.{name}",
            f"Name TABLE.COLUMN, of what it left in: {', '.join(left)}.",
        )
    return column
