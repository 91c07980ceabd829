"""The detectors learn from what people said about earlier points.

What somebody acknowledged or resolved was really wrong, so nothing is learned from it. What somebody called a
false alarm was right: it is learned from, and deviations no larger than it are not reported again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from secure_platform.monitor.anomaly import UNUSUAL
from secure_platform.monitor.history import Record
from secure_platform.monitor.incident import Incident

Point = tuple[str, str]
"""A snapshot and a check on it."""


@dataclass(frozen=True)
class Feedback:
    """The points that people judged.

    Attributes:
        wrong: They were.
        right: They were not, although a check said so.
    """

    wrong: frozenset[Point] = frozenset()
    right: frozenset[Point] = frozenset()

    @classmethod
    def of(cls, incidents: Iterable[Incident]) -> Self:
        """As the incidents of a product say; what was right in one of them is right."""
        judged = [incident for incident in incidents if incident.judged]
        right = _points(each for each in judged if each.state == "false_alarm")
        return cls(wrong=_points(judged) - right, right=right)

    def is_wrong(self, record: Record, metric: str, check: str) -> bool:
        """Whether nothing is learned from this number."""
        return (record.snapshot_id, check) in self.wrong and _was_unusual(record, metric)

    def is_told(self, record: Record, metric: str, check: str) -> bool:
        """Whether this number was unusual, and nobody called that a false alarm."""
        return _was_unusual(record, metric) and (record.snapshot_id, check) not in self.right

    def is_right(self, record: Record, metric: str, check: str) -> bool:
        """Whether this number was unusual, and somebody called that a false alarm."""
        return _was_unusual(record, metric) and (record.snapshot_id, check) in self.right

    def allowance(self, records: Iterable[Record], metric: str, check: str) -> "Allowance":
        """How far off the metric may be, after what was called a false alarm."""
        found = [record.verdicts[metric] for record in records if self.is_right(record, metric, check)]
        off = [
            said["value"] - said["expected"]
            for said in found
            if None not in (said["value"], said["expected"])
        ]
        return Allowance(below=max((-each for each in off), default=0.0), above=max(off, default=0.0))


@dataclass(frozen=True)
class Allowance:
    """How far from what is expected a number is still right."""

    below: float = 0.0
    above: float = 0.0

    def covers(self, value: float, expected: float) -> bool:
        """Whether the number is no further off than one that was right."""
        off = value - expected
        return 0 < off <= self.above or 0 < -off <= self.below


NONE: Final = Feedback()


def _points(incidents: Iterable[Incident]) -> frozenset[Point]:
    return frozenset(
        (snapshot, signal.check)
        for incident in incidents
        for signal in incident.signals
        for snapshot in signal.snapshots
    )


def _was_unusual(record: Record, metric: str) -> bool:
    said: Mapping[str, Any] = record.verdicts.get(metric, {})
    return said.get("state") in UNUSUAL
