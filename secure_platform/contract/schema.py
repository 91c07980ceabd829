"""A contract compiles to a Pandera schema that says exactly what the contract says about a single row.

For typed, collected frames of the contract's columns. Uniqueness is not here: a batch cannot see a duplicate
in another one. Checks carry the rule's name and nothing else, but Pandera's own reports hold values: whoever
validates must not let them out.
"""

import pandera.polars as pa
import polars as pl
from pandera.api.polars.types import PolarsData

from secure_platform.contract.model import Contract
from secure_platform.contract.rules import Rule, Test, row_rules


def pandera_schema(contract: Contract) -> pa.DataFrameSchema:
    """The per-row rules of a contract; validate a collected DataFrame of exactly its columns, lazily."""
    return pa.DataFrameSchema(
        {
            column.name: pa.Column(
                dtype=column.dtype,
                nullable=not column.required,
                checks=[_check(rule, test) for rule, test in row_rules(column)],
            )
            for column in contract.columns
        },
        name=contract.dataset,
        strict=True,
        coerce=False,
    )


def _check(rule: Rule, test: Test) -> pa.Check:
    def apply(data: PolarsData) -> pl.LazyFrame:
        return data.lazyframe.select(test(pl.col(data.key)))

    return pa.Check(apply, name=rule, error=rule)
