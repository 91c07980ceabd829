"""The history of a metric within what was expected: an SVG drawn on the server, and the same in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from secure_platform.monitor.anomaly import UNUSUAL
from secure_platform.monitor.history import Record

WIDTH: Final = 420
HEIGHT: Final = 64
_EDGE: Final = 5.0
POINTS: Final = 60


@dataclass(frozen=True)
class Dot:
    """A point that was unusual, or the newest."""

    x: float
    y: float
    state: str


@dataclass(frozen=True)
class Course:
    """A metric of a dataset over its newest records.

    Attributes:
        value: The newest number.
        low, high: What was expected of it; None while learning.
        state: What was said of it.
        since: When the first that is drawn was recorded.
        line: SVG path of the numbers.
        band: SVG path of what was expected; empty where nothing was.
        dots: Points that stand out.
        unusual: How many of those drawn were unusual.
    """

    metric: str
    value: float
    low: float | None
    high: float | None
    state: str
    since: datetime
    line: str
    band: str
    dots: tuple[Dot, ...]
    unusual: int


def course(metric: str, records: Sequence[Record]) -> Course | None:
    """Lay out one metric, oldest record first; None if the newest record does not have it."""
    if not records or metric not in records[-1].numbers:
        return None
    known = [each for each in records[-POINTS:] if metric in each.numbers]
    values = [each.numbers[metric] for each in known]
    said = [each.verdicts.get(metric, {}) for each in known]
    bands = [(verdict.get("low"), verdict.get("high")) for verdict in said]
    states = [str(verdict.get("state", "learning")) for verdict in said]
    place = _Scale.of(values, bands)
    dots = tuple(
        Dot(place.x(index), place.y(value), state)
        for index, (value, state) in enumerate(zip(values, states, strict=True))
        if state in UNUSUAL or index == len(values) - 1
    )
    return Course(
        metric=metric,
        value=values[-1],
        low=bands[-1][0],
        high=bands[-1][1],
        state=states[-1],
        since=known[0].recorded_at,
        line=_path([(place.x(index), place.y(value)) for index, value in enumerate(values)]),
        band=place.band(bands),
        dots=dots,
        unusual=sum(state in UNUSUAL for state in states),
    )


@dataclass(frozen=True)
class _Scale:
    """Where a number lies in the picture."""

    count: int
    least: float
    range: float

    @classmethod
    def of(cls, values: Sequence[float], bands: Sequence[tuple[float | None, float | None]]) -> "_Scale":
        edges = [edge for band in bands for edge in band if edge is not None]
        least, most = min([*values, *edges]), max([*values, *edges])
        return cls(len(values), least, most - least)

    def x(self, index: int) -> float:
        return _EDGE + (WIDTH - 2 * _EDGE) * (index / (self.count - 1) if self.count > 1 else 1.0)

    def y(self, value: float) -> float:
        share = (value - self.least) / self.range if self.range else 0.5
        return HEIGHT - _EDGE - (HEIGHT - 2 * _EDGE) * share

    def band(self, bands: Sequence[tuple[float | None, float | None]]) -> str:
        """The area between the edges, from the first point on that has them."""
        both = [
            (self.x(index), self.y(high), self.y(low))
            for index, (low, high) in enumerate(bands)
            if low is not None and high is not None
        ]
        above = [(x, high) for x, high, _ in both]
        below = [(x, low) for x, _, low in reversed(both)]
        return f"{_path([*above, *below])}Z" if len(both) > 1 else ""


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
