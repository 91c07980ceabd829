"""How a release, and what differs from another, is drawn in the terminal."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console

from secure_platform.cli.contract import render_contracts
from secure_platform.cli.output import brief, heading, line, table
from secure_platform.gate.records import ReleaseRecord
from secure_platform.orchestration.steps.behind import Reached, share
from secure_platform.orchestration.steps.review import checks, findings, reached
from secure_platform.release.diff import ReleaseDiff


def render_review(
    out: Console,
    record: ReleaseRecord,
    manifest: Mapping[str, Any],
    diff: ReleaseDiff,
    erased: Mapping[str, Any] | None = None,
) -> None:
    """Draw a release for whoever decides on it; first, that its rows are gone, as `Erased` says it."""
    heading(out, f"Release {record.number} of {record.product}: {record.state}")
    line(
        out,
        f"requested by {record.requested_by}, for {record.environment}, {record.classification}, "
        f"profile {manifest['profile']}",
    )
    line(out, record.digest)
    if erased:
        line(out, f"  ! {erased['said']}.")
        line(out, f"    {erased['fix']}")
    render_attention(out, diff)
    heading(out, "Schema")
    table(out, ("table", "column", "type"), _schema_rows(manifest))
    heading(out, "Checks")
    rows = [
        (c.snapshot, c.left_out, c.stayed_behind, ", ".join(c.failed), ", ".join(c.passed))
        for c in checks(manifest)
    ]
    table(out, ("snapshot", "rows set aside", "stayed behind", "failed", "passed"), rows)
    _render_reached(out, tuple(reached(manifest)))
    heading(out, "Findings in the source, and what became of them")
    found = [(f.place, f.info_type, f.count, f.transform) for f in findings(manifest)]
    table(out, ("column", "found", "cells", "transform"), found)
    render_difference(out, diff, "Difference to production")


def _render_reached(out: Console, told: Sequence[Reached]) -> None:
    """Draw how anonymous the datasets are that were to have k or l, beside what was asked for."""
    if not told:
        return
    heading(out, "k, l and t: what was reached, and what it cost")
    rows = [
        (r.dataset, r.wanted, r.k, r.l, None if r.t is None else f"{r.t:g}", share(r.lost), r.behind)
        for r in told
    ]
    table(out, ("dataset", "asked", "k", "l", "t", "information lost", "rows that stood out"), rows)


def render_attention(out: Console, diff: ReleaseDiff) -> None:
    """Draw first what nobody may overlook."""
    if diff.attention:
        heading(out, "Attention: weaker protection, shared tokens, changed tests, breaking contract changes")
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
        ("Numbers with noise", diff.privacy),
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
