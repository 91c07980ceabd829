"""Labelled series: daily counts that are made, and the Numenta Anomaly Benchmark's, with its own score."""

import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

Times = npt.NDArray[np.datetime64]
Matrix = npt.NDArray[np.float64]

PROBATION: Final = 0.15
MONDAY: Final = np.datetime64("2026-01-05T04:00:00", "s")
ROUND: Final = np.timedelta64(86_400, "s")
WEIGHTS: Final = {"hit": 1.0, "miss": 1.0, "false": 0.11}
"""NAB's standard profile."""


@dataclass(frozen=True)
class Daily:
    """Many series over the same days; the last point of half of them is broken."""

    times: Times
    values: Matrix
    broken: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Labelled:
    """One series of NAB and the windows in which something happened."""

    name: str
    times: Times
    values: Matrix
    windows: tuple[tuple[int, int], ...]

    @property
    def probation(self) -> int:
        """Points at the beginning that are not judged."""
        return int(PROBATION * len(self.values))


def daily(series: int, *, seed: int, noise: float, outliers: int, days: int = 56) -> Daily:
    """Weekday and weekend levels, growth, lognormal noise; x 0.5 or x 1.6 on the last day of half of them."""
    rng = np.random.default_rng(seed)
    day = np.arange(days)
    size = (series, days)
    level = rng.uniform(500, 50_000, (series, 1))
    weekend = np.where(day % 7 >= 5, rng.uniform(0.3, 0.9, (series, 1)), 1.0)
    growth = np.exp(rng.uniform(-0.002, 0.006, (series, 1)) * day)
    values = level * weekend * growth * np.exp(rng.normal(0, noise, size))
    for row in values if outliers else ():
        row[rng.choice(days - 1, outliers, replace=False)] *= rng.choice([0.1, 0.3, 3.0, 5.0], outliers)
    broken = np.arange(series) < series // 2
    values[broken, -1] *= rng.choice([0.5, 1.6], int(broken.sum()))
    return Daily(MONDAY + day * ROUND, np.round(values), broken)


def test_data() -> Path:
    """The folder of third-party data: named in the environment, or beside the checkout."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get("SECURE_PLATFORM_TEST_DATA", beside))


def nab() -> Iterator[Labelled]:
    """The series of NAB beside the checkout, in order of name."""
    folder = test_data() / "timeseries" / "nab"
    labels: dict[str, list[list[str]]] = json.loads(
        (folder / "combined_windows.json").read_text(encoding="utf-8")
    )
    for name, windows in sorted(labels.items()):
        path = folder / name
        frame = pl.read_csv(path if path.exists() else f"{path}.gz", try_parse_dates=True).sort(
            "timestamp", maintain_order=True
        )
        times = frame["timestamp"].cast(pl.Datetime("us")).to_numpy()
        places = tuple(
            (
                int(np.searchsorted(times, np.datetime64(start))),
                int(np.searchsorted(times, np.datetime64(end), side="right")) - 1,
            )
            for start, end in windows
        )
        yield Labelled(name, times, frame["value"].cast(pl.Float64).to_numpy(), places)


@dataclass
class Tally:
    """What the alarms on NAB were worth.

    Attributes:
        hits: Windows with an alarm.
        windows: All of them.
        false: Alarms outside every window.
        quiet: Judged points outside every window.
        score: NAB's raw score.
    """

    hits: int = 0
    windows: int = 0
    false: int = 0
    quiet: int = 0
    score: float = 0.0

    def add(self, series: Labelled, alarms: npt.NDArray[np.bool_]) -> None:
        """Count one series."""
        alarms = alarms.copy()
        alarms[: series.probation] = False
        inside = np.zeros(len(alarms), dtype=bool)
        for start, end in series.windows:
            inside[start : end + 1] = True
            found = np.flatnonzero(alarms[start : end + 1])
            self.windows += 1
            self.hits += bool(len(found))
            if len(found):
                place = -(end - start - found[0] + 1) / (end - start + 1)
                self.score += WEIGHTS["hit"] * _sigmoid(place) / _sigmoid(-1.0)
            else:
                self.score -= WEIGHTS["miss"]
        self.quiet += int((~inside[series.probation :]).sum())
        for point in np.flatnonzero(alarms & ~inside):
            self.false += 1
            self.score += WEIGHTS["false"] * _after(series, int(point))

    @property
    def standard(self) -> float:
        """NAB's standard score: 0 for silence, 1 for one alarm at the start of every window."""
        null, perfect = -WEIGHTS["miss"] * self.windows, WEIGHTS["hit"] * self.windows
        return (self.score - null) / max(perfect - null, 1.0)

    def figures(self) -> dict[str, Any]:
        """As a child process gives them back."""
        return {
            "recall": self.hits / max(self.windows, 1),
            "precision": self.hits / max(self.hits + self.false, 1),
            "false": self.false / self.quiet,
            "standard": self.standard,
        }


def _after(series: Labelled, point: int) -> float:
    """How bad a false alarm is: soon after a window less than far from any."""
    before = [window for window in series.windows if window[1] < point]
    if not before:
        return -1.0
    start, end = before[-1]
    return _sigmoid((point - end) / max(end - start, 1))


def _sigmoid(place: float) -> float:
    return -1.0 if place > 3 else 2 / (1 + math.exp(5 * place)) - 1
