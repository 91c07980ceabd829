"""A contract is plain, frozen data: every stage reads the same declaration and none can change it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from types import MappingProxyType
from typing import Final, Literal

import polars as pl

from secure_platform.taxonomy.classification import Classification

LogicalType = Literal["string", "integer", "number", "boolean", "date", "timestamp"]
OnInvalid = Literal["refuse", "quarantine"]
ExtraColumns = Literal["refuse", "keep_raw"]
Severity = Literal["warn", "error"]
Scalar = str | int | float | bool

DTYPES: Final[Mapping[LogicalType, pl.DataType]] = MappingProxyType(
    {
        "string": pl.String(),
        "integer": pl.Int64(),
        "number": pl.Float64(),
        "boolean": pl.Boolean(),
        "date": pl.Date(),
        "timestamp": pl.Datetime("us", "UTC"),
    }
)


@dataclass(frozen=True)
class Protect:
    """The transform a contract asks for; the plan refuses one that is weaker than the profile's.

    Attributes:
        parts: The transforms that it is made of, by what they are for.
    """

    transform: str
    params: Mapping[str, Scalar] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    parts: Mapping[str, "Protect"] = field(default_factory=lambda: MappingProxyType({}), hash=False)


@dataclass(frozen=True)
class Waiver:
    """Somebody's leave to protect a column less than the profile requires.

    Attributes:
        expires: The last day it holds.
    """

    reason: str
    approver: str
    expires: date

    def __str__(self) -> str:
        return f"until {self.expires} by {self.approver}: {self.reason}"

    @staticmethod
    def last_day(told: str) -> date:
        """The last day of a waiver as `str` tells it; one that is not understood has ended.

        Args:
            told: As a plan keeps it.
        """
        until, _, rest = told.partition(" ")
        try:
            return date.fromisoformat(rest.partition(" ")[0]) if until == "until" else date.min
        except ValueError:
            return date.min


@dataclass(frozen=True)
class Reference:
    """The key that a foreign key points at."""

    dataset: str
    column: str


@dataclass(frozen=True)
class Role:
    """Who reads or writes a dataset, and who approves the releases that it is in.

    Attributes:
        access: What the role does with the data, `read` or `write`.
        first_level: Approver groups.
        second_level: Approver groups whose approval is needed besides; of somebody else.
    """

    name: str
    access: str
    first_level: tuple[str, ...]
    second_level: tuple[str, ...]


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        required: Null is invalid; always true for a primary key.
        minimum, maximum: Inclusive; numbers, or ISO 8601 text for dates and timestamps (UTC, ending in Z).
        min_length, max_length: Inclusive, in Unicode code points.
        format: How dates or timestamps are spelled; None for the platform's one spelling (see `validate`).
        pattern: Rust regex that the whole value must match; begins with ^ and ends with $.
        token_domain: Columns of one domain get the same token for the same value.
        subject_id: The column names the person whom the row is about.
        protected: Its values were protected before they came here.
        waiver: Leave to protect it less than the profile requires.
        members: Of a column of JSON, the values in it, named `column.key.key`.
    """

    name: str
    logical_type: LogicalType
    description: str
    classification: Classification
    info_type: str | None = None
    protect: Protect | None = None
    token_domain: str | None = None
    quasi_identifier: bool = False
    subject_id: bool = False
    required: bool = False
    unique: bool = False
    primary_key: bool = False
    minimum: float | str | None = None
    maximum: float | str | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    format: str | None = None
    enum: tuple[str, ...] | None = None
    reference: Reference | None = None
    protected: bool = False
    waiver: Waiver | None = None
    members: tuple["Column", ...] = ()

    def every(self) -> Iterator["Column"]:
        """This column and all values in it."""
        yield self
        for member in self.members:
            yield from member.every()

    @property
    def dtype(self) -> pl.DataType:
        """The type of the column in a typed frame."""
        return DTYPES[self.logical_type]


@dataclass(frozen=True)
class Total:
    """A number that must be the same after protection as before, or as another dataset says.

    Attributes:
        sql: Over the columns of the contract.
        dataset: A dataset that this one refers to, which has the number; empty for this one, protected.
        equals: SQL over that dataset's columns; empty for the same.
        tolerance: Share by which they may differ.
    """

    sql: str
    dataset: str = ""
    equals: str = ""
    tolerance: float = 0.0

    def __str__(self) -> str:
        other = f" = {self.dataset}: {self.equals}" if self.dataset else ""
        return f"{self.sql}{other} within {self.tolerance:g}"


@dataclass(frozen=True)
class Monitor:
    """What a contract says about its monitoring.

    Attributes:
        severity: Whether an anomaly stops what comes after.
        timezone: Whose clock the seasons go by.
        holidays: Days that are not judged and teach nothing.
        silent: Metrics that are recorded and not judged.
        metrics: Name → SQL expression of the product's own metrics.
        reconcile: Name → control total.
    """

    severity: Severity = "warn"
    timezone: str = "UTC"
    holidays: tuple[date, ...] = ()
    silent: tuple[str, ...] = ()
    metrics: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    reconcile: Mapping[str, Total] = field(default_factory=lambda: MappingProxyType({}), hash=False)

    def __str__(self) -> str:
        own = ", ".join(
            f"{name} = {what}" for name, what in sorted({**self.metrics, **self.reconcile}.items(), key=str)
        )
        days = f"{len(self.holidays)} holidays"
        return (
            f"{self.severity}, {self.timezone}, {days}, without {', '.join(self.silent) or 'nothing'}; {own}"
        )


@dataclass(frozen=True)
class Suppress:
    """Which rows do not leave raw.

    Attributes:
        when: Conditions as JSON; rows that meet them stay behind. Empty for none.
        sample: The share of rows that is kept.
        k: The fewest subjects that share their quasi-identifiers.
        l: The fewest values that each sensitive column has among them.
        sensitive: Columns of which nobody may be known to have a certain value.
        at_most: The share of rows that may stay behind for k and l.
    """

    when: str = ""
    sample: float = 1.0
    k: int = 1
    l: int = 1  # noqa: E741 - the name of the literature
    sensitive: tuple[str, ...] = ()
    at_most: float = 1.0


@dataclass(frozen=True)
class Dependency:
    """Columns whose values together determine those of others.

    Attributes:
        columns: Those that determine.
        determined: Each of them has one value wherever these have the same.
    """

    columns: tuple[str, ...]
    determined: tuple[str, ...]

    def __str__(self) -> str:
        return f"{' + '.join(self.columns)} → {' and '.join(self.determined)}"


@dataclass(frozen=True, kw_only=True)
class Contract:
    """One dataset.

    Attributes:
        owner: `team:<name>` or an e-mail address.
        source_file: File name below the source directory, without `.gz`.
        on_invalid: What happens to a snapshot that has invalid rows.
        max_invalid_ratio: Share of invalid rows, 0 to 1, up to which `quarantine` accepts the rest.
        extra_columns: Whether a source may have columns beyond the contract; they never leave raw.
        freshness_hours: Age at which the dataset counts as stale.
        retention_days: Age at which snapshots are to be deleted.
        roles: Who has to do with the data.
        monitor: How it is watched.
        suppress: Which rows do not leave raw.
        dependencies: Which columns determine others.
        document: Canonical JSON of the parsed document; empty when there is none.
        digest: `sha256:<hex>` of `document`.
    """

    dataset: str
    version: str
    description: str
    owner: str
    columns: tuple[Column, ...]
    source_file: str
    on_invalid: OnInvalid = "refuse"
    max_invalid_ratio: float = 0.0
    extra_columns: ExtraColumns = "refuse"
    minimum_rows: int = 1
    freshness_hours: float | None = None
    retention_days: int | None = None
    roles: tuple[Role, ...] = ()
    monitor: Monitor = field(default_factory=Monitor)
    suppress: Suppress | None = None
    dependencies: tuple[Dependency, ...] = ()
    document: bytes = field(default=b"", repr=False, compare=False)
    digest: str

    def column(self, name: str) -> Column:
        """The column of this name.

        Raises:
            KeyError: If the contract has no such column.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    @property
    def primary_key(self) -> tuple[str, ...]:
        """Names of the columns that together identify a row; empty if the dataset has no key."""
        return tuple(column.name for column in self.columns if column.primary_key)

    @property
    def parents(self) -> tuple[str, ...]:
        """The other datasets that its foreign keys point at, in order of name."""
        named = {column.reference.dataset for column in self.columns if column.reference}
        return tuple(sorted(named - {self.dataset}))

    @property
    def classification(self) -> Classification:
        """The highest classification of any column."""
        return max(column.classification for column in self.columns)

    def is_key(self, column: Column) -> bool:
        """Whether no two rows may hold the same value in this one column."""
        return column.unique or self.primary_key == (column.name,)
