"""What a steward decides on is drawn from the verified package, never from what Dagster stores."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console

from secure_platform.cli.contract import render_contracts
from secure_platform.cli.output import brief, heading, line, table
from secure_platform.gate.records import ReleaseRecord
from secure_platform.orchestration.steps.deploy import verified_package
from secure_platform.release.diff import ReleaseDiff, diff_manifests
from secure_platform.services import Services


def verified_manifest(services: Services, record: ReleaseRecord) -> Mapping[str, Any]:
    """The manifest of a release, after everything in the package was verified.

    Raises:
        IntegrityError: If the package is not what was signed.
        GateRefusedError: If it is not the package that was registered.
    """
    with verified_package(services, record) as release:
        return release.manifest


def difference(services: Services, record: ReleaseRecord, manifest: Mapping[str, Any]) -> ReleaseDiff:
    """The difference to what is in production now."""
    base = services.target.base(record.product)
    if base is None or base == record.digest:
        return diff_manifests(None if base is None else manifest, manifest)
    return diff_manifests(verified_manifest(services, services.gate.get(base)), manifest)


def render_review(
    out: Console, record: ReleaseRecord, manifest: Mapping[str, Any], diff: ReleaseDiff
) -> None:
    """Draw a release for whoever decides on it."""
    heading(out, f"Release {record.number} of {record.product}: {record.state}")
    line(
        out,
        f"requested by {record.requested_by}, for {record.environment}, {record.classification}, "
        f"profile {manifest['profile']}",
    )
    line(out, record.digest)
    render_attention(out, diff)
    heading(out, "Schema")
    table(out, ("table", "column", "type"), _schema_rows(manifest))
    heading(out, "Checks")
    table(out, ("snapshot", "rows left out", "failed", "passed"), _check_rows(manifest))
    heading(out, "Findings in the source, and what became of them")
    table(out, ("column", "found", "cells", "transform"), _finding_rows(manifest))
    render_difference(out, diff, "Difference to production")


def render_attention(out: Console, diff: ReleaseDiff) -> None:
    """Draw first what nobody may overlook."""
    if diff.attention:
        heading(out, "Attention: weaker protection, changed tests or breaking contract changes")
    for sentence in diff.attention:
        line(out, f"  ! {brief(sentence)}")


def render_difference(out: Console, diff: ReleaseDiff, title: str) -> None:
    """Draw how a release differs from another."""
    heading(out, title + (" (nothing is in production yet)" if diff.first else ""))
    rows = [(item.table, item.change, item.rows_before, item.rows_after) for item in diff.tables]
    table(out, ("table", "change", "rows before", "rows after"), rows)
    columns = [f"{item.table}.{sentence}" for item in diff.tables for sentence in item.columns]
    for subject, sentences in (
        ("Columns", columns),
        ("Protection plan", diff.plan),
        ("SQL", diff.sql),
        ("Tests and variables", diff.checks),
        ("Properties", diff.properties),
    ):
        if sentences or not diff.first:
            line(out, f"{subject}:" if sentences else f"{subject}: unchanged")
        for sentence in sentences:
            line(out, f"  {brief(sentence)}")
    render_contracts(out, diff.contracts)


def _schema_rows(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for name, body in manifest["tables"].items():
        for place, column in enumerate(body["columns"]):
            yield name if place == 0 else "", column["name"], column["type"]


def _check_rows(manifest: Mapping[str, Any]) -> Iterator[tuple[str, int | None, str, str]]:
    for snapshot, stages in manifest["verdicts"].items():
        passed = [stage for stage, verdict in stages.items() if verdict["passed"]]
        failed = [stage for stage, verdict in stages.items() if not verdict["passed"]]
        counts = [
            stages[stage]["detail"].get(name)
            for stage, name in (("validate", "invalid_rows"), ("rows", "orphans"))
            if stage in stages
        ]
        yield snapshot, counts[0] if counts else None, ", ".join(failed), ", ".join(passed)


def _finding_rows(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str, int, str]]:
    """Every finding of every zone; one in a protected table or mart has no transform any more."""
    plan = {
        (f"raw/{dataset}", column["column"]): column["transform"]
        for dataset, columns in manifest["plan"]["document"]["datasets"].items()
        for column in columns
    }
    for snapshot, stages in manifest["verdicts"].items():
        for verdict in stages.values():
            for finding in verdict["detail"].get("findings", []):
                transform = plan.get((snapshot, finding["column"]), "")
                yield (
                    f"{snapshot}.{finding['column']}",
                    finding["info_type"],
                    finding["count"],
                    transform,
                )
