"""Every scan of a snapshot is in the audit log: columns, info types and counts, never a value.

Columns that no contract or model names are `*`: what stands in a file's header is not ours to keep.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from secure_platform.orchestration.steps.context import StepContext
from secure_platform.scan.columns import Finding
from secure_platform.scan.ocsf import SCANNED
from secure_platform.store.snapshot import Zone

AT_ONCE: Final = 200
"""Findings in one entry, which must not become too large."""
UNNAMED: Final = "*"


def record_scan(
    context: StepContext,
    place: tuple[Zone, str, str],
    findings: Sequence[Finding],
    *,
    refused: Iterable[Finding],
    columns: Collection[str],
) -> None:
    """Append what was found.

    Args:
        context: Names product and requester.
        place: Zone, dataset and snapshot.
        findings: What was found.
        refused: Those that may not be there.
        columns: Names that are declared.
    """
    wrong = set(refused)
    said = [_said(finding, columns, refused=finding in wrong) for finding in findings]
    subject = "/".join([context.product.name, *map(str, place)])
    for start in range(0, max(1, len(said)), AT_ONCE):
        detail = {"findings": said[start : start + AT_ONCE]}
        context.services.audit.append(SCANNED, actor=context.requester, subject=subject, detail=detail)


def _said(finding: Finding, columns: Collection[str], *, refused: bool) -> dict[str, Any]:
    return {
        "column": finding.column if finding.column in columns else UNNAMED,
        "info_type": finding.info_type,
        "count": finding.count,
        "confidence": f"{finding.confidence:.2f}",
        "refused": refused,
    }
