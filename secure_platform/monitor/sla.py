"""What a contract promises about deliveries, and how well that was kept, by calendar month.

The promise is a maximum age: after each delivery, the next is due within it. A later delivery is late by the
time for which the data were too old; each further interval that passes without one is a missed delivery. A
delivery in time counts in the month in which it came, a late or missed one in the month in which it was due.
The very first delivery counts as in time; a dataset that never arrived has one missed.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from secure_platform.control.database import as_utc
from secure_platform.monitor.incident import Incident

_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class SlaMonth:
    """One month.

    Attributes:
        month: `2026-11`, by the contract's clock.
        delivered: What came, promised or not.
        promised: What was to come: in time, late and never together. None where nothing is promised, as all
            that follows from it.
        fresh: Share of the time in which the data were no older than promised.
        late_p50, late_p95: Hours by which late deliveries were late.
        incidents: Those that were opened.
        contained: Those of them that a person acknowledged or settled.
        contain_p50, contain_p95: Hours until then.
    """

    month: str
    delivered: int
    promised: int | None
    in_time: int | None
    late: int | None
    never: int | None
    fresh: float | None
    late_p50: float | None
    late_p95: float | None
    incidents: int
    contained: int
    contain_p50: float | None
    contain_p95: float | None


@dataclass
class MonthCounts:
    """What is counted of one month; times in hours."""

    delivered: int = 0
    in_time: int = 0
    late: list[float] = field(default_factory=list)
    never: int = 0
    fresh: float = 0.0
    stale: float = 0.0
    incidents: int = 0
    contained: list[float] = field(default_factory=list)

    def add(self, other: "MonthCounts") -> None:
        """Count another one with it."""
        self.delivered += other.delivered
        self.in_time += other.in_time
        self.late += other.late
        self.never += other.never
        self.fresh += other.fresh
        self.stale += other.stale
        self.incidents += other.incidents
        self.contained += other.contained


Counted = Mapping[str, MonthCounts]
"""By month."""


def deliveries(
    arrivals: Sequence[datetime], now: datetime, *, promised: timedelta | None, zone: ZoneInfo
) -> Counted:
    """Count what came.

    Args:
        arrivals: When new data came, in order, aware.
        now: The present moment, aware; what is not due by now is not counted.
        promised: The greatest age that is allowed; None if nothing is promised.
        zone: Whose months they are.
    """
    found: defaultdict[str, MonthCounts] = defaultdict(MonthCounts)
    for at in arrivals:
        found[_month(at, zone)].delivered += 1
    if promised is None:
        return found
    if not arrivals:
        found[_month(now, zone)].add(MonthCounts(never=1, stale=promised / _HOUR))
        return found
    found[_month(arrivals[0], zone)].in_time += 1
    for start, end in pairwise([*arrivals, max(now, arrivals[-1])]):
        _silence(found, start, end, promised, zone)
    for before, at in pairwise(arrivals):
        due = before + promised
        if at <= due:
            found[_month(at, zone)].in_time += 1
        else:
            # Of all that was due in this silence, one came after all.
            found[_month(due, zone)].add(MonthCounts(never=-1, late=[(at - due) / _HOUR]))
    return found


def containments(incidents: Iterable[Incident], zone: ZoneInfo) -> Counted:
    """Count incidents in the month in which they were opened."""
    found: defaultdict[str, MonthCounts] = defaultdict(MonthCounts)
    for each in incidents:
        looked = each.contained_at
        hours = [] if looked is None else [(looked - each.opened_at) / _HOUR]
        found[_month(each.opened_at, zone)].add(MonthCounts(incidents=1, contained=hours))
    return found


def months(parts: Iterable[Counted]) -> list[SlaMonth]:
    """What all parts have together, the newest month first."""
    found: defaultdict[str, MonthCounts] = defaultdict(MonthCounts)
    for part in parts:
        for month, counts in part.items():
            found[month].add(counts)
    return [_told(month, found[month]) for month in sorted(found, reverse=True)]


def _silence(
    found: defaultdict[str, MonthCounts], start: datetime, end: datetime, promised: timedelta, zone: ZoneInfo
) -> None:
    """The time from one delivery to the next, fresh until it was due, and what was due in it."""
    due = start + promised
    for month, low, high in _split(start, min(due, end), zone):
        found[month].fresh += (high - low) / _HOUR
    for month, low, high in _split(due, end, zone):
        found[month].stale += (high - low) / _HOUR
        # Due are `due`, `due + promised` and so on: as many as begin in this part.
        found[month].never += -((due - high) // promised) + (due - low) // promised


def _split(start: datetime, end: datetime, zone: ZoneInfo) -> Iterator[tuple[str, datetime, datetime]]:
    """The parts of a time in each month."""
    while start < end:
        local = start.astimezone(zone)
        year, month = divmod(local.year * 12 + local.month, 12)
        stop = min(end, as_utc(datetime(year, month + 1, 1, tzinfo=zone)))
        yield _month(start, zone), start, stop
        start = stop


def _month(at: datetime, zone: ZoneInfo) -> str:
    return f"{at.astimezone(zone):%Y-%m}"


def _told(month: str, counts: MonthCounts) -> SlaMonth:
    promised = counts.in_time + len(counts.late) + counts.never
    whole = counts.fresh + counts.stale
    stated = bool(promised or whole)
    return SlaMonth(
        month=month,
        delivered=counts.delivered,
        promised=promised if stated else None,
        in_time=counts.in_time if stated else None,
        late=len(counts.late) if stated else None,
        never=counts.never if stated else None,
        fresh=counts.fresh / whole if whole else None,
        late_p50=_quantile(counts.late, 0.5),
        late_p95=_quantile(counts.late, 0.95),
        incidents=counts.incidents,
        contained=len(counts.contained),
        contain_p50=_quantile(counts.contained, 0.5),
        contain_p95=_quantile(counts.contained, 0.95),
    )


def _quantile(values: Sequence[float], share: float) -> float | None:
    """By nearest rank: one of the values."""
    return sorted(values)[math.ceil(share * len(values)) - 1] if values else None
