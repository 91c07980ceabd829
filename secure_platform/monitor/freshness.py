"""Data are late if they come later than promised, or later than they usually come.

A dataset that was promised and never arrived is late. A broken promise is `fail`; an unusual delay alone is
`warn`. What is usual is learned by day of the week, so that a weekend without a delivery is not late if there
never is one. Delivering the same data again does not count as a delivery.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from secure_platform.monitor.anomaly import UTC, State
from secure_platform.monitor.statistics import median, spread

Vector = npt.NDArray[np.float64]

LEARNING_ARRIVALS: Final = 8
_SAME_DAY: Final = 3
"""So many arrivals on one weekday speak for it."""
_LEEWAY: Final = 0.1
"""Share of the usual interval that is never late."""
_FAR: Final = 5.0
_CHANGED: Final = 3
"""So many different contents say that there is another with every delivery."""


@dataclass(frozen=True)
class Freshness:
    """Whether a dataset is late.

    Attributes:
        state: The verdict.
        age: Since the last arrival; None if there never was one.
        expected: When the next was usually there by; None while learning.
        deadline: When it must be there by; None without a promise.
    """

    state: State
    age: timedelta | None
    expected: datetime | None
    deadline: datetime | None


def judge_freshness(
    arrivals: Sequence[datetime], now: datetime, *, promised: timedelta | None, zone: ZoneInfo = UTC
) -> Freshness:
    """Judge whether the next delivery is late.

    Args:
        arrivals: When earlier ones came, in order, aware.
        now: The present moment, aware.
        promised: The greatest age that the contract allows.
        zone: Whose weekdays they are.
    """
    if not arrivals:
        return Freshness("fail" if promised is not None else "learning", None, None, None)
    last = arrivals[-1]
    deadline = last + promised if promised is not None else None
    expected = _expected(arrivals, zone)
    state: State = "pass"
    if deadline is not None and now > deadline:
        state = "fail"
    elif expected is not None and now > expected:
        state = "warn"
    elif expected is None and deadline is None:
        state = "learning"
    return Freshness(state, now - last, expected, deadline)


def judge_repetition(
    arrivals: Sequence[datetime],
    now: datetime,
    *,
    promised: timedelta | None,
    earlier: bool = False,
    zone: ZoneInfo = UTC,
) -> State:
    """Judge a source that was written again, and holds what it held before.

    A table that rarely changes is written again rightly: one is stale that was another with every delivery,
    after about as long as its deliveries usually took.

    Args:
        arrivals: When different contents came, in order, aware.
        now: The present moment, aware.
        promised: The greatest age that the contract allows; who promises one has data that change.
        earlier: Whether it is the content of an earlier one than the newest.
        zone: Whose weekdays they are.

    Returns:
        `fail` of data with a promise, else `warn`; `pass` where it is right, `learning` with too few.
    """
    if len(arrivals) < (_CHANGED if promised is None else _CHANGED - 1):
        return "learning"
    intervals, same = _intervals(arrivals, zone)
    intervals = same if len(same) >= _SAME_DAY else intervals
    due = (now - arrivals[-1]).total_seconds() >= (1 - _LEEWAY) * float(median(intervals))
    if not (earlier or due):
        return "pass"
    return "fail" if promised is not None else "warn"


def _intervals(arrivals: Sequence[datetime], zone: ZoneInfo) -> tuple[Vector, Vector]:
    """Seconds from each arrival to the next: all, and those after an arrival on the last one's weekday."""
    intervals = np.array([(later - earlier).total_seconds() for earlier, later in pairwise(arrivals)])
    weekdays = np.array([moment.astimezone(zone).weekday() for moment in arrivals])
    return intervals, intervals[weekdays[:-1] == weekdays[-1]]


def _expected(arrivals: Sequence[datetime], zone: ZoneInfo) -> datetime | None:
    """The end of the usual interval after the last arrival, with leeway."""
    if len(arrivals) <= LEARNING_ARRIVALS:
        return None
    intervals, same = _intervals(arrivals, zone)
    if len(same) < _SAME_DAY:
        same = intervals
        usual = float(np.max(intervals))
    else:
        usual = float(median(same))
    wander = float(spread(same - usual)) if len(same) >= _SAME_DAY else 0.0
    return arrivals[-1] + timedelta(seconds=usual + max(_LEEWAY * usual, _FAR * wander))
