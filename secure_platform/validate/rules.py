"""A dataset keeps its contract, or each broken rule is named with its column, its count and its lines.

All failures are found, not only the first; none of them carries a value. Every invalid row is counted once,
however many rules it breaks.

- On a row: `not_null`, `type` (see `casts.py`), `range`, `length`, `pattern`, `enum`.
- On the dataset: `unique` and `primary_key` (every row that shares the value is invalid), `dependency` (see
  `dependencies.py`), `minimum_rows` (of valid rows).
- On a record, from the source: `encoding`, `nul_byte`, `quoting`, `field_count`.

Rows are read in batches; what grows with the data is 16 bytes for each row and key, and for each determining
value of a dependency, and what is said about invalid rows.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import polars as pl
from polars import selectors as cs

from secure_platform.contract.model import Contract
from secure_platform.errors import DataRefusedError, IntegrityError
from secure_platform.source.csv import LINE
from secure_platform.validate.casts import typed
from secure_platform.validate.dependencies import RULE as DEPENDENCY
from secure_platform.validate.dependencies import contradictions
from secure_platform.validate.keys import KeySearch

if TYPE_CHECKING:
    from secure_platform.validate.rows import Masks

WHOLE: Final = "*"
"""The column of a failure that is about records or the dataset, not about one column."""


class MalformedRecord(Protocol):
    """A record that the source set aside; `source.csv.Malformed` is one."""

    @property
    def line(self) -> int:
        """1-based physical line."""

    @property
    def rule(self) -> str:
        """Name of the rule it breaks."""


@dataclass(frozen=True)
class Failure:
    """One broken rule.

    Attributes:
        column: The column; several joined by `+` for a composite key; `*` for the record or dataset as a
            whole.
        rule: The rule's name.
        count: Rows or records that break it; for `minimum_rows`, how many valid rows are missing.
    """

    column: str
    rule: str
    count: int


@dataclass(frozen=True)
class Validation:
    """What validating one dataset found.

    Attributes:
        rows: Records in the source, malformed ones included.
        invalid_rows: Records that break at least one rule.
        failures: In the contract's column order, those about the whole last.
        passed: Whether the contract accepts the dataset, without the invalid rows if it quarantines them.
        on_invalid: What the contract says.
        quarantine: `__line` (UInt64) and `rule` (String: `column:rule`, or the rule of a malformed record;
            several joined by `, `), one row for each invalid line, in order.
    """

    rows: int
    invalid_rows: int
    failures: tuple[Failure, ...]
    passed: bool
    on_invalid: str
    quarantine: pl.DataFrame = field(repr=False, compare=False)


def cast_typed(contract: Contract, text: pl.LazyFrame) -> pl.LazyFrame:
    """The contract's columns in their types and order, after `__line` if the text has it.

    Text that is no value of the type becomes null; `validate` reports it as `type`. One projection of pure
    expressions: lazy, and it can be pushed into whatever reads the text.
    """
    line = cs.by_name(LINE, require_all=False)
    return text.select(line, *(typed(column) for column in contract.columns))


def validate(
    contract: Contract,
    text: pl.LazyFrame,
    *,
    malformed: Sequence[MalformedRecord] = (),
    batch_rows: int = 262_144,
) -> Validation:
    """Hold a raw snapshot against its contract.

    Args:
        contract: What must hold.
        text: `__line` and the contract's columns as text, in the order of the source; other columns are
            ignored.
        malformed: The records that the source set aside.
        batch_rows: Rows that are in memory at a time.

    Raises:
        DataRefusedError: If `text` does not have the contract's columns.
        ContractError: If a rule cannot be computed.
        IntegrityError: If the snapshot cannot be read to its end.
    """
    # Pandera takes a third of a second to import, and only validation needs it.
    from secure_platform.validate.rows import RowRules  # noqa: PLC0415

    names = [column.name for column in contract.columns]
    tally = _Tally()
    try:
        _check_columns(contract, text.collect_schema())
        text = text.select(LINE, *names)
        rules, keys = RowRules(contract), KeySearch(contract, text)
        for batch in text.collect_batches(chunk_size=batch_rows, engine="streaming"):
            tally.add_rows(batch[LINE], rules.broken(batch.select(names)))
            keys.add(batch)
        for key, lines in keys.duplicates():
            tally.add_lines(key.label, key.rule, lines)
        for column, lines in contradictions(contract, text):
            tally.add_lines(column, DEPENDENCY, lines)
    except pl.exceptions.PolarsError:
        raise IntegrityError(
            f"The raw snapshot of {contract.dataset} cannot be read to its end", "Pull the dataset again."
        ) from None
    tally.add_malformed(malformed)
    return tally.conclude(contract)


def _check_columns(contract: Contract, schema: pl.Schema) -> None:
    missing = [column.name for column in contract.columns if schema.get(column.name) != pl.String]
    if missing or schema.get(LINE) != pl.UInt64:
        raise DataRefusedError(
            f"The raw snapshot of {contract.dataset} lacks text columns of its contract: "
            f"{', '.join(missing) or LINE}",
            "Pull the dataset again with the present contract.",
        )


class _Tally:
    """Counts what is broken, and notes on which lines."""

    def __init__(self) -> None:
        self._rows = 0
        self._counts: Counter[tuple[str, str]] = Counter()
        self._notes: list[pl.DataFrame] = []

    def add_rows(self, lines: pl.Series, masks: "Masks") -> None:
        self._rows += lines.len()
        for (column, rule), mask in masks.items():
            self._counts[column, rule] += int(mask.sum())
        labels = {_label(column, rule): mask for (column, rule), mask in masks.items()}
        said = (pl.when(pl.col(label)).then(pl.lit(label)) for label in labels)
        if labels:
            self._notes.append(
                pl.DataFrame({LINE: lines, **labels})
                .filter(pl.any_horizontal(*labels))
                .select(LINE, pl.concat_str(*said, separator=", ", ignore_nulls=True).alias("rule"))
            )

    def add_lines(self, column: str, rule: str, lines: pl.Series) -> None:
        self._counts[column, rule] += lines.len()
        self._notes.append(pl.DataFrame({LINE: lines}).with_columns(rule=pl.lit(_label(column, rule))))

    def add_malformed(self, malformed: Sequence[MalformedRecord]) -> None:
        self._rows += len(malformed)
        for record in malformed:
            self._counts[WHOLE, record.rule] += 1
        self._notes.append(
            pl.DataFrame(
                {LINE: [record.line for record in malformed], "rule": [record.rule for record in malformed]},
                schema={LINE: pl.UInt64, "rule": pl.String},
            )
        )

    def conclude(self, contract: Contract) -> Validation:
        quarantine = (
            pl.concat(self._notes).group_by(LINE).agg(pl.col("rule").sort().str.join(", ")).sort(LINE)
        )
        invalid = quarantine.height
        acceptable = invalid == 0 or (
            contract.on_invalid == "quarantine" and invalid <= contract.max_invalid_ratio * self._rows
        )
        missing = contract.minimum_rows - (self._rows - invalid)
        if missing > 0:
            self._counts[WHOLE, "minimum_rows"] = missing
        return Validation(
            rows=self._rows,
            invalid_rows=invalid,
            failures=_ordered(contract, self._counts.items()),
            passed=acceptable and missing <= 0,
            on_invalid=contract.on_invalid,
            quarantine=quarantine,
        )


def _label(column: str, rule: str) -> str:
    return rule if column == WHOLE else f"{column}:{rule}"


def _ordered(contract: Contract, counts: Iterable[tuple[tuple[str, str], int]]) -> tuple[Failure, ...]:
    positions = {column.name: position for position, column in enumerate(contract.columns)}

    def place(failure: Failure) -> tuple[int, str, str]:
        return positions.get(failure.column.split("+")[0], len(positions)), failure.column, failure.rule

    return tuple(sorted((Failure(column, rule, count) for (column, rule), count in counts), key=place))
