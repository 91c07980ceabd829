"""Every step tells the metrics history about the snapshot it made, and shows what its past says about it.

A snapshot is judged once, when it is new; found again, it shows what was said then, and how old it is now.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from secure_platform.contract.model import Contract, Monitor, Severity
from secure_platform.control.database import utc_now
from secure_platform.keys.material import DigestKey
from secure_platform.monitor.anomaly import STATES
from secure_platform.monitor.distribution import Sketch
from secure_platform.monitor.freshness import judge_freshness
from secure_platform.monitor.history import Record
from secure_platform.monitor.plot import plot
from secure_platform.monitor.profile import Measures
from secure_platform.monitor.watch import Observation, watch
from secure_platform.orchestration.steps.context import CheckOutcome, StepContext
from secure_platform.store.snapshots import Snapshot, Verdict

MONITORED: Final[Mapping[str, str]] = {
    "volume": "The row count is what its history foretells.",
    "freshness": "The data came when they were promised, and when they usually come.",
    "quality": "Empty, distinct, duplicate and invalid cells and findings are as frequent as ever.",
    "distribution": "Means, quantiles, shares and distributions are those of earlier snapshots.",
    "custom": "The contract's own metrics are what their history foretells.",
    "schema": "No column is gone or of a narrower type than before.",
}
RAW: Final = ("volume", "freshness", "quality", "schema")
PROTECTED: Final = ("volume", "quality", "distribution", "custom", "schema")
_SHOWN: Final = 20
"""Unusual metrics that a check lists, the least likely first."""
_PLOTS: Final = 3

Findings = Mapping[str, Mapping[str, int]]


def labels_key(context: StepContext) -> DigestKey:
    """Keys the labels of categories in the history."""
    return context.services.keys.digest_key("monitor")


def remember(
    context: StepContext,
    snapshot: Snapshot,
    contract: Contract | None,
    measures: Measures,
    *,
    findings: Findings,
    seconds: float,
) -> None:
    """Judge a new snapshot and keep its record.

    Args:
        context: The run.
        snapshot: The snapshot, committed.
        contract: Of its dataset; None for a mart.
        measures: What was counted while it was written.
        findings: Column → info type → count.
        seconds: How long the step took.
    """
    metrics = context.services.metrics
    history = metrics.before(
        snapshot.product, snapshot.dataset, snapshot.zone, snapshot_id=snapshot.snapshot_id
    )
    now = utc_now()
    late = {"seconds": seconds, "lateness_hours": _lateness(history, now, promise(contract))}
    record = _record(snapshot, {**measures.numbers, **late}, measures.sketches, findings, now)
    found = watch(
        record,
        history,
        contract.monitor if contract else Monitor(),
        promised=promise(contract),
        today=metrics.chances(snapshot.product, now.replace(hour=0, minute=0, second=0, microsecond=0)),
    )
    metrics.add(replace(record, verdicts={each.metric: each.to_json() for each in found}))


def _record(
    snapshot: Snapshot,
    numbers: Mapping[str, float],
    sketches: Mapping[str, Sketch],
    findings: Findings,
    now: datetime,
) -> Record:
    counted = {
        **_of_snapshot(snapshot),
        **_found_rates(findings, snapshot.rows),
        "bytes": float(snapshot.bytes),
    }
    return Record(
        product=snapshot.product,
        dataset=snapshot.dataset,
        zone=str(snapshot.zone),
        snapshot_id=snapshot.snapshot_id,
        numbers={**numbers, **counted},
        sketches=sketches,
        columns=snapshot.columns,
        findings=findings,
        recorded_at=now,
    )


def monitored(
    context: StepContext, snapshot: Snapshot, contract: Contract | None, checks: Sequence[str]
) -> tuple[CheckOutcome, ...]:
    """What was said about a snapshot, as checks."""
    metrics = context.services.metrics
    record = metrics.find(snapshot.snapshot_id)
    said = [Observation(name, **verdict) for name, verdict in record.verdicts.items()] if record else []
    history = metrics.before(
        snapshot.product, snapshot.dataset, snapshot.zone, snapshot_id=snapshot.snapshot_id
    )
    severity = (contract.monitor if contract else Monitor()).severity
    outcomes = []
    for name in checks:
        found = [each for each in said if each.check == name]
        if name == "freshness" and snapshot.reused:
            found = [_age([*history, *([record] if record else [])], contract)]
        outcomes.append(_outcome(name, found, history, severity))
    return tuple(outcomes)


def found_by(verdict: Verdict) -> Findings:
    """Column → info type → count, from the verdict that lists findings."""
    counts: dict[str, dict[str, int]] = {}
    for finding in verdict.detail["findings"]:
        counts.setdefault(finding["column"], {})[finding["info_type"]] = int(finding["count"])
    return counts


def promise(contract: Contract | None) -> timedelta | None:
    """The greatest age that a contract allows."""
    hours = contract.freshness_hours if contract else None
    return timedelta(hours=hours) if hours is not None else None


def _of_snapshot(snapshot: Snapshot) -> dict[str, float]:
    """Shares that a verdict counted already."""
    validated = snapshot.verdicts.get("validate")
    rows = int(validated.detail["rows"]) if validated else 0
    if validated is None or not rows:
        return {}
    twice = sum(
        failure["count"]
        for failure in validated.detail["failures"]
        if failure["rule"] in {"unique", "primary_key"}
    )
    return {
        "invalid_rate": min(1.0, validated.detail["invalid_rows"] / rows),
        "duplicate_rate": min(1.0, twice / rows),
    }


def _found_rates(findings: Findings, rows: int) -> dict[str, float]:
    return {
        f"found_rate:{kind}:{column}": min(1.0, count / rows)
        for column, kinds in findings.items()
        for kind, count in kinds.items()
        if rows
    }


def _lateness(history: Sequence[Record], now: datetime, promised: timedelta | None) -> float:
    """Hours beyond the promise since the one before."""
    if not history or promised is None:
        return 0.0
    return max(0.0, (now - history[-1].recorded_at - promised).total_seconds() / 3_600)


def _age(history: Sequence[Record], contract: Contract | None) -> Observation:
    arrivals = sorted(each.recorded_at for each in history)
    zone = ZoneInfo((contract.monitor if contract else Monitor()).timezone)
    found = judge_freshness(arrivals, utc_now(), promised=promise(contract), zone=zone)
    hours = found.age.total_seconds() / 3_600 if found.age is not None else None
    return Observation("freshness", found.state, 1.0, hours, note="hours since the last that was new")


def _outcome(
    name: str, found: Sequence[Observation], history: Sequence[Record], severity: Severity
) -> CheckOutcome:
    unusual = sorted((each for each in found if each.state in {"warn", "fail"}), key=lambda each: each.chance)
    state = max((each.state for each in found), key=STATES.index, default="learning")
    learning = sum(each.state == "learning" for each in found)
    plotted = unusual or [each for each in found if each.metric == "rows"]
    return CheckOutcome(
        name,
        passed=not unusual,
        detail={
            "state": state,
            "judged": len(found) - learning,
            "learning": learning,
            "snapshots": len(history),
            "unusual": [_described(each) for each in unusual[:_SHOWN]],
        },
        severity="ERROR" if (severity, state) == ("error", "fail") else "WARN",
        plot="\n\n".join(plot(each, history) for each in plotted[:_PLOTS]),
    )


def _described(each: Observation) -> dict[str, Any]:
    numbers = {"value": each.value, "expected": each.expected, "low": each.low, "high": each.high}
    shown = {name: f"{number:.6g}" for name, number in numbers.items() if number is not None}
    return {
        "metric": each.metric,
        "state": each.state,
        "chance": f"{each.chance:.1e}",
        **shown,
        "note": each.note,
    }
