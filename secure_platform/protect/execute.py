"""A plan is executed as one lazy query, and what came out is compared with what went in.

The query selects what the plan lists and nothing else: a column that the plan does not name cannot pass.
Comparisons between originals and outputs go over keyed hashes, so that what they keep holds no value.
"""

import hmac
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import polars as pl

from secure_platform.errors import PlanRefusedError
from secure_platform.keys.material import TokenKey
from secure_platform.protect.keyed import canonical_text, hmac_hex
from secure_platform.protect.plan import ColumnPlan, DatasetPlan
from secure_platform.protect.transforms import TRANSFORMS, Inputs

RESIDUAL_CHARACTERS: Final = 6
"""Shorter values are common words, codes and numbers, and occur by chance."""
RESIDUAL_DIGITS: Final = 12
"""Shorter digit strings collide with codes: among 10^6 nine-digit ids some equal a SNOMED or RxNorm code."""
WORDS: Final = frozenset({"PERSON_NAME", "CITY", "COUNTY", "PLACE_NAME"})
"""Info types of ordinary words: New York the city has nothing to do with a column of states."""
_CELL, _COLUMN, _COMMON, _HASH, _TRANSFORMED = "__cell", "__column", "__common", "__hash", "__transformed"
_SEED_BYTES: Final = 8
_MISSING: Final = "__missing"


class TokenKeys(Protocol):
    """Where token keys come from; the key ring."""

    def token_key(self, domain: str, version: int) -> TokenKey:
        """The key of a token domain, in this version."""
        ...


def apply(plan: DatasetPlan, typed: pl.LazyFrame, keys: TokenKeys) -> pl.LazyFrame:
    """Protect a dataset.

    Args:
        plan: What happens to each column.
        typed: The columns of the contract in its types; other columns are left behind.
        keys: Opens the token keys the plan names.

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
    """Part the rows whose references resolve from those that reference a key which does not exist.

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


def residual_values(
    original: pl.LazyFrame, protected: pl.LazyFrame, plan: DatasetPlan, key: bytes
) -> list[tuple[str, int]]:
    """Cells of the output that equal an original value of a column that is not kept.

    In columns that the plan transforms, every original value of at least 6 characters counts. In columns
    that it keeps, and in those it does not know (of a mart), ordinary words and digit strings of less than 12
    do not: they are there for other reasons. The whole cell must be equal; the scanner looks inside cells.

    Args:
        original: What `apply` was given, or better its source text, before dates and numbers were parsed.
        protected: What was written, or a mart made of it.
        plan: Of the original dataset.
        key: 32 bytes; the comparison is over HMAC-SHA-256 under it.

    Returns:
        (output column, number of cells), columns without any left out; never a value.
    """
    sources = [column for column in plan.columns if column.transform != "keep"]
    texts = [name for name, dtype in protected.collect_schema().items() if dtype == pl.String]
    if not sources or not texts:
        return []
    words = [column.column for column in sources if _is_of_words(column)]
    digits = pl.col(_CELL).str.contains(f"^[0-9]{{1,{RESIDUAL_DIGITS - 1}}}$")
    common = pl.col(_COLUMN).is_in(words) | digits
    before = _cells(original, [column.column for column in sources]).with_columns(common.alias(_COMMON))
    transformed = pl.col(_COLUMN).is_in([column.column for column in sources])
    after = _cells(protected, texts).with_columns(transformed.alias(_TRANSFORMED))
    return _equal_cells(before, after, key)


def _expression(plan: DatasetPlan, column: ColumnPlan, schema: pl.Schema, keys: TokenKeys) -> pl.Expr:
    transform = TRANSFORMS[column.full_name]
    key = subject = None
    if transform.keyed:
        key = _key(plan, column, keys)
    if "subject" in column.params:
        name = str(column.params["subject"])
        subject = canonical_text(pl.col(name), schema[name])
    inputs = Inputs(schema[column.column], column.params, key, subject)
    return transform.build(pl.col(column.column), inputs).alias(column.column)


def _key(plan: DatasetPlan, column: ColumnPlan, keys: TokenKeys) -> TokenKey:
    if column.token_domain is None or column.token_version is None:
        raise PlanRefusedError(
            f"{plan.dataset}.{column.column} names no token key", "Compile the plan again."
        )
    key = keys.token_key(column.token_domain, column.token_version)
    if key.version != column.token_version:
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


def _is_of_words(column: ColumnPlan) -> bool:
    return column.info_type in WORDS or (column.info_type is None and column.token_domain is None)


def _cells(frame: pl.LazyFrame, names: Sequence[str]) -> pl.LazyFrame:
    """The long enough cells of some columns, in one pass: columns `__column` and `__cell`."""
    schema = frame.collect_schema()
    texts = frame.select(canonical_text(pl.col(name), schema[name]) for name in names)
    cells = texts.unpivot(variable_name=_COLUMN, value_name=_CELL)
    return cells.filter(pl.col(_CELL).str.len_chars() >= RESIDUAL_CHARACTERS)


def _equal_cells(before: pl.LazyFrame, after: pl.LazyFrame, key: bytes) -> list[tuple[str, int]]:
    # A seeded 64-bit hash finds candidates at a quarter of the cost of HMAC, which decides on these alone.
    seed = int.from_bytes(hmac.digest(key, b"residual seed", "sha256")[:_SEED_BYTES], "big")
    quick = pl.col(_CELL).hash(seed=seed).alias(_HASH)
    found = _matches(before, after, quick).select(_HASH).unique().collect(engine="streaming")
    if found.is_empty():
        return []
    likely_before = before.with_columns(quick).join(found.lazy(), on=_HASH, how="semi")
    likely_after = after.with_columns(quick).join(found.lazy(), on=_HASH, how="semi")
    exact = _matches(likely_before, likely_after, hmac_hex(pl.col(_CELL), key).alias(_HASH))
    return exact.group_by(_COLUMN).len().sort(_COLUMN).collect(engine="streaming").rows()


def _matches(before: pl.LazyFrame, after: pl.LazyFrame, hashed: pl.Expr) -> pl.LazyFrame:
    """Output cells that may not be there: an original's hash, and not explained by the value being common."""
    known = before.select(hashed, _COMMON).group_by(_HASH).agg(pl.col(_COMMON).all())
    cells = after.select(_COLUMN, _TRANSFORMED, hashed).join(known, on=_HASH)
    return cells.filter(pl.col(_TRANSFORMED) | ~pl.col(_COMMON))
