"""An incident collects everything that is wrong with a product in one way, until somebody settles it.

Each product has at most one unsettled incident of a kind: when a check finds the same thing again it is the
same signal, and what another check finds is added. A signal that is new, comes back or gets more severe makes
the incident worse and opens it again, even if it was acknowledged. An incident without remaining signals is
resolved automatically, unless it is about security or blocks deployments: those wait for a person.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal, Self, TypeAlias

from secure_platform.monitor.anomaly import HISTORY

Kind: TypeAlias = Literal["data", "production", "security", "run"]
State: TypeAlias = Literal["open", "acknowledged", "resolved", "false_alarm"]
Severity: TypeAlias = Literal["warn", "fail"]

MONITOR: Final = "service:monitor"
UNSETTLED: Final[frozenset[State]] = frozenset({"open", "acknowledged"})
SHOWN_METRICS: Final = 5
HISTORY_SEALED: Final = "history"
"""The check that the metrics history is the one that was written."""
WAIVERS: Final = "waivers"
"""The check that what is in production weaker than its profile requires still has leave to be."""
_SECURITY: Final = frozenset({"scan", "drift", "residual", "classification", HISTORY_SEALED, WAIVERS})
_PRODUCTION: Final = "production"
ACCESS: Final = "access"
"""In place of a zone where it is about somebody's use of the data; the dataset is the log's hash of them."""
RUN: Final = "run"


@dataclass(frozen=True)
class Sighting:
    """What a check said.

    Attributes:
        zone, dataset, check: Where; of a run the dataset is empty and the check names the job.
        snapshot_id: About what; the run's id for a run.
        state: What it said; None if all is well.
        blocking: Whether deployments must wait.
        metrics: Names of what was unusual.
    """

    zone: str
    dataset: str
    check: str
    snapshot_id: str
    state: Severity | None
    blocking: bool = False
    metrics: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind:
        """What kind of incident it belongs to."""
        if self.check in _SECURITY or self.zone == ACCESS:
            return "security"
        if self.zone == RUN:
            return "run"
        return "production" if self.zone == _PRODUCTION else "data"

    @property
    def place(self) -> tuple[str, str, str]:
        """The same for every sighting of one signal."""
        return self.zone, self.dataset, self.check


@dataclass(frozen=True)
class Signal:
    """What one check found, from the first time on.

    Attributes:
        snapshots: What it was found in, oldest first.
        times: In how many of them; the oldest may have been dropped from `snapshots`.
        recovered_at: When the check passed again; None while it does not.
    """

    zone: str
    dataset: str
    check: str
    state: Severity
    metrics: tuple[str, ...]
    snapshots: tuple[str, ...]
    times: int
    first_at: str
    last_at: str
    recovered_at: str | None = None

    @property
    def place(self) -> tuple[str, str, str]:
        """As of a sighting."""
        return self.zone, self.dataset, self.check

    @property
    def title(self) -> str:
        """How it is called: `volume of raw/patients`."""
        where = "/".join(filter(None, (self.zone, self.dataset)))
        return f"{self.check} of {where}"

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:
        """As the control database keeps it."""
        lists = {name: tuple(record[name]) for name in ("metrics", "snapshots")}
        return cls(**{**record, **lists})

    def to_json(self) -> dict[str, Any]:
        """For the control database."""
        return {**asdict(self), "metrics": list(self.metrics), "snapshots": list(self.snapshots)}


@dataclass(frozen=True)
class Incident:
    """What is wrong with a product.

    Attributes:
        severity: The gravest that any signal had.
        blocking: Whether deployments wait until it is acknowledged.
        release: What was in production, if it is about that.
        revision: Grows whenever it gets worse.
        worse_at: When it last got worse.
        note: What was said when it was settled.
    """

    incident_id: str
    product: str
    kind: Kind
    state: State
    severity: Severity
    blocking: bool
    release: str | None
    signals: tuple[Signal, ...]
    revision: int
    opened_at: datetime
    worse_at: datetime
    acknowledged_by: str | None = None
    acknowledged_at: datetime | None = None
    closed_by: str | None = None
    closed_at: datetime | None = None
    note: str | None = None

    @property
    def unsettled(self) -> bool:
        """Whether what is found joins it."""
        return self.state in UNSETTLED

    @property
    def waiting(self) -> tuple[Signal, ...]:
        """The signals whose check has not passed again."""
        return tuple(signal for signal in self.signals if signal.recovered_at is None)

    @property
    def lasts(self) -> bool:
        """Whether only a person can end it."""
        return self.blocking or self.kind == "security"

    @property
    def judged(self) -> bool:
        """Whether a person took it for what it is."""
        return self.acknowledged_by is not None or self.closed_by not in {None, MONITOR}

    @property
    def contained_at(self) -> datetime | None:
        """When a person first acknowledged or settled it; None if it ended by itself, or nobody did."""
        return self.acknowledged_at or (self.closed_at if self.judged else None)


def begin(incident_id: str, product: str, sightings: Sequence[Sighting], now: datetime) -> Incident:
    """The incident of a kind that these make; all of them are wrong and of that kind."""
    signals = tuple(_signal(sighting, now) for sighting in _distinct(sightings))
    return Incident(
        incident_id=incident_id,
        product=product,
        kind=sightings[0].kind,
        state="open",
        severity=_gravest(signals),
        blocking=any(sighting.blocking for sighting in sightings),
        release=None,
        signals=signals,
        revision=1,
        opened_at=now,
        worse_at=now,
    )


def join(incident: Incident, sightings: Iterable[Sighting], now: datetime) -> Incident:
    """The unsettled incident after what was seen; the same object if nothing changed."""
    signals = {signal.place: signal for signal in incident.signals}
    blocking, worse = incident.blocking, False
    for sighting in sightings:
        known = signals.get(sighting.place)
        if sighting.state is None:
            if known is not None:
                signals[sighting.place] = _recovered(known, now)
            continue
        signals[sighting.place] = again = _again(known, sighting, now)
        blocking = blocking or sighting.blocking
        worse = worse or _is_worse(known, again)
    found = tuple(signals.values())
    if found == incident.signals and blocking == incident.blocking:
        return incident
    grown = replace(incident, signals=found, blocking=blocking, severity=_gravest(found))
    if worse:
        return replace(grown, state="open", revision=incident.revision + 1, worse_at=now)
    if grown.waiting or grown.lasts:
        return grown
    return replace(grown, state="resolved", closed_by=MONITOR, closed_at=now)


def timeline(incident: Incident) -> list[tuple[datetime, str]]:
    """What happened when, oldest first."""
    said = [(incident.opened_at, "opened")]
    for signal in incident.signals:
        said.append((datetime.fromisoformat(signal.first_at), f"{signal.title}: {signal.state}"))
        if signal.recovered_at is not None:
            said.append((datetime.fromisoformat(signal.recovered_at), f"{signal.title}: passes again"))
    if incident.acknowledged_at is not None:
        said.append((incident.acknowledged_at, f"acknowledged by {incident.acknowledged_by}"))
    if incident.revision > 1:
        said.append((incident.worse_at, "got worse"))
    if incident.closed_at is not None:
        said.append((incident.closed_at, f"{incident.state.replace('_', ' ')} by {incident.closed_by}"))
    return sorted(said, key=lambda each: each[0])


def _signal(sighting: Sighting, now: datetime) -> Signal:
    at = now.isoformat()
    return Signal(
        *sighting.place,
        state=sighting.state or "warn",
        metrics=sighting.metrics[:SHOWN_METRICS],
        snapshots=(sighting.snapshot_id,),
        times=1,
        first_at=at,
        last_at=at,
    )


def _again(known: Signal | None, sighting: Sighting, now: datetime) -> Signal:
    """The signal with one more sighting; the same about the same snapshot says nothing new."""
    fresh = _signal(sighting, now)
    if known is None:
        return fresh
    new = sighting.snapshot_id not in known.snapshots
    if not new and known.recovered_at is None and _grave(fresh) <= _grave(known):
        return known
    return replace(
        known,
        state=max(known, fresh, key=_grave).state,
        metrics=fresh.metrics,
        snapshots=(*known.snapshots, sighting.snapshot_id)[-HISTORY:] if new else known.snapshots,
        times=known.times + new,
        last_at=fresh.last_at,
        recovered_at=None,
    )


def _recovered(known: Signal, now: datetime) -> Signal:
    if known.recovered_at is not None:
        return known
    return replace(known, recovered_at=now.isoformat())


def _is_worse(before: Signal | None, after: Signal) -> bool:
    return before is None or before.recovered_at != after.recovered_at or _grave(before) < _grave(after)


def _grave(signal: Signal) -> int:
    return ("warn", "fail").index(signal.state)


def _gravest(signals: Iterable[Signal]) -> Severity:
    return max(signals, key=_grave).state


def _distinct(sightings: Iterable[Sighting]) -> Iterable[Sighting]:
    return {sighting.place: sighting for sighting in sightings}.values()
