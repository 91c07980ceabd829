"""A column drifts if the scanner finds something personal or secret in it that was not there before.

It is compared with the newest snapshot whose scan passed: the findings of a refused one do not become usual.
A new column is not drift; the change of the contract reports it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from secure_platform.scan.columns import Finding
from secure_platform.store.snapshot import Snapshot
from secure_platform.taxonomy.info_types import InfoType

SCAN: Final = "scan"
BASELINE: Final = "baseline"
PLAIN: Final = "plain"


@dataclass(frozen=True)
class Baseline:
    """What was usual.

    Attributes:
        snapshot_id: The snapshot that it comes from.
        columns: The columns that it had.
        findings: `column` and `info_type` of what was found.
    """

    snapshot_id: str
    columns: frozenset[str]
    findings: frozenset[tuple[str, str]]

    def record(self) -> dict[str, Any]:
        """As JSON, for a verdict."""
        return {
            "snapshot_id": self.snapshot_id,
            "columns": sorted(self.columns),
            "findings": [list(finding) for finding in sorted(self.findings)],
        }


def baseline_of(snapshot: Snapshot | None) -> Baseline | None:
    """What the next snapshot is compared with; None if no scan has passed yet."""
    if snapshot is None or SCAN not in snapshot.verdicts:
        return None
    verdict = snapshot.verdicts[SCAN]
    if not verdict.passed:
        return _read(verdict.detail.get(BASELINE))
    found = frozenset((each["column"], each["info_type"]) for each in verdict.detail["findings"])
    return Baseline(snapshot.snapshot_id, frozenset(snapshot.columns), found)


def drift(
    baseline: Baseline | None, findings: Iterable[Finding], types: Mapping[str, InfoType]
) -> list[Finding]:
    """The findings that are new in a column that was there before."""
    if baseline is None:
        return []
    return [
        finding
        for finding in findings
        if finding.column in baseline.columns
        and (finding.column, finding.info_type) not in baseline.findings
        and types[finding.info_type].group != PLAIN
    ]


def _read(record: Mapping[str, Any] | None) -> Baseline | None:
    if record is None:
        return None
    found = frozenset((column, kind) for column, kind in record["findings"])
    return Baseline(record["snapshot_id"], frozenset(record["columns"]), found)
