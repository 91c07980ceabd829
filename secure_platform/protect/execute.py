"""A plan is executed as one lazy query that selects what the plan lists and nothing else.

A column that the plan does not name therefore cannot pass.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Protocol

import polars as pl

from secure_platform.contract.model import DTYPES, Column
from secure_platform.contract.protection import PARTS
from secure_platform.errors import PlanRefusedError
from secure_platform.keys.catalog import CELL
from secure_platform.keys.material import CellKey, PersonKeys, TokenKey
from secure_platform.keys.stored_tokens import TokenStore
from secure_platform.protect.conditions import WHEN, meets
from secure_platform.protect.inputs import Inputs
from secure_platform.protect.keyed import canonical_text
from secure_platform.protect.members import MEMBERS
from secure_platform.protect.persons import PERSONS
from secure_platform.protect.plan import ColumnPlan, DatasetPlan
from secure_platform.protect.resolve import named_columns
from secure_platform.protect.transforms import DROP, TRANSFORMS
from secure_platform.protect.vault import VAULT
from secure_platform.validate.casts import typed as cast_text

_MISSING: Final = "__missing"
_GONE_BY: Final = ("subject", "row")
"""Parameters that name other columns."""
_TYPES: Final = {str(dtype): dtype for dtype in DTYPES.values()}


class PlanKeys(Protocol):
    """Where the keys of a plan come from; the key ring."""

    def token_key(self, domain: str, version: int) -> TokenKey:
        """The key of a token domain, in this version."""
        ...

    def cell_key(self, domain: str, version: int) -> CellKey:
        """The key that encrypts the cells of a domain, in this version."""
        ...

    def persons(self, domain: str) -> PersonKeys:
        """The keys of the persons of a domain."""
        ...

    @property
    def stored_tokens(self) -> TokenStore:
        """Where stored tokens are kept."""
        ...


def apply(plan: DatasetPlan, typed: pl.LazyFrame, keys: PlanKeys) -> pl.LazyFrame:
    """Protect a dataset.

    Args:
        plan: What happens to each column.
        typed: The columns of the contract in its types; other columns are left behind.
        keys: Opens the keys that the plan names.

    Returns:
        The output columns in the plan's order, row for row in the input's order. The query holds keys:
        collect or sink it, never serialise it.

    Raises:
        PlanRefusedError: If a column is missing or has another type than the plan says.
    """
    schema = typed.collect_schema()
    for column in plan.columns:
        if str(schema.get(column.column)) != column.input_type:
            raise PlanRefusedError(
                f"{plan.dataset}.{column.column} does not arrive as {column.input_type}",
                "Cast the dataset to its contract first, or compile the plan again.",
            )
    return typed.select(_expression(plan, column, schema, keys) for column in plan.outputs)


def split_orphans(
    plan: DatasetPlan, protected: pl.LazyFrame, parents: Mapping[str, pl.LazyFrame]
) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """Split the rows whose references resolve from those that reference a key that does not exist.

    Args:
        plan: Of the dataset.
        protected: The dataset, after `apply`.
        parents: Every other dataset it references, after `apply`.

    Returns:
        The rows in which every foreign key is null or found in its parent, and the others; both in order.
    """
    foreign = [column for column in plan.outputs if column.reference is not None]
    if not foreign:
        return protected, protected.clear()
    found = protected
    for index, column in enumerate(foreign):
        found = found.join(
            _keys_of(column, {plan.dataset: protected, **parents}, f"{_MISSING}{index}"),
            on=column.column,
            how="left",
            maintain_order="left",
        )
    orphan = pl.any_horizontal(
        pl.col(column.column).is_not_null() & pl.col(f"{_MISSING}{index}").is_null()
        for index, column in enumerate(foreign)
    )
    names = protected.collect_schema().names()
    return found.filter(~orphan).select(names), found.filter(orphan).select(names)


def undo(plan: DatasetPlan, protected: pl.DataFrame, keys: PlanKeys) -> pl.DataFrame:
    """Recover the original values of the reversible columns of a protected frame.

    Args:
        plan: That the frame was made by.
        protected: Any rows and columns of it, after `apply`.
        keys: Opens the keys that the plan names.

    Returns:
        The columns that can be undone, as they were.

    Raises:
        IntegrityError: If an encrypted cell is not authentic, or a key may not be used any more.
    """
    return pl.DataFrame(
        [
            transform.undo(protected[column.column], _inputs(plan, column, keys, {}))
            for column in plan.outputs
            if column.column in protected.columns
            if (transform := TRANSFORMS[column.full_name]).undo is not None
        ]
    )


def member_value(name: str, part: ColumnPlan) -> pl.Expr:
    """A value inside JSON, which arrives as text in the column `name`, as its type."""
    kind = next(kind for kind, dtype in DTYPES.items() if str(dtype) == part.input_type)
    return cast_text(Column(name, kind, "", part.input_classification))


def _expression(
    plan: DatasetPlan,
    column: ColumnPlan,
    schema: pl.Schema,
    keys: PlanKeys,
    only: pl.Expr | None = None,
) -> pl.Expr:
    """The transformed column; null in rows for which `only` is false."""
    others = {
        name: pl.concat_str([canonical_text(pl.col(each), schema[each]) for each in named], separator="\0")
        for name in _GONE_BY
        if (named := named_columns(column.params, name))
    }
    if WHEN in column.params:
        others[WHEN] = meets(str(column.params[WHEN]), schema)
    meeting = others.get(WHEN)
    inputs = replace(
        _inputs(plan, column, keys, others), parts=_parts(plan, column, schema, keys, meeting, only)
    )
    given = pl.col(column.column) if only is None else pl.when(only).then(pl.col(column.column))
    return TRANSFORMS[column.full_name].build(given, inputs).alias(column.column)


def _parts(
    plan: DatasetPlan,
    column: ColumnPlan,
    schema: pl.Schema,
    keys: PlanKeys,
    meeting: pl.Expr | None,
    only: pl.Expr | None,
) -> Mapping[str, pl.Expr]:
    if column.transform != MEMBERS:
        return {
            name: _expression(plan, part, schema, keys, _only(name, part, meeting, only))
            for name, part in column.parts.items()
        }
    return {
        path: TRANSFORMS[part.full_name].build(member_value(path, part), _inputs(plan, part, keys, {}))
        for path, part in column.parts.items()
        if part.transform != DROP
    }


def _only(name: str, part: ColumnPlan, meeting: pl.Expr | None, only: pl.Expr | None) -> pl.Expr | None:
    """The rows for which a part stores tokens; None if it stores none, and may be computed for every row."""
    if meeting is None or all(each.full_name != VAULT for each in part.every()):
        return None
    own = meeting if name == PARTS[0] else ~meeting
    return own if only is None else only & own


def _inputs(plan: DatasetPlan, column: ColumnPlan, keys: PlanKeys, others: Mapping[str, pl.Expr]) -> Inputs:
    key = _key(plan, column, keys) if TRANSFORMS[column.full_name].key else None
    persons = keys.persons(str(column.params[PERSONS])) if PERSONS in column.params else None
    store = keys.stored_tokens if column.full_name == VAULT else None
    dtype, domain = _TYPES[column.input_type], column.token_domain or ""
    return Inputs(dtype, column.params, key, domain, others, persons, store)


def _key(plan: DatasetPlan, column: ColumnPlan, keys: PlanKeys) -> TokenKey | CellKey:
    domain, version = column.token_domain, column.token_version
    if domain is None or version is None:
        raise PlanRefusedError(
            f"{plan.dataset}.{column.column} names no token key", "Compile the plan again."
        )
    if TRANSFORMS[column.full_name].key == CELL:
        key: TokenKey | CellKey = keys.cell_key(domain.removeprefix(f"{CELL}/"), version)
    else:
        key = keys.token_key(domain, version)
    if key.version != version:
        raise PlanRefusedError(
            f"{plan.dataset}.{column.column} got another version of its token key", "Check the key ring."
        )
    return key


def _keys_of(column: ColumnPlan, parents: Mapping[str, pl.LazyFrame], marker: str) -> pl.LazyFrame:
    reference = column.reference
    if reference is None or reference.dataset not in parents:
        raise PlanRefusedError(
            f"The dataset that {column.column} references is missing", "Pass every referenced dataset."
        )
    keys = parents[reference.dataset].select(pl.col(reference.column).alias(column.column))
    return keys.unique().with_columns(pl.lit(True).alias(marker))
