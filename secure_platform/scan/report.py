"""One report for personal data and secrets: findings, what was scanned, what was not; never a value.

A finding says where, what, how sure and why. Its fingerprint is keyed, so that a report alone confirms no
guess; findings that name a place (a column, the texts of a file) have one made of that place, a secret one
made of the secret. `report.schema.json` beside this file is the JSON document's schema; its version changes
when a member changes its meaning.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, Self

from secure_platform.scan.columns import Finding
from secure_platform.scan.secrets.baseline import Sifted
from secure_platform.scan.secrets.findings import SecretFinding, fingerprint
from secure_platform.taxonomy.info_types import info_types

SCHEMA: Final = "secure-platform/scan/1"
_SECRET: Final = "secret"  # noqa: S105 - the group of info types
SPANS: Final = 100
"""Places of one finding that are told; `rows` counts them all."""


@dataclass(frozen=True)
class Span:
    """A place in a text: lines and columns count from 1, the end is behind the last character."""

    line: int
    column: int
    end_line: int
    end_column: int


@dataclass(frozen=True)
class Reported:
    """A finding as it is reported.

    Attributes:
        source: What it was found in, as the user called it.
        column: Of a table; None in a text.
        rule: Of the secret, or the info type.
        rows: Cells of the column, or places in the text.
        ratio: `rows` as a share of the column's cells that are not null.
        spans: The first places in a text.
    """

    source: str
    column: str | None
    info_type: str
    rule: str
    confidence: float
    rows: int
    ratio: float | None
    reasons: tuple[str, ...]
    fingerprint: str
    spans: tuple[Span, ...] = ()

    @classmethod
    def of_column(cls, source: str, finding: Finding, key: bytes, *, column: str) -> Self:
        """An info type in a column, which the report calls `column`."""
        place = (b"column", source.encode(errors="replace"), column.encode(errors="replace"))
        return cls(
            source=source,
            column=column,
            info_type=finding.info_type,
            rule=finding.info_type,
            confidence=round(finding.confidence, 2),
            rows=finding.count,
            ratio=round(finding.ratio, 4),
            reasons=finding.reasons,
            fingerprint=fingerprint(key, *place, finding.info_type.encode()),
        )

    @classmethod
    def of_secret(cls, finding: SecretFinding) -> Self:
        """A secret in a text, or in a file's path."""
        place = finding.place
        span = Span(place.line, place.column, place.end_line, place.end_column)
        return cls(
            source=place.path,
            column=None,
            info_type=finding.info_type,
            rule=finding.rule,
            confidence=finding.confidence,
            rows=1,
            ratio=None,
            reasons=finding.reasons,
            fingerprint=finding.fingerprint,
            spans=(span,) if place.line else (),
        )

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """What `asdict` made."""
        spans = tuple(Span(**span) for span in body["spans"])
        return cls(**{**body, "reasons": tuple(body["reasons"]), "spans": spans})


@dataclass(frozen=True)
class Skipped:
    """What was not read, and why."""

    source: str
    reason: str


@dataclass(frozen=True)
class Scanned:
    """What was read to its end.

    Attributes:
        kind: Whether as a table or as a text.
        columns: Of a table, as the report calls them.
        rows: Of a table.
        bytes: Of a text.
    """

    source: str
    kind: Literal["table", "text"]
    columns: tuple[str, ...] = ()
    rows: int | None = None
    bytes: int | None = None


@dataclass
class Section:
    """What a scan has to say of some sources."""

    findings: list[Reported] = field(default_factory=list)
    scanned: list[Scanned] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    def add(self, other: "Section") -> None:
        """Append what was said of further sources."""
        self.findings += other.findings
        self.scanned += other.scanned
        self.skipped += other.skipped

    def to_json(self) -> dict[str, Any]:
        """Lists of what JSON can hold."""
        return {
            "findings": [asdict(each) for each in self.findings],
            "scanned": [asdict(each) for each in self.scanned],
            "skipped": [asdict(each) for each in self.skipped],
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """What `to_json` made."""
        return cls(
            [Reported.from_json(each) for each in body["findings"]],
            [Scanned(**{**each, "columns": tuple(each["columns"])}) for each in body["scanned"]],
            [Skipped(**each) for each in body["skipped"]],
        )


def document(section: Section, sifted: Sifted[Reported]) -> dict[str, Any]:
    """The JSON document: open findings, what a baseline had to say, what was read and what was not."""
    said = section.to_json()
    return {
        "schema": SCHEMA,
        "findings": [asdict(finding) for finding in sifted.open],
        "excused": len(sifted.excused),
        "expired": [excuse.fingerprint for excuse in sifted.expired],
        "unused": [excuse.fingerprint for excuse in sifted.unused],
        "scanned": said["scanned"],
        "skipped": said["skipped"],
    }


def is_secret(info_type: str) -> bool:
    """Whether an info type is a secret; every other says something of a person or a thing."""
    return info_types()[info_type].group == _SECRET
