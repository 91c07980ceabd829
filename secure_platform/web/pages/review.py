"""Everything that a decision on a release rests on, read from its signed manifest."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from secure_platform.gate.records import ReleaseRecord
from secure_platform.gate.states import OPEN
from secure_platform.orchestration.steps.behind import Reached
from secure_platform.orchestration.steps.deploy import signed_package
from secure_platform.orchestration.steps.payload import Erased, erased
from secure_platform.orchestration.steps.review import Checked, Found, checks, difference, findings, reached
from secure_platform.release.diff import ReleaseDiff, diff_manifests
from secure_platform.services import Services
from secure_platform.web.plots import BarPlot, bar_plot


@dataclass(frozen=True)
class Review:
    """A release as it is shown.

    Attributes:
        against: What the difference is to, in words.
        erased: What became of its rows when somebody was erased; None if nothing did.
    """

    record: ReleaseRecord
    manifest: Mapping[str, Any]
    diff: ReleaseDiff
    against: str
    checks: tuple[Checked, ...]
    findings: tuple[Found, ...]
    rows: BarPlot
    info_types: BarPlot
    left_out: BarPlot
    reached: tuple[Reached, ...]
    erased: Erased | None


def review(services: Services, record: ReleaseRecord) -> Review:
    """Read a release and compare it: an open one with production, any other with what it replaced.

    Raises:
        IntegrityError: If its manifest is not what was signed.
    """
    manifest = signed_package(services, record).manifest
    if record.state in OPEN:
        diff, against = difference(services, record, manifest), "what is in production"
    else:
        diff, against = _as_built(services, record, manifest), "the release it was built to replace"
    found = tuple(findings(manifest))
    checked = tuple(checks(manifest))
    return Review(
        record,
        manifest,
        diff,
        against,
        checked,
        found,
        rows_plot(diff),
        _info_types(found),
        left_out_plot(checked),
        tuple(reached(manifest)),
        erased(services, record),
    )


def rows_plot(diff: ReleaseDiff) -> BarPlot:
    """Rows of every table before and after."""
    groups = (
        (
            item.table,
            {"before": item.rows_before, "after": item.rows_after}
            if not diff.first
            else {"after": item.rows_after},
        )
        for item in diff.tables
    )
    return bar_plot("Rows per table", groups)


def _as_built(services: Services, record: ReleaseRecord, manifest: Mapping[str, Any]) -> ReleaseDiff:
    if record.base is None:
        return diff_manifests(None, manifest)
    return diff_manifests(signed_package(services, services.gate.get(record.base)).manifest, manifest)


def _info_types(found: tuple[Found, ...]) -> BarPlot:
    cells = Counter[str]()
    for finding in found:
        if finding.snapshot.startswith("raw/"):
            cells[finding.info_type] += finding.count
    return bar_plot(
        "Cells of the source by what was found in them",
        ((name, {"before": number}) for name, number in cells.most_common()),
    )


def left_out_plot(checked: tuple[Checked, ...]) -> BarPlot:
    """Rows of every snapshot that were set aside, and that stayed behind."""
    return bar_plot(
        "Rows left out, by snapshot",
        (
            (check.snapshot, {"before": check.left_out or None, "after": check.stayed_behind or None})
            for check in checked
            if check.left_out or check.stayed_behind
        ),
    )
