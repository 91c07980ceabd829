"""Every cell of every column is looked at; reported are column, type, counts and reasons, never a value.

The first look is one row of aggregates over all of them. The second look reads again only the columns that
had candidates or a telling name, and all text for secrets, whose looks are told by rules of their own.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import polars as pl

from secure_platform.contract.model import Contract
from secure_platform.scan.cells import column_of, shape, text_of
from secure_platform.scan.evidence import Look, Tally, tallies
from secure_platform.scan.fuse import Judgement, by_type, judge
from secure_platform.scan.headers import named_types
from secure_platform.scan.patterns import compile_types, matches, union
from secure_platform.scan.secrets.columns import scan_columns
from secure_platform.scan.secrets.document import own_rules
from secure_platform.scan.secrets.engine import Engine
from secure_platform.scan.secrets.findings import MINIMUM_CONFIDENCE
from secure_platform.taxonomy.classification import Classification
from secure_platform.taxonomy.info_types import InfoType, info_types

DATE: Final = "DATE"


@dataclass(frozen=True)
class Finding:
    """An info type found in a column.

    Attributes:
        count: Cells that carry the evidence.
        ratio: `count` as a share of the non-null cells.
        confidence: 0-1.
        reasons: What the confidence rests on.
    """

    column: str
    info_type: str
    count: int
    ratio: float
    confidence: float
    reasons: tuple[str, ...]


class Scanner:
    """Finds the info types of a taxonomy, and secrets, in frames of any column types."""

    def __init__(self, types: Mapping[str, InfoType]) -> None:
        self._types = types
        self._patterns = compile_types(types)
        self._union = union(self._patterns)

    @cached_property
    def _secrets(self) -> Engine:
        return Engine(own_rules(), MINIMUM_CONFIDENCE)

    def observe(self, frame: pl.LazyFrame, columns: Sequence[str] | None = None) -> pl.LazyFrame:
        """The first look: one lazy row with one struct per column that can hold evidence.

        Args:
            frame: Typed or text columns.
            columns: Columns to look at; all when not given.

        Raises:
            DataRefusedError: If a column holds bytes, which cannot be searched.
        """
        schema = frame.collect_schema()
        first = [self._first_look(name, schema[name]) for name in columns or schema.names()]
        return frame.select(look for look in first if look is not None)

    def findings(self, observed: pl.DataFrame, frame: pl.LazyFrame, header: Sequence[str]) -> list[Finding]:
        """The second look, over the same frame that `observed` was computed from.

        Args:
            observed: The collected row of `observe`.
            frame: The frame, read again where needed.
            header: All column names of the table: a bare `name` is a person's only beside personal columns.

        Returns:
            Findings in column order, then in the order of the taxonomy.
        """
        schema = frame.collect_schema()
        named = named_types(self._types, header)
        columns = [name for name in observed.columns if name in named]
        counts = {name: _Counts(**observed.get_column(name).item()) for name in columns}
        looks = [self._second_look(name, schema[name], named[name], counts[name]) for name in columns]
        found = self._judged(frame, [look for look in looks if look.patterns and look.filled])
        for name in columns:
            if counts[name].filled and shape(name, schema[name]) == "date":
                found += self._dated(name, named[name], counts[name].filled)
        found = self._with_secrets(found, frame.select(column_of(name) for name in columns), counts)
        order = list(self._types)
        return sorted(
            self._unexplained(found),
            key=lambda each: (columns.index(each.column), order.index(each.info_type)),
        )

    def scan(self, frame: pl.LazyFrame) -> list[Finding]:
        """Both looks at once, over every row and column."""
        observed = self.observe(frame).collect(engine="streaming")
        return self.findings(observed, frame, frame.collect_schema().names())

    def _first_look(self, name: str, dtype: pl.DataType) -> pl.Expr | None:
        form = shape(name, dtype)
        if form == "none":
            return None
        text = text_of(name, dtype)
        filled, searched = column_of(name).count(), form == "text"
        counts = {
            "filled": filled,
            "candidates": matches(text, self._union).sum() if searched else pl.lit(0),
            "distinct": text.approx_n_unique() if searched else filled,
        }
        return pl.struct(count.cast(pl.UInt64).alias(key) for key, count in counts.items()).alias(name)

    def _second_look(self, name: str, dtype: pl.DataType, named: frozenset[str], counts: "_Counts") -> Look:
        form = shape(name, dtype)
        wanted = {
            "text": [p for p in self._patterns if p.kind.id in named or (counts.candidates and p.by_value)],
            "number": [p for p in self._patterns if p.kind.id in named and p.named_cell],
        }
        return Look(
            name, dtype, tuple(wanted.get(form, ())), named, counts.filled, counts.candidates, counts.distinct
        )

    def _judged(self, frame: pl.LazyFrame, looks: Sequence[Look]) -> list[Finding]:
        found = tallies(frame, looks)
        judged = [
            (look, each.kind.id, judge(each, found.get((look.column, each.kind.id), Tally()), look.filled))
            for look in looks
            for each in look.patterns
        ]
        return [
            _finding(look.column, kind, verdict, look.filled) for look, kind, verdict in judged if verdict
        ]

    def _dated(self, name: str, named: frozenset[str], filled: int) -> list[Finding]:
        """Typed dates need no pattern: the general type, and each narrower one that the name means."""
        narrower = [kind.id for kind in self._types.values() if kind.id in named and DATE in kind.supersedes]
        return [
            _finding(name, kind, by_type(named=kind != DATE, filled=filled), filled)
            for kind in (*narrower, DATE)
        ]

    def _with_secrets(
        self, found: list[Finding], frame: pl.LazyFrame, counts: Mapping[str, "_Counts"]
    ) -> list[Finding]:
        """What a rule says of the values outweighs what the column's name says of them."""
        secrets = [
            Finding(
                each.column,
                each.info_type,
                each.rows,
                each.rows / counts[each.column].filled,
                each.confidence,
                tuple(sorted(each.reasons)),
            )
            for each in scan_columns(self._secrets, frame)
        ]
        by_value = {(finding.column, finding.info_type): finding for finding in secrets}
        by_name = {(finding.column, finding.info_type): finding for finding in found}
        return [
            finding if finding.count >= by_name.get(place, finding).count else by_name[place]
            for place, finding in (by_name | by_value).items()
        ]

    def _unexplained(self, found: Sequence[Finding]) -> list[Finding]:
        """Without the findings that a narrower type explains, cell for cell."""
        explained = {
            (finding.column, other)
            for finding in found
            for other in self._types[finding.info_type].supersedes
            if all(
                f.count <= finding.count for f in found if (f.column, f.info_type) == (finding.column, other)
            )
        }
        return [finding for finding in found if (finding.column, finding.info_type) not in explained]


@dataclass(frozen=True)
class _Counts:
    """One column's first look: non-null cells, cells the prefilter matches, estimated distinct values."""

    filled: int
    candidates: int
    distinct: int


def refused(findings: Iterable[Finding], contract: Contract) -> list[Finding]:
    """Findings that contradict the contract: confidential or restricted types in public or internal columns.

    Columns that the contract does not name are left out: they never leave the raw zone.
    """
    open_columns = {
        column.name for column in contract.columns if column.classification < Classification.CONFIDENTIAL
    }
    return [finding for finding in findings if finding.column in open_columns and _sensitive(finding)]


def residual(findings: Iterable[Finding], *, safe_harbor: bool = False) -> list[Finding]:
    """Findings that must not be in protected data: every confidential or restricted type.

    Weak evidence needs no exception here, because what protection leaves behind is no evidence to begin with:
    under a telling header the scan counts only cells that have the type's format, or, for types without one,
    cells that are not null, tokens, digests, UUIDs, redaction marks or numbers (years, ages, ZIP3). Value
    evidence always counts.

    Args:
        findings: What a scan of protected data found.
        safe_harbor: Also block every type that 45 CFR 164.514(b)(2)(i) names, whatever its classification:
            a full date, say.
    """
    return [f for f in findings if _sensitive(f) or (safe_harbor and info_types()[f.info_type].hipaa)]


def _sensitive(finding: Finding) -> bool:
    return info_types()[finding.info_type].classification >= Classification.CONFIDENTIAL


def _finding(column: str, kind: str, verdict: Judgement, filled: int) -> Finding:
    return Finding(column, kind, verdict.count, verdict.count / filled, verdict.confidence, verdict.reasons)
