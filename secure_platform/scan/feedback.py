"""A reader may say that a finding is wrong: a type in a column of a dataset, for a reason and until a day.

A line silences nothing else, neither another column nor another type, and nothing once its day has passed:
the finding is back then. It may name the type that the column really holds, which is reported in place of the
wrong one. What was overridden stays on record with its line.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

from secure_platform import canonical
from secure_platform.scan.columns import Finding
from secure_platform.taxonomy.info_types import InfoType
from secure_platform.taxonomy.reading import Entry, read_document

FILE: Final = "scan_feedback.yaml"
# Whoever is sure for longer than this changes the contract or the info types.
LONGEST: Final = timedelta(days=366)
_MEMBERS: Final = ("dataset", "column", "info_type", "instead", "reason", "by", "until")
CORRECTED: Final = "a reader's correction"


@dataclass(frozen=True)
class Correction:
    """What a reader says about one finding.

    Attributes:
        instead: The type that the column holds, if it holds one.
        by: Who says so.
        until: The last day on which it holds.
    """

    dataset: str
    column: str
    info_type: str
    instead: str | None
    reason: str
    by: str
    until: date

    def record(self) -> dict[str, Any]:
        """As JSON, for metadata and reports."""
        return {**asdict(self), "until": self.until.isoformat()}


@dataclass(frozen=True)
class Corrected:
    """Findings after a reader's corrections.

    Attributes:
        findings: What stands.
        overridden: What a correction took away, each with its correction.
        ended: Corrections whose day has passed.
    """

    findings: list[Finding]
    overridden: list[tuple[Finding, Correction]]
    ended: list[Correction]

    def record(self) -> dict[str, Any]:
        """As JSON, for a check's metadata and for reports; never a value."""
        return {
            "overridden": [
                {**line.record(), "count": finding.count, "confidence": finding.confidence}
                for finding, line in self.overridden
            ],
            "ended": [line.record() for line in self.ended],
        }


@dataclass(frozen=True)
class Feedback:
    """The corrections of one product."""

    corrections: tuple[Correction, ...] = ()

    def of(self, dataset: str, today: date) -> "Feedback":
        """Those that hold for one dataset."""
        return Feedback(
            tuple(line for line in self.corrections if line.dataset == dataset and line.until >= today)
        )

    def digest(self, dataset: str, today: date) -> str:
        """Changes when what holds for the dataset does, also by the passing of a day."""
        held = [line.record() for line in self.of(dataset, today).corrections]
        return canonical.sha256(canonical.dumps({"corrections": held}))


def read_feedback(path: Path, types: Mapping[str, InfoType], today: date) -> Feedback:
    """The corrections in a file; none where there is no file.

    Raises:
        ContractError: If anything in the file is not understood, a type does not exist, two lines speak of
            the same finding, or a line would hold for more than a year.
    """
    if not path.exists():
        return Feedback()
    document = read_document(path, ("feedback",))
    lines = document.get("feedback")
    entry = Entry("Feedback", "feedback", document, ("feedback",))
    entry.require(isinstance(lines, list), "feedback")
    corrections = tuple(_correction(line, types, today) for line in lines or ())
    places = {(line.dataset, line.column, line.info_type) for line in corrections}
    entry.require(len(places) == len(corrections), "two lines about one finding")
    return Feedback(corrections)


def apply(findings: Iterable[Finding], feedback: Feedback, dataset: str, today: date) -> Corrected:
    """The findings of one dataset as its readers correct them."""
    held = {(line.column, line.info_type): line for line in feedback.of(dataset, today).corrections}
    stands: list[Finding] = []
    overridden: list[tuple[Finding, Correction]] = []
    for finding in findings:
        line = held.get((finding.column, finding.info_type))
        if line is None:
            stands.append(finding)
            continue
        overridden.append((finding, line))
        if line.instead:
            stands.append(replace(finding, info_type=line.instead, reasons=(*finding.reasons, CORRECTED)))
    ended = [line for line in feedback.corrections if line.dataset == dataset and line.until < today]
    return Corrected(_different(stands), overridden, ended)


def _different(findings: Sequence[Finding]) -> list[Finding]:
    """One for a column and type: a correction may name a type that was found as well."""
    return list({(each.column, each.info_type): each for each in reversed(findings)}.values())[::-1]


def _correction(body: Any, types: Mapping[str, InfoType], today: date) -> Correction:
    entry = Entry("Feedback", "line", body, _MEMBERS)
    until = body.get("until")
    entry.require(type(until) is date and until <= today + LONGEST, "until")
    return Correction(
        dataset=entry.text("dataset"),
        column=entry.text("column"),
        info_type=entry.choice("info_type", types),
        instead=entry.optional("instead", set(types) - {body.get("info_type")}),
        reason=_said(entry, "reason"),
        by=_said(entry, "by"),
        until=until,
    )


def _said(entry: Entry, key: str) -> str:
    text = entry.text(key)
    entry.require(text.strip(), key)
    return text
