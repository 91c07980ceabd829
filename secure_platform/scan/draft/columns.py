"""What is proposed for a table and its columns, and what the drafter is unsure of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import polars as pl

from secure_platform.contract.model import Column, Dependency, LogicalType, Protect, Reference
from secure_platform.taxonomy.classification import Classification


@dataclass(frozen=True)
class ColumnDraft:
    """A column.

    Attributes:
        filled: Cells that are not empty.
        distinct: About how many different values there are.
        shortest: Characters of the shortest value; None where there is none.
        confidence: Of the info type, 0-1.
        reasons: What the info type rests on.
        doubts: What somebody should look at; counts and names, never a value.
    """

    name: str
    logical_type: LogicalType = "string"
    format: str | None = None
    filled: int = 0
    distinct: int = 0
    shortest: int | None = None
    classification: Classification = Classification.INTERNAL
    info_type: str | None = None
    confidence: float | None = None
    reasons: tuple[str, ...] = ()
    required: bool = False
    unique: bool = False
    primary_key: bool = False
    subject_id: bool = False
    quasi_identifier: bool = False
    reference: Reference | None = None
    protect: Protect | None = None
    minimum: float | str | None = None
    maximum: float | str | None = None
    enum: tuple[str, ...] | None = None
    pattern: str | None = None
    doubts: tuple[str, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether values may be told: public or internal."""
        return self.classification < Classification.CONFIDENTIAL

    @property
    def is_key(self) -> bool:
        """Whether it tells rows apart, or points at what does."""
        return self.primary_key or self.unique or self.reference is not None

    def doubted(self, *doubts: str) -> Self:
        """The same with more to look at."""
        return replace(self, doubts=(*self.doubts, *doubts))

    def column(self) -> Column:
        """The column as a contract declares it."""
        return Column(
            name=self.name,
            logical_type=self.logical_type,
            description="",
            classification=self.classification,
            info_type=self.info_type,
            protect=self.protect,
            subject_id=self.subject_id,
            quasi_identifier=self.quasi_identifier,
            required=self.required or self.primary_key,
            unique=self.unique,
            primary_key=self.primary_key,
            format=self.format,
            reference=self.reference,
        )


@dataclass(frozen=True)
class TableDraft:
    """A table.

    Attributes:
        dataset: Its name in the product.
        source_file: Its file as a contract names it.
        frame: All columns as text, also those left out.
        rows: Records that could be read.
        malformed: Records that could not.
        columns: Those that a contract can name.
        left_out: Those that it cannot, as they are shown.
        doubts: About the table as a whole.
        written: What the file calls columns that have another name here: that name says what they hold.
        dependencies: Which columns determine others.
    """

    dataset: str
    source_file: str
    frame: pl.LazyFrame = field(repr=False)
    rows: int
    malformed: int
    columns: tuple[ColumnDraft, ...]
    left_out: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    written: Mapping[str, str] = field(default_factory=dict)
    dependencies: tuple[Dependency, ...] = ()

    def column(self, name: str) -> ColumnDraft:
        """The column of this name."""
        return next(column for column in self.columns if column.name == name)

    def with_columns(self, columns: Sequence[ColumnDraft]) -> Self:
        """The same with the columns of these names replaced."""
        changed = {column.name: column for column in columns}
        return replace(self, columns=tuple(changed.get(column.name, column) for column in self.columns))

    @property
    def primary_key(self) -> tuple[ColumnDraft, ...]:
        """The columns that together identify a row."""
        return tuple(column for column in self.columns if column.primary_key)
