"""Judges a new snapshot: every metric against its own past, within the product's budget of alarms.

A metric is reported if its deviation is rare by itself, and still rare among everything judged of the product
on that day. Schema changes, promises and what few snapshots show are facts, not probabilities, and need no
budget.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np

from secure_platform.contract.model import Monitor
from secure_platform.monitor.anomaly import LEARNING_POINTS, STATES, UNUSUAL, Sensitivity, State, judge
from secure_platform.monitor.budget import within_budget
from secure_platform.monitor.distribution import Drift, Sketch, add, drift
from secure_platform.monitor.facts import LASTING, Fact, Taught, facts
from secure_platform.monitor.feedback import NONE, Feedback
from secure_platform.monitor.freshness import judge_freshness, judge_repetition
from secure_platform.monitor.history import REFERENCE, REPEATS, Record, arrival, delivered
from secure_platform.monitor.shape import schema_changes, schema_state

SENSITIVITIES: Final[Mapping[str, Sensitivity]] = MappingProxyType(
    {
        "rows": Sensitivity("count"),
        "null_rate": Sensitivity("rate"),
        "distinct_rate": Sensitivity("rate", ignore=0.03),
        "duplicate_rate": Sensitivity("rate", "up"),
        "invalid_rate": Sensitivity("rate", "up"),
        "found_rate": Sensitivity("rate", ignore=0.02),
        "mean": Sensitivity("number"),
        "quantile": Sensitivity("number", ignore=0.11),
        "share": Sensitivity("rate", ignore=0.02),
        "custom": Sensitivity("number"),
    }
)
"""By metric; a quantile is known to two bins of 5 %, a number of distinct values to about 1 %."""
_CHECKS: Final[Mapping[str, str]] = MappingProxyType(
    {
        **dict.fromkeys(
            ("null_rate", "distinct_rate", "duplicate_rate", "invalid_rate", "found_rate"), "quality"
        ),
        **dict.fromkeys(("mean", "quantile", "share", "drift"), "distribution"),
        "rows": "volume",
        "custom": "custom",
        "schema": "schema",
        "freshness": "freshness",
        "repeated_rate": "quality",
        "hours": "volume",
        "newest": "volume",
    }
)
PLAN: Final = "plan"
"""The number that stands for what was done to the rows on purpose; not judged itself."""
STALE: Final = "what the source holds was there before, although it was written again"
CHECKS: Final = ("volume", "freshness", "quality", "distribution", "custom", "schema")


@dataclass(frozen=True)
class Observation:
    """What was said about one metric of a snapshot.

    Attributes:
        metric: As the history names it.
        state: The verdict.
        chance: How likely so large a deviation is by chance; 0 and 1 for a fact.
        value, expected, low, high: The number, and what it was held against; None while learning.
        note: Names, never a value of the data.
    """

    metric: str
    state: State
    chance: float
    value: float | None = None
    expected: float | None = None
    low: float | None = None
    high: float | None = None
    note: str = ""

    @property
    def check(self) -> str:
        """The check that shows it."""
        return _CHECKS[kind_of(self.metric)]

    def to_json(self) -> dict[str, Any]:
        """As the history keeps it."""
        return {name: value for name, value in asdict(self).items() if name != "metric"}


def kind_of(metric: str) -> str:
    """`p95:age` → `quantile`."""
    kind = metric.partition(":")[0]
    return "quantile" if kind in {"p05", "p50", "p95"} else kind


def watch(
    record: Record,
    history: Sequence[Record],
    monitor: Monitor,
    *,
    promised: timedelta | None,
    today: Sequence[float] = (),
    feedback: Feedback = NONE,
    repeats: bool = False,
) -> list[Observation]:
    """Judge a snapshot.

    Args:
        record: Its measures.
        history: Earlier records of the dataset in its zone, oldest first.
        monitor: What the contract says.
        promised: The greatest age that the contract allows.
        today: The chances of all that was judged of the product today.
        feedback: What people said about earlier points.
        repeats: Whether its content is that of the one before, from another source.
    """
    zone = ZoneInfo(monitor.timezone)
    holiday = record.recorded_at.astimezone(zone).date() in monitor.holidays
    found = [] if holiday else _judged(record, history, monitor, feedback)
    found = _within_budget([each for each in found if kind_of(each.metric) not in monitor.silent], today)
    taught = _taught([each for each in history if _treated_alike(each, record)], feedback)
    told = _told(history, feedback)
    wrong = facts(record, taught, told=told, zone=zone, holiday=holiday)
    found = _with_facts(found, wrong, history, feedback)
    repeats = repeats and not _may_repeat(history, feedback)
    found += [*_shape(record, history), _arrival(record, history, promised, zone, repeats=repeats)]
    return [each for each in found if kind_of(each.metric) not in monitor.silent]


def _taught(history: Sequence[Record], feedback: Feedback) -> Taught:
    """The records from which facts about a metric are learned: those that were not told, or not rightly.

    What was told three times running is the new normal state, if nobody said that it was wrong.
    """

    def taught(metric: str) -> list[Record]:
        having = _having(metric, history, feedback)
        lately = having[-LASTING:]
        if len(lately) == LASTING and all(told for _, told in lately):
            return [each for each, _ in lately]
        return [each for each, told in having if not told]

    return taught


def _treated_alike(*records: Record) -> bool:
    """Whether the same was done to the rows: what somebody decided to empty or to generalize is no fault."""
    return len({each.numbers.get(PLAN) for each in records}) == 1


def _told(history: Sequence[Record], feedback: Feedback) -> Taught:
    """The records of which it was told, and of which nobody said anything."""

    def told(metric: str) -> list[Record]:
        return [each for each, unusual in _having(metric, history, feedback) if unusual]

    return told


def _having(metric: str, history: Sequence[Record], feedback: Feedback) -> list[tuple[Record, bool]]:
    """The records of which nobody said that the metric was wrong, each with whether it was told."""
    check = _CHECKS[kind_of(metric)]
    return [
        (each, feedback.is_told(each, metric, check))
        for each in history
        if metric in each.numbers and not feedback.is_wrong(each, metric, check)
    ]


def _with_facts(
    found: Sequence[Observation], wrong: Sequence[Fact], history: Sequence[Record], feedback: Feedback
) -> list[Observation]:
    """A fact says more than that a metric is being learned; of one that was learned its detector speaks.

    But for a change that it ignores for being small, as from twenty values to one in a thousand rows.
    """
    said = {each.metric: each for each in found}
    for fact in wrong:
        known = said.get(fact.metric)
        right = feedback.allowance(history, fact.metric, _CHECKS[kind_of(fact.metric)])
        silent = known is None or known.state == "learning" or (known.state == "pass" and _is_ignored(fact))
        if silent and not right.covers(fact.value, fact.usual):
            said[fact.metric] = Observation(
                fact.metric, fact.state, 0.0, fact.value, fact.usual, note=fact.note
            )
    return [*said.values()]


def _is_ignored(fact: Fact) -> bool:
    """Whether the detector of a rate takes so small a change for none."""
    by = SENSITIVITIES.get(kind_of(fact.metric))
    return by is not None and by.kind == "rate" and abs(fact.value - fact.usual) < (by.ignore or 0.0)


def _within_budget(found: Sequence[Observation], today: Sequence[float]) -> list[Observation]:
    judged = [each.chance for each in found if each.state != "learning"]
    allowed = iter(within_budget([*judged, *today])[: len(judged)])
    kept = []
    for each in found:
        silent = each.state != "learning" and not next(allowed)
        kept.append(replace(each, state="pass") if silent else each)
    return kept


def _judged(
    record: Record, history: Sequence[Record], monitor: Monitor, feedback: Feedback
) -> list[Observation]:
    """Every metric; a quantile speaks only with the distribution that it is of.

    Where many rows have one value, a quantile leaps from it to the next as soon as a few rows are others.
    """
    drifts = {each.metric: each for each in _drifts(record, history, feedback)}
    found = []
    for each in _metrics(record, history, monitor, feedback):
        whole = drifts.get(f"drift:{each.metric.partition(':')[2]}")
        leaps = kind_of(each.metric) == "quantile" and whole is not None and whole.state == "pass"
        found.append(replace(each, state="pass", chance=1.0) if leaps and each.state in UNUSUAL else each)
    return [*found, *drifts.values()]


def _metrics(
    record: Record, history: Sequence[Record], monitor: Monitor, feedback: Feedback
) -> Iterator[Observation]:
    everything = [*history, record]
    times = np.array([_moment(each) for each in everything])
    zone = ZoneInfo(monitor.timezone)
    holidays = np.array([each.recorded_at.astimezone(zone).date() in monitor.holidays for each in everything])
    for kind, sensitivity in SENSITIVITIES.items():
        names = sorted(name for name in record.numbers if kind_of(name) == kind)
        if not names:
            continue
        values = np.array([[each.numbers.get(name, np.nan) for each in everything] for name in names])
        sizes = np.full((len(names), 1), record.numbers.get("rows", 1.0))
        wrong = [[feedback.is_wrong(each, name, _CHECKS[kind]) for each in everything] for name in names]
        left_out = np.array(wrong, dtype=np.bool_) | holidays
        judged = judge(times, values, replace(sensitivity, zone=zone), left_out=left_out, sizes=sizes)
        for place, name in enumerate(names):
            expected, low, high = (
                None if np.isnan(matrix[place, 0]) else float(matrix[place, 0])
                for matrix in (judged.expected, judged.low, judged.high)
            )
            state, chance = STATES[judged.state[place, 0]], float(judged.chance[place, 0])
            value = record.numbers[name]
            allowance = feedback.allowance(history, name, _CHECKS[kind])
            if expected is not None and allowance.covers(value, expected):
                state, chance = "pass", 1.0
            yield Observation(name, state, chance, value, expected, low, high)


def _drifts(record: Record, history: Sequence[Record], feedback: Feedback) -> Iterator[Observation]:
    for column in sorted(record.sketches):
        metric = f"drift:{column}"
        found = _moved(record, history, column, feedback)
        note = ", ".join(f"{name} {value:.3f}" for name, value in found.distances.items())
        right = feedback.allowance(history, metric, _CHECKS["drift"]).covers(found.severity, 0.0)
        state: State = "pass" if right else found.state
        chance = found.chance if state in UNUSUAL else 1.0
        yield Observation(metric, state, chance, found.severity, 0.0, 0.0, 1.0, note)


def _moved(record: Record, history: Sequence[Record], column: str, feedback: Feedback) -> Drift:
    """How far a column is from what it was; of one that stays where it went, from the last few alone."""
    sketch, numeric = record.sketches[column], is_numeric(record, column)
    before = compared(record, history, column, feedback)
    usual = _usual(history, f"drift:{column}", feedback)
    found = drift(add(before), sketch, numeric=numeric, usual=usual)
    if len(before) < LEARNING_POINTS:
        return replace(found, state="learning")
    if found.state not in UNUSUAL:
        return found
    lately = drift(add(before[-LASTING:]), sketch, numeric=numeric, usual=usual)
    return min(found, lately, key=lambda each: each.severity)


def _usual(history: Sequence[Record], metric: str, feedback: Feedback) -> list[float]:
    """How far a column was from what it had been, while nobody found it wrong and no check failed."""
    said = [
        each.verdicts[metric]
        for each in history
        if metric in each.verdicts and not feedback.is_wrong(each, metric, _CHECKS["drift"])
    ]
    return [each["value"] for each in said if each["state"] != "fail" and each["value"] is not None]


def compared(
    record: Record, history: Sequence[Record], column: str, feedback: Feedback = NONE
) -> list[Sketch]:
    """What a column is compared with: its sketches in the last snapshots that nobody found wrong.

    Args:
        record: Under test.
        history: Earlier records of the dataset in its zone, oldest first.
        column: One that the record has a sketch of.
        feedback: What people said about earlier points.
    """
    metric = f"drift:{column}"
    taught = [each for each in history if not feedback.is_wrong(each, metric, _CHECKS["drift"])]
    earlier = (each.sketches.get(column, {}) for each in taught[-REFERENCE:])
    return [each for each in earlier if _comparable(each, record.sketches[column])]


def is_numeric(record: Record, column: str) -> bool:
    """Whether the bins of a sketch are numbers, not categories."""
    return f"mean:{column}" in record.numbers


def _comparable(before: Sketch, after: Sketch) -> bool:
    """Labels under different versions of the key say nothing about each other."""
    versions = [{label.partition(":")[0] for label in sketch if ":" in label} for sketch in (before, after)]
    return bool(before) and versions[0] == versions[1]


def _shape(record: Record, history: Sequence[Record]) -> Iterator[Observation]:
    if not history:
        yield Observation("schema", "learning", 1.0)
        return
    changes = schema_changes(history[-1].columns, record.columns) if history[-1].columns else []
    note = ", ".join(f"{each.column}: {each.change}" for each in changes)
    yield Observation("schema", schema_state(changes), 1.0, float(len(changes)), note=note)


def _may_repeat(history: Sequence[Record], feedback: Feedback) -> bool:
    """Whether somebody was told that the source was written again as it was, and said that this is right."""
    again = (each for each in history if each.numbers.get(REPEATS))
    return any(feedback.is_right(each, "freshness", "freshness") for each in again)


def _arrival(
    record: Record, history: Sequence[Record], promised: timedelta | None, zone: ZoneInfo, *, repeats: bool
) -> Observation:
    """Whether this one came in time; the first of all is in time."""
    if not history:
        return Observation("freshness", "learning", 1.0)
    arrivals = delivered(map(arrival, history))
    found = judge_freshness(arrivals, record.recorded_at, promised=promised, zone=zone)
    hours = (record.recorded_at - arrivals[-1]).total_seconds() / 3_600
    if repeats:
        stale = judge_repetition(arrivals, record.recorded_at, promised=promised, zone=zone)
        if stale in UNUSUAL:
            return Observation("freshness", max(found.state, stale, key=STATES.index), 0.0, hours, note=STALE)
    return Observation("freshness", found.state, 1.0, hours, note="hours since the last other content")


def _moment(record: Record) -> np.datetime64:
    return np.datetime64(record.recorded_at.replace(tzinfo=None), "us")
