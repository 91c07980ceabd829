"""Control totals: numbers that the contract declares must agree before and after protection.

Only whether they agree is kept, and how far they differ in steps: the total of a few rows could be a value.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import polars as pl

from secure_platform.contract.model import Total
from secure_platform.errors import DataRefusedError

_STEPS: Final = (0.001, 0.01, 0.1)


class Totals:
    """The queries over frames that are read anyway, and what their results say.

    Args:
        declared: Name → control total.
        dataset: Whose they are, for errors.
    """

    def __init__(self, declared: Mapping[str, Total], dataset: str) -> None:
        self._declared = declared
        self._dataset = dataset

    def queries(
        self, before: pl.LazyFrame, after: pl.LazyFrame, others: Mapping[str, pl.LazyFrame]
    ) -> list[pl.LazyFrame]:
        """Two of each total.

        Args:
            before: The valid rows, as they were, in the columns that leave raw.
            after: The rows that are written.
            others: The valid rows of the datasets that it refers to, in the same way.

        Raises:
            DataRefusedError: If a total cannot be computed.
        """
        return [query for pair in self._pairs(before, after, others) for query in pair]

    def compared(self, results: Sequence[pl.DataFrame]) -> tuple[bool, dict[str, Any]]:
        """Whether all agree, and how far each differs."""
        numbers = [float(result.item()) if result.item() is not None else 0.0 for result in results]
        found: dict[str, Any] = {}
        passed = True
        for (name, total), first, second in zip(
            self._declared.items(), numbers[::2], numbers[1::2], strict=True
        ):
            largest = max(abs(first), abs(second))
            share = abs(first - second) / largest if largest else 0.0
            # Sums of floating-point numbers depend on their order.
            agrees = math.isfinite(share) and share <= max(total.tolerance, 1e-9)
            passed = passed and agrees
            found[name] = {
                "agrees": agrees,
                "differ_by": _step(share),
                "tolerance": f"{total.tolerance:g}",
                "compared_with": total.dataset or "protected",
            }
        return passed, found

    def _pairs(
        self, before: pl.LazyFrame, after: pl.LazyFrame, others: Mapping[str, pl.LazyFrame]
    ) -> Iterator[tuple[pl.LazyFrame, pl.LazyFrame]]:
        for name, total in self._declared.items():
            if total.dataset and total.dataset not in others:
                raise DataRefusedError(
                    f"The total {name} of {self._dataset} names a dataset that it does not refer to",
                    "Name one that a relationship of the contract points at.",
                )
            other = others[total.dataset] if total.dataset else after
            pair = self._number(name, before, total.sql), self._number(name, other, total.equals or total.sql)
            yield pair

    def _number(self, name: str, frame: pl.LazyFrame, sql: str) -> pl.LazyFrame:
        try:
            query = frame.select(pl.sql_expr(sql).cast(pl.Float64).alias(name))
            query.collect_schema()
        except (pl.exceptions.PolarsError, pl.exceptions.SQLSyntaxError, pl.exceptions.SQLInterfaceError):
            raise DataRefusedError(
                f"The total {name} of {self._dataset} cannot be computed on every side",
                "Use columns that leave raw, and numbers that stay numbers, in both datasets.",
            ) from None
        return query


def _step(share: float) -> str:
    if not share:
        return "0"
    below = next((each for each in _STEPS if share < each), None)
    return f"{_STEPS[-1]:g} or more" if below is None else f"below {below:g}"
