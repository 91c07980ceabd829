"""An original value is recovered in two ways only: by decryption with its key, or by looking it up.

What a plan encrypted, or stored until a day, is opened with the key that the plan names. Any other token
cannot be reversed; but while its rows are still there, the tokens of all of them can be made again and the
ones asked about found among them. Hashes, and transforms that lose information, are refused.

Under a condition one of several transforms made a cell. The cell itself shows which: by its format and, where
two encrypt, by the one under which it is authentic. A cell of a transform that cannot be undone is unknown.
Format-preserving output shows nothing, so beside other transforms it is one-way.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import polars as pl

from secure_platform.contract.rules import whole
from secure_platform.errors import IntegrityError, UsageError
from secure_platform.protect.execute import PlanKeys, apply, member_value, undo
from secure_platform.protect.members import MEMBERS, texts_at
from secure_platform.protect.plan import ColumnPlan, DatasetPlan
from secure_platform.protect.reversible import begins
from secure_platform.protect.transforms import TRANSFORMS
from secure_platform.protect.vault import FORM, VAULT, is_spelled

CELL: Final = "cell"
VALUE: Final = "value"
LOOKED_UP: Final = frozenset({"tokenize"})
_NULL_ONLY: Final = "redact"
_SAYS_NOTHING: Final = "fpe"


@dataclass(frozen=True)
class Made:
    """How the cells that are asked about were made.

    Attributes:
        dataset: Of the plan.
        outer: The column that holds them.
        path: Where they are in it, if it is JSON; else None.
        column: The plan of the column, or of the value in it.
        ends: The transforms of which one made each cell, without those that only make null.
    """

    dataset: str
    outer: str
    path: str | None
    column: ColumnPlan
    ends: tuple[ColumnPlan, ...]

    @property
    def transform(self) -> str:
        """Which transforms made them."""
        return ", ".join(end.full_name for end in self.ends)

    @property
    def opened(self) -> tuple[ColumnPlan, ...]:
        """Those of `ends` that are undone with a key."""
        alone = len(self.ends) == 1
        return tuple(
            end
            for end in self.ends
            if TRANSFORMS[end.full_name].undo is not None
            if alone or end.full_name != _SAYS_NOTHING
        )

    @property
    def looked_up(self) -> ColumnPlan | None:
        """That of `ends` whose values are found among the rows that they were made of."""
        return next((end for end in self.ends if end.full_name in LOOKED_UP), None)


def made_by(plans: Mapping[str, DatasetPlan], dataset: str, name: str) -> Made:
    """How a column of a protected dataset was made, or a value in a column of JSON (`details.mail`).

    Raises:
        UsageError: If there is none, or its values cannot be made again at all.
    """
    known = {made.column.column: made for made in _all(plans[dataset])} if dataset in plans else {}
    made = known.get(name)
    if made is None:
        names = (f"{each}.{one.column.column}" for each in plans for one in _all(plans[each]))
        raise UsageError(
            f"The release has no column {dataset}.{name}, or it is JSON and not a value in it",
            f"Name TABLE.COLUMN, of what it left in: {', '.join(sorted(names))}.",
        )
    if not made.opened and made.looked_up is None:
        raise UsageError(
            f"{name} was made by {made.transform or _NULL_ONLY}, which nobody can undo",
            "Only what is encrypted, tokenized, stored, or keeps its format in all rows, can be revealed.",
        )
    return made


def told(made: Made, cells: pl.Series, rows: Callable[[], pl.LazyFrame], keys: PlanKeys) -> pl.DataFrame:
    """`cell` and `value` of cells, in their order; the value of one that nobody knows any more is null.

    Args:
        made: How they were made.
        cells: Each once, none null.
        rows: Gives the typed rows that they were made of; called only if some must be looked up.
        keys: Opens the keys that the plan names.

    Raises:
        IntegrityError: If one is not what the plan made, or its key may not be used any more; then of none.
        UsageError: If tokens stood for something until a day that is over.
    """
    left, known = cells, []
    for place, end in enumerate(made.opened):
        own = left if len(made.ends) == 1 else left.filter(_spelled(end, left))
        # Of one column there are no two kinds of stored tokens: the compiler refuses them.
        if end.full_name != VAULT and any(other.full_name != VAULT for other in made.opened[place + 1 :]):
            own = _proved(made, end, own, keys)
        if len(own):
            known.append(_opened(made, end, own, keys))
            left = left.filter(~left.is_in(own.implode()))
    if made.looked_up is not None and len(left):
        known.append(_found(made, made.looked_up, left, rows(), keys))
    values = pl.concat(known, how="vertical_relaxed") if known else _none_of(cells)
    return cells.alias(CELL).to_frame().join(values, on=CELL, how="left", maintain_order="left")


def released_cells(frame: pl.LazyFrame, name: str, made: Made) -> pl.LazyFrame:
    """The cells of a released column, as the column `cell`: for JSON those at the path in it."""
    held = pl.col(name)
    cells = held if made.path is None else texts_at(held.cast(pl.String), made.path).explode()
    return frame.select(cells.alias(CELL)).drop_nulls()


def _all(plan: DatasetPlan) -> Iterator[Made]:
    """Everything in a dataset that can be named."""
    for column in plan.outputs:
        if column.transform != MEMBERS:
            yield Made(plan.dataset, column.column, None, column, _ends(column))
        for path, part in column.parts.items() if column.transform == MEMBERS else ():
            if part.output_type is not None:
                yield Made(plan.dataset, column.column, path, part, _ends(part))


def _ends(column: ColumnPlan) -> tuple[ColumnPlan, ...]:
    """The transforms of which one is done to each value; each once."""
    found: list[ColumnPlan] = []
    for end in column.every():
        plain = replace(end, reason="", waived="")
        if not end.parts and end.transform != _NULL_ONLY and plain not in found:
            found.append(plain)
    return tuple(found)


def _spelled(end: ColumnPlan, cells: pl.Series) -> pl.Series:
    """Which cells look as if this transform had made them."""
    if end.full_name == VAULT:
        return is_spelled(cells, str(end.params[FORM]))
    return cells.str.starts_with(begins(end.token_version or 0))


def _proved(made: Made, end: ColumnPlan, cells: pl.Series, keys: PlanKeys) -> pl.Series:
    """The cells that are authentic under this transform, and not under another one that encrypts."""

    def is_authentic(cell: str) -> bool:
        try:
            _opened(made, end, pl.Series([cell]), keys)
        except IntegrityError:
            return False
        return True

    return cells.filter(pl.Series([is_authentic(cell) for cell in cells], dtype=pl.Boolean))


def _opened(made: Made, end: ColumnPlan, cells: pl.Series, keys: PlanKeys) -> pl.DataFrame:
    pattern = end.params.get("pattern")
    if pattern is not None and not cells.str.contains(whole(str(pattern))).all():
        raise IntegrityError(
            f"What should be of {made.dataset}.{end.column} does not have its format",
            "Name the column that the cell comes from.",
        )
    values = undo(DatasetPlan(made.dataset, (end,)), cells.alias(end.column).to_frame(), keys)
    return pl.DataFrame([cells.alias(CELL), values[end.column].alias(VALUE)])


def _found(
    made: Made, end: ColumnPlan, cells: pl.Series, typed: pl.LazyFrame, keys: PlanKeys
) -> pl.DataFrame:
    if made.path is not None:
        texts = texts_at(pl.col(made.outer), made.path).explode().alias(end.column)
        typed = typed.select(texts).select(member_value(end.column, end))
    tokens = apply(DatasetPlan(made.dataset, (end,)), typed, keys).select(pl.all().alias(CELL))
    return (
        pl.concat([tokens, typed.select(pl.col(end.column).alias(VALUE))], how="horizontal")
        .filter(pl.col(CELL).is_in(cells.implode()))
        .unique()
        .collect(engine="streaming")
    )


def _none_of(cells: pl.Series) -> pl.DataFrame:
    return pl.DataFrame(schema={CELL: cells.dtype, VALUE: pl.String})
