"""Every step records the metrics of its snapshot, and shows how they compare with the past.

A snapshot is judged once, when it is new. When it is reused, the checks show what was said then, and how old
it is now.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from secure_platform import canonical
from secure_platform.contract.model import Contract, Monitor, Severity
from secure_platform.contract.product import Product
from secure_platform.control.database import utc_now
from secure_platform.keys.material import DigestKey
from secure_platform.monitor.anomaly import STATES, UNUSUAL
from secure_platform.monitor.distribution import Sketch
from secure_platform.monitor.freshness import judge_freshness, judge_repetition
from secure_platform.monitor.history import REPEATS, MetricsHistory, Record, arrival, delivered
from secure_platform.monitor.plot import plot
from secure_platform.monitor.profile import Measures
from secure_platform.monitor.watch import PLAN, STALE, Observation, watch
from secure_platform.orchestration.steps.context import CheckOutcome, StepContext
from secure_platform.services import Services
from secure_platform.store.snapshot import Snapshot, Verdict

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
MARTS: Final = ("volume", "quality", "distribution", "schema")
JUDGING: Final = "judging_seconds"
"""How long a record was judged; it is not judged itself."""
PRODUCTION: Final = ("volume", "freshness", "quality", "distribution", "schema")
_SHOWN: Final = 20
"""Unusual metrics that a check lists, the least likely first."""
_PLOTS: Final = 3

Findings = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Terms:
    """What is required of a dataset.

    Attributes:
        monitor: How it is watched.
        promised: The maximum age; None if nothing is promised.
    """

    monitor: Monitor
    promised: timedelta | None


def terms_of(contract: Contract) -> Terms:
    """What a contract requires."""
    return Terms(contract.monitor, _hours(contract.freshness_hours))


def product_terms(product: Product) -> Terms:
    """What a product requires of its marts and of production: as much as its strictest contract.

    Its time zone is that of the contracts if they agree; its holidays are those of all of them.
    """
    monitors = [contract.monitor for contract in product.contracts.values()]
    zones = {monitor.timezone for monitor in monitors}
    strict = any(monitor.severity == "error" for monitor in monitors)
    monitor = Monitor(
        severity="error" if strict else "warn",
        timezone=zones.pop() if len(zones) == 1 else Monitor.timezone,
        holidays=tuple(sorted({day for each in monitors for day in each.holidays})),
    )
    return Terms(monitor, _hours(freshness_hours(product)))


def freshness_hours(product: Product) -> float | None:
    """Hours after which production is stale: the strictest of the product and its contracts' SLAs."""
    stated = [product.freshness_hours, *(contract.freshness_hours for contract in product.contracts.values())]
    return min((hours for hours in stated if hours is not None), default=None)


def labels_key(context: StepContext) -> DigestKey:
    """Keys the labels of categories in the history."""
    return context.services.keys.digest_key("monitor")


def remember(
    context: StepContext,
    snapshot: Snapshot,
    terms: Terms,
    measures: Measures,
    *,
    findings: Findings,
    seconds: float,
    said: Mapping[str, float],
) -> None:
    """Judge a new snapshot and keep its record.

    Args:
        context: The run.
        snapshot: The snapshot, committed.
        terms: What is asked of its dataset.
        measures: What was counted while it was written.
        findings: Column → info type → count.
        seconds: How long the step took.
        said: What the step says of the snapshot itself: how its rows were treated, and what it repeats.
    """
    numbers = {**measures.numbers, "seconds": seconds, **said}
    record = _record(snapshot, numbers, measures.sketches, findings)
    keep(context.services, record, terms)


def treated(how: Sequence[Any]) -> dict[str, float]:
    """The deliberate treatment of the rows (canonical JSON) as a number: 48 bits of its digest."""
    return {PLAN: float(int(canonical.sha256(canonical.dumps([*how])).rpartition(":")[2][:12], 16))}


def keep(services: Services, record: Record, terms: Terms) -> None:
    """Judge a record by those before it, and keep it; an existing record is not changed."""
    metrics = services.metrics
    if metrics.find(record.snapshot_id) is not None:
        return
    metrics.require_whole(record.product, record.dataset, record.zone)
    history = metrics.before(record.product, record.dataset, record.zone, snapshot_id=record.snapshot_id)
    now = record.recorded_at
    late = {"lateness_hours": _lateness(history, now, terms.promised)}
    record = replace(record, numbers={**record.numbers, **late})
    began = time.monotonic()
    found = watch(
        record,
        history,
        terms.monitor,
        promised=terms.promised,
        today=metrics.chances(record.product, now.replace(hour=0, minute=0, second=0, microsecond=0)),
        feedback=services.incidents.feedback(record.product),
        repeats=bool(record.numbers.get(REPEATS)),
    )
    numbers = {**record.numbers, JUDGING: time.monotonic() - began}
    metrics.add(replace(record, numbers=numbers, verdicts={each.metric: each.to_json() for each in found}))


def _record(
    snapshot: Snapshot,
    numbers: Mapping[str, float],
    sketches: Mapping[str, Sketch],
    findings: Findings,
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
    )


def monitored(
    context: StepContext,
    snapshot: Snapshot,
    terms: Terms,
    checks: Sequence[str],
    *,
    written: datetime | None = None,
) -> tuple[CheckOutcome, ...]:
    """What was said about a snapshot, as checks.

    One that is found again was there before: then it is shown how old the newest data of its dataset are. A
    snapshot that was rewritten without an erased person has no record of its own.

    Args:
        context: The run.
        snapshot: The snapshot.
        terms: What is asked of its dataset.
        checks: Names of the checks.
        written: When its source was last written, if it has one.
    """
    metrics = context.services.metrics
    place = (snapshot.product, snapshot.dataset, str(snapshot.zone))
    again = None
    if snapshot.reused:
        again = Again(utc_now(), delivered(metrics.arrivals(*place)), written)
    return said_of(metrics, snapshot.snapshot_id, terms, checks, again=again)


@dataclass(frozen=True)
class Again:
    """A snapshot that was found again.

    Attributes:
        now: When.
        arrived: When other data of its dataset came, oldest first.
        written: When its source was last written, if it has one.
    """

    now: datetime
    arrived: Sequence[datetime]
    written: datetime | None = None


def said_of(
    metrics: MetricsHistory,
    snapshot_id: str,
    terms: Terms,
    checks: Sequence[str],
    *,
    again: Again | None = None,
) -> tuple[CheckOutcome, ...]:
    """What was said about a record, as checks.

    Args:
        metrics: The history.
        snapshot_id: The record; one that is not known is being learned.
        terms: What is asked of its dataset.
        checks: Names of the checks.
        again: That nothing new came: then the age of the data now is shown.
    """
    record = metrics.find(snapshot_id)
    said = [Observation(name, **verdict) for name, verdict in record.verdicts.items()] if record else []
    history = (
        metrics.before(record.product, record.dataset, record.zone, snapshot_id=snapshot_id) if record else []
    )
    outcomes = []
    for name in checks:
        found = [each for each in said if each.check == name]
        if name == "freshness" and again:
            found = [_age(record, terms, again)]
        outcomes.append(_outcome(name, found, history, terms.monitor.severity))
    return tuple(outcomes)


def found_by(verdict: Verdict) -> Findings:
    """Column → info type → count, from the verdict that lists findings."""
    counts: dict[str, dict[str, int]] = {}
    for finding in verdict.detail["findings"]:
        counts.setdefault(finding["column"], {})[finding["info_type"]] = int(finding["count"])
    return counts


def _hours(hours: float | None) -> timedelta | None:
    return timedelta(hours=hours) if hours is not None else None


def _of_snapshot(snapshot: Snapshot) -> dict[str, float]:
    """Rates that a verdict already counted."""
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
    """Hours beyond the promise since the last other content."""
    if not history or promised is None:
        return 0.0
    return max(0.0, (now - delivered(map(arrival, history))[-1] - promised).total_seconds() / 3_600)


def _age(record: Record | None, terms: Terms, again: Again) -> Observation:
    arrivals = again.arrived
    zone = ZoneInfo(terms.monitor.timezone)
    found = judge_freshness(arrivals, again.now, promised=terms.promised, zone=zone)
    hours = found.age.total_seconds() / 3_600 if found.age is not None else None
    if record is not None and again.written is not None and again.written > arrivals[-1]:
        earlier = record.recorded_at < arrivals[-1]
        stale = judge_repetition(arrivals, again.now, promised=terms.promised, earlier=earlier, zone=zone)
        if stale in UNUSUAL:
            state = max(found.state, stale, key=STATES.index)
            return Observation("freshness", state, 0.0, hours, note=STALE)
    return Observation("freshness", found.state, 1.0, hours, note="hours since the last that was new")


def _outcome(
    name: str, found: Sequence[Observation], history: Sequence[Record], severity: Severity
) -> CheckOutcome:
    unusual = sorted((each for each in found if each.state in UNUSUAL), key=lambda each: each.chance)
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
