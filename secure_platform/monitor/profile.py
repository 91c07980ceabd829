"""What is measured of a snapshot, in the pass that writes it; no value of the data is kept.

Of raw data, only counts are taken. Of protected data also means, quantiles from bins 5 % wide, sketches, and
the shares of declared categories, whose labels are keyed; of times that are not confidential, also the hours
of the day that have rows, and the newest day. Cells of fewer than eleven rows are left out. Means and a
contract's own metrics are rounded, because the mean of equal values is the value itself, and the means of two
days reveal a new one.
"""

import hmac
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

import polars as pl

from secure_platform.contract.model import Column, Contract
from secure_platform.errors import DataRefusedError
from secure_platform.keys.material import DigestKey
from secure_platform.monitor.distribution import Sketch, bin_middle, number_bin
from secure_platform.taxonomy.classification import Classification

SMALLEST: Final = 11
"""Rows of the smallest cell that is kept; the limit of the American health agencies."""
_QUANTILES: Final = {"p05": 0.05, "p50": 0.5, "p95": 0.95}
_DIGITS: Final = 4
"""Significant ones of a mean and of a contract's own metric: a step is less than what is worth a word."""
_LABEL: Final = 16
_BIN: Final = "bin"
_HASH_SEED: Final = 0
_EPOCH: Final = date(1970, 1, 1)


@dataclass(frozen=True)
class Measures:
    """The numbers of a snapshot.

    Attributes:
        numbers: Metric → value; of a column `null_rate:name`, of a category `share:name:label`.
        sketches: Column → counts by bin, or by keyed label.
    """

    numbers: Mapping[str, float] = field(default_factory=dict)
    sketches: Mapping[str, Sketch] = field(default_factory=dict)


class Profiler:
    """The queries over a frame that is being written, and what their results say.

    Args:
        contract: What its columns mean; None for a mart, which has none.
        key: Keys the labels of categories; they say its version.
        values: Columns of which more than counts may be taken; none of raw data.
        copies: Whether rows that are copies of others are counted: estimated to about 1 % of all rows.
    """

    def __init__(
        self, contract: Contract | None, key: DigestKey, values: Collection[str], *, copies: bool = False
    ) -> None:
        self._contract = contract
        self._key = key
        self._values = values
        self._copies = copies
        self._own = dict(contract.monitor.metrics) if contract and values else {}
        self._columns: list[str] = []
        self._numeric: list[str] = []
        self._categories: list[str] = []
        self._days: list[str] = []
        self._hours: list[str] = []

    def queries(self, frame: pl.LazyFrame) -> list[pl.LazyFrame]:
        """What is to be collected beside the frame."""
        schema = frame.collect_schema()
        declared = {column.name: column for column in self._contract.columns} if self._contract else {}
        self._columns = [name for name in schema.names() if not declared or name in declared]
        for name in (name for name in self._columns if name in self._values):
            column = declared.get(name)
            if schema[name].is_numeric() and _measured(column, self._contract):
                self._numeric.append(name)
            elif _is_category(schema[name], column):
                self._categories.append(name)
            elif schema[name].is_temporal() and _tells_when(column, self._contract):
                self._days.append(name)
                self._hours += [name] if schema[name] == pl.Datetime else []
        return [
            self._totals(frame),
            *(_sketch(frame, name) for name in self._numeric),
            *(_counted(frame, pl.col(name).cast(pl.String)) for name in self._categories),
            *(_counted(frame, pl.col(name).cast(pl.Date)) for name in self._days),
            *(_counted(frame, pl.col(name).dt.hour()) for name in self._hours),
        ]

    def measures(self, results: Sequence[pl.DataFrame]) -> Measures:
        """Read the results of the queries, in their order."""
        totals: dict[str, float | None] = results[0].row(0, named=True)
        rows = int(totals.pop("rows") or 0)
        different = totals.pop("different", None)
        numbers = {"rows": float(rows)}
        if different is not None and rows:
            numbers["repeated_rate"] = max(0.0, 1 - different / rows)
        for name, value in totals.items():
            if value is None or not math.isfinite(value) or not rows:
                continue
            kind, _, column = name.partition(":")
            if kind in {"null_rate", "distinct_rate"}:
                numbers[name] = value / rows
            elif rows - (totals.get(f"null_rate:{column}") or 0) >= SMALLEST:
                numbers[name] = float(f"{value:.{_DIGITS}g}")
        sketches: dict[str, Sketch] = {}
        sketched = [*self._numeric, *self._categories]
        times = 1 + len(sketched)
        for name, counted in zip(sketched, results[1:times], strict=True):
            sketch = self._cells(name, counted)
            sketches[name] = sketch
            numbers |= _quantiles(name, sketch) if name in self._numeric else _shares(name, sketch, rows)
        newest = results[times : times + len(self._days)]
        for name, counted in zip(self._days, newest, strict=True):
            numbers |= _newest(name, counted)
        for name, counted in zip(self._hours, results[times + len(self._days) :], strict=True):
            numbers |= _busy_hours(name, counted)
        return Measures(numbers, {name: sketch for name, sketch in sketches.items() if sketch})

    def _totals(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        own = [pl.sql_expr(sql).cast(pl.Float64).alias(f"custom:{name}") for name, sql in self._own.items()]
        counts = [
            expression.cast(pl.Float64).alias(f"{kind}:{name}")
            for name in self._columns
            for kind, expression in (
                ("null_rate", pl.col(name).null_count()),
                ("distinct_rate", pl.col(name).approx_n_unique()),
            )
        ]
        means = [pl.col(name).cast(pl.Float64).mean().alias(f"mean:{name}") for name in self._numeric]
        if self._copies:
            different = pl.struct(self._columns).hash(_HASH_SEED).approx_n_unique()
            counts.append(different.cast(pl.Float64).alias("different"))
        query = frame.select(pl.len().cast(pl.Float64).alias("rows"), *counts, *means, *own)
        try:
            query.collect_schema()
        except pl.exceptions.PolarsError:
            raise DataRefusedError(
                f"These metrics cannot be computed on the protected columns: {', '.join(sorted(self._own))}",
                "Correct them under `monitor` in the contract.",
            ) from None
        return query

    def _cells(self, name: str, counted: pl.DataFrame) -> dict[str, int]:
        kept = {str(label): int(count) for label, count in counted.iter_rows() if count >= SMALLEST}
        if name in self._numeric:
            return kept
        return {self._keyed(name, label): count for label, count in kept.items()}

    def _keyed(self, column: str, label: str) -> str:
        digest = hmac.digest(self._key.key, f"{column}\0{label}".encode(), "sha256")
        return f"{self._key.version}:{digest.hex()[:_LABEL]}"


def _measured(column: Column | None, contract: Contract | None) -> bool:
    """A number that names a row has no distribution to speak of."""
    if column is None or contract is None:
        return True
    return not (contract.is_key(column) or column.primary_key or column.reference)


def _is_category(dtype: pl.DataType, column: Column | None) -> bool:
    return dtype == pl.Boolean or (dtype == pl.String and column is not None and column.enum is not None)


def _tells_when(column: Column | None, contract: Contract | None) -> bool:
    """Of a mart nothing is known, and what is confidential may be somebody's birthday."""
    open_to_all = column is not None and column.classification < Classification.CONFIDENTIAL
    return open_to_all and _measured(column, contract)


def _sketch(frame: pl.LazyFrame, name: str) -> pl.LazyFrame:
    number = pl.col(name).cast(pl.Float64)
    finite = frame.select(number).filter(pl.col(name).is_finite())
    return finite.select(number_bin(pl.col(name)).alias(_BIN)).group_by(_BIN).len()


def _counted(frame: pl.LazyFrame, label: pl.Expr) -> pl.LazyFrame:
    return frame.select(label.alias(_BIN)).drop_nulls().group_by(_BIN).len()


def _quantiles(name: str, sketch: Sketch) -> dict[str, float]:
    bins = sorted(sketch, key=int)
    total = sum(sketch.values())
    found: dict[str, float] = {}
    passed = 0
    for label in bins:
        passed += sketch[label]
        for quantile, share in _QUANTILES.items():
            if passed >= share * total:
                found.setdefault(f"{quantile}:{name}", bin_middle(label))
    return found


def _newest(name: str, counted: pl.DataFrame) -> dict[str, float]:
    """The last day with enough rows, counted from 1970; one row may be dated wrongly."""
    days = [day for day, count in counted.iter_rows() if count >= SMALLEST]
    return {f"newest:{name}": float((max(days) - _EPOCH).days)} if days else {}


def _busy_hours(name: str, counted: pl.DataFrame) -> dict[str, float]:
    """Hours with enough rows; 2 says that there are so many that there hardly ever will be too few."""
    hours = {hour: count for hour, count in counted.sort(_BIN).iter_rows() if count >= SMALLEST}
    busy = {f"hour:{name}:{hour:02}": 1.0 + (count >= 2 * SMALLEST) for hour, count in hours.items()}
    return {f"hours:{name}": float(len(hours)), **busy}


def _shares(name: str, sketch: Sketch, rows: int) -> dict[str, float]:
    return {f"share:{name}:{label}": count / rows for label, count in sketch.items()}
