"""A dataset's row count is judged against its own history, never against the point under test.

Before enough history exists the state is `learning`, which passes: a check that guesses is switched off soon.
The band is a robust one: median ± max(half the median, six median absolute deviations).
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from sqlalchemy import insert, select

from secure_platform.control.database import ControlDatabase, utc_now
from secure_platform.control.tables import metric

HISTORY: Final = 60
LEARNING_POINTS: Final = 5
RELATIVE_BAND: Final = 0.5
DEVIATIONS: Final = 6.0

State = Literal["learning", "pass", "warn"]


@dataclass(frozen=True)
class VolumeState:
    """The verdict on one row count.

    Attributes:
        state: `learning`, `pass` or `warn`.
        rows: The row count under test.
        low: Least expected row count; None while learning.
        high: Greatest expected row count; None while learning.
        points: How many earlier snapshots were used.
    """

    state: State
    rows: int
    low: float | None
    high: float | None
    points: int


class Metrics:
    """Numbers about snapshots over time, in the control database; a snapshot has each metric once."""

    def __init__(self, database: ControlDatabase) -> None:
        self._database = database

    def record(
        self, *, product: str, dataset: str, zone: str, snapshot_id: str, values: dict[str, float]
    ) -> None:
        """Keep these metrics of a snapshot; those it already has stay as they are."""
        with self._database.write() as connection:
            known: set[str] = set(
                connection.scalars(select(metric.c.name).where(metric.c.snapshot_id == snapshot_id))
            )
            rows = [
                {
                    "product": product,
                    "dataset": dataset,
                    "zone": zone,
                    "name": name,
                    "value": value,
                    "snapshot_id": snapshot_id,
                    "recorded_at": utc_now(),
                }
                for name, value in values.items()
                if name not in known
            ]
            if rows:
                connection.execute(insert(metric), rows)

    def history(
        self, *, product: str, dataset: str, zone: str, name: str, before: str | None = None
    ) -> list[float]:
        """The newest values of a metric, oldest first.

        Args:
            product: The data product.
            dataset: The dataset.
            zone: The zone.
            name: The metric.
            before: A snapshot id that is left out: the point under test is never in its own baseline.
        """
        query = (
            select(metric.c.value)
            .where(
                metric.c.product == product,
                metric.c.dataset == dataset,
                metric.c.zone == zone,
                metric.c.name == name,
                metric.c.snapshot_id != (before or ""),
            )
            .order_by(metric.c.id.desc())
            .limit(HISTORY)
        )
        with self._database.read() as connection:
            values: list[float] = list(connection.scalars(query))
        return values[::-1]


def judge_volume(rows: int, history: Sequence[float]) -> VolumeState:
    """Compare a row count with earlier ones."""
    if len(history) < LEARNING_POINTS:
        return VolumeState("learning", rows, None, None, len(history))
    centre = statistics.median(history)
    deviation = statistics.median(abs(value - centre) for value in history)
    band = max(RELATIVE_BAND * centre, DEVIATIONS * deviation)
    low, high = max(0.0, centre - band), centre + band
    return VolumeState("pass" if low <= rows <= high else "warn", rows, low, high, len(history))
