"""Rules on single rows: Pandera decides, and only which row broke which rule comes back.

Pandera writes values into its messages and reports, obeys environment variables that switch it off, and
records a check that could not run as one more failure. So it is told not to collect values, told to be on,
and read only through the boolean outputs of its checks; a report that is anything else stops the validation.
"""

from collections.abc import Mapping
from typing import Final

import polars as pl
from pandera.config import ValidationDepth, config_context
from pandera.errors import SchemaError, SchemaErrorReason, SchemaErrors

from secure_platform.contract.model import Contract
from secure_platform.contract.schema import pandera_schema
from secure_platform.errors import ContractError
from secure_platform.validate.casts import typed

CHECKS: Final = frozenset({"range", "length", "pattern", "enum"})

Masks = dict[tuple[str, str], pl.Series]
"""(column, rule) → which rows break it."""


class RowRules:
    """The per-row rules of one contract."""

    def __init__(self, contract: Contract) -> None:
        self._dataset = contract.dataset
        self._columns = contract.columns
        self._schema = pandera_schema(contract)
        for column in self._schema.columns.values():
            for check in column.checks:
                check.n_failure_cases = 0

    def broken(self, text: pl.DataFrame) -> Masks:
        """Which rows of a batch break which rule; rules that none breaks are left out.

        Args:
            text: The contract's columns, as text.

        Raises:
            ContractError: If a rule cannot be computed.
        """
        values = text.select(typed(column) for column in self._columns)
        masks = _untypable(text, values)
        for error in self._errors(values):
            column, rule, mask = self._read(error, values.height)
            if rule == "not_null":
                mask &= text[column].is_null()
            previous = masks.get((column, rule))
            masks[column, rule] = mask if previous is None else previous | mask
        return {key: mask for key, mask in masks.items() if mask.any()}

    def _errors(self, values: pl.DataFrame) -> list[SchemaError]:
        try:
            with config_context(validation_enabled=True, validation_depth=ValidationDepth.SCHEMA_AND_DATA):
                self._schema.validate(values, lazy=True)
        except SchemaErrors as errors:
            return list(errors.schema_errors)
        except Exception:  # noqa: BLE001 — whatever goes wrong inside Pandera, its text may quote values.
            raise self._refusal() from None
        return []

    def _read(self, error: SchemaError, height: int) -> tuple[str, str, pl.Series]:
        column = getattr(error.schema, "name", None)
        rule = _RULES.get(error.reason_code) or getattr(error.check, "name", None)
        output = error.check_output
        known = rule == "not_null" or (
            error.reason_code is SchemaErrorReason.DATAFRAME_CHECK and rule in CHECKS
        )
        if not (
            known and isinstance(column, str) and isinstance(output, pl.DataFrame) and output.height == height
        ):
            raise self._refusal()
        return column, str(rule), ~output.to_series().fill_null(value=False)

    def _refusal(self) -> ContractError:
        return ContractError(
            f"A rule of the contract of {self._dataset} cannot be computed on its data",
            "Check the column's type, pattern and limits with `secure-platform check`.",
        )


_RULES: Final[Mapping[SchemaErrorReason | None, str]] = {SchemaErrorReason.SERIES_CONTAINS_NULLS: "not_null"}


def _untypable(text: pl.DataFrame, values: pl.DataFrame) -> Masks:
    return {(name, "type"): text[name].is_not_null() & values[name].is_null() for name in values.columns}
