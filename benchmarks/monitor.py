"""Anomalies found and false alarms on labelled series, beside z-scores and a seasonal baseline.

The z-scores are Elementary's defaults: 14 days, three deviations, the point under test among those that the
mean is taken over; by day of week, over seven times as long, and with the flag that leaves the point out. The
baseline compares with the same slot a week earlier. All judge the same points of the same series.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.anomalies import Daily, Labelled, Matrix, Tally, daily, nab
from benchmarks.bench import Bench, Figure
from benchmarks.measure import Stopwatch
from secure_platform.monitor.anomaly import WARN_SHARE, Sensitivity, judge
from secure_platform.monitor.seasons import cadence

Alarms = npt.NDArray[np.bool_]

OURS: Final = "seasonal detector"
ZSCORE: Final = "z-score, 14 days"
SEASONAL: Final = "z-score by day of week"
LEFT_OUT: Final = "z-score by day of week, point left out"
WEEK_AGO: Final = "same slot a week ago"
SETS: Final[Mapping[str, int]] = {"clean": 0, "contaminated": 3}
NOISE: Final = (0.03, 0.05, 0.08)
LOOK_BACK: Final = 4_032
"""Points of a stream that are learned from: two weeks of five minutes."""
STRICT: Final = 1e-5
"""Of a stream that is judged every five minutes, somebody looks at what happens once in a year."""


def run(bench: Bench) -> list[Figure]:
    figures = []
    for name, outliers in SETS.items():
        made = bench.measure(
            f"{name} daily series", "monitor:made", outliers=outliers, series=bench.scale.series
        )
        figures += _made(name, made.detail)
    streams = bench.measure("NAB", "monitor:streams", tables=bench.scale.tables)
    for detector, found in streams.detail["found"].items():
        figures += [
            Figure(f"NAB windows found, {detector}", found["recall"], "share"),
            Figure(f"NAB alarms that are right, {detector}", found["precision"], "share"),
            Figure(f"NAB points that raise a false alarm, {detector}", found["false"], "share"),
            Figure(f"NAB standard score, {detector}", found["standard"], "share"),
        ]
    per_series = 1e3 * streams.wall / streams.detail["series"]
    return [*figures, Figure("NAB, all detectors", per_series, "ms per series")]


def _made(name: str, detail: Mapping[str, Any]) -> list[Figure]:
    figures = []
    for detector, found in detail["found"].items():
        ours = detector == OURS
        against = "" if ours else detector
        figures += [
            Figure(
                f"recall, {name}, {detector}", found["recall"], "share", against, 0.95 if ours else None, True
            ),
            Figure(f"precision, {name}, {detector}", found["precision"], "share", against),
            Figure(
                f"false alarms, {name}, {detector}", found["false"], "share", against, 0.01 if ours else None
            ),
        ]
    return [*figures, Figure(f"{name} series", detail["speed"], "per second", "", 1_000, at_least=True)]


def made(watch: Stopwatch, outliers: int, series: int) -> dict[str, Any]:
    """Daily counts at several levels of noise, each series judged on its last day."""
    sets = [daily(series, seed=seed, noise=noise, outliers=outliers) for seed, noise in enumerate(NOISE)]
    with watch:
        ours = [_ours(given) for given in sets]
    alarms = {OURS: ours, **{name: [peer(given.values) for given in sets] for name, peer in PEERS.items()}}
    return {
        "found": {name: _tallied(sets, given) for name, given in alarms.items()},
        "speed": len(sets) * series / watch.wall,
    }


def _ours(given: Daily) -> Alarms:
    return judge(given.times, given.values, Sensitivity("count")).chance[:, -1] < WARN_SHARE


def _tallied(sets: list[Daily], alarms: list[Alarms]) -> dict[str, float]:
    broken = np.concatenate([given.broken for given in sets])
    raised = np.concatenate(alarms)
    right, wrong = (raised & broken).sum(), (raised & ~broken).sum()
    return {
        "recall": float(right / broken.sum()),
        "precision": float(right / max(right + wrong, 1)),
        "false": float(wrong / (~broken).sum()),
    }


def _zscore(values: Matrix) -> Alarms:
    window = values[:, -15:]
    raised: Alarms = np.abs(values[:, -1] - window.mean(axis=1)) > 3 * window.std(axis=1, ddof=1)
    return raised


def _by_weekday(values: Matrix) -> Alarms:
    return _zscore(values[:, (values.shape[1] - 1) % 7 :: 7])


def _weekday_left_out(values: Matrix) -> Alarms:
    earlier = values[:, (values.shape[1] - 1) % 7 :: 7][:, :-1]
    raised: Alarms = np.abs(values[:, -1] - earlier.mean(axis=1)) > 3 * earlier.std(axis=1, ddof=1)
    return raised


def _week_ago(values: Matrix) -> Alarms:
    change = np.log(np.maximum(values[:, 7:], 1) / np.maximum(values[:, :-7], 1))
    raised: Alarms = np.abs(change[:, -1]) > 3 * change[:, :-1].std(axis=1, ddof=1)
    return raised


PEERS: Final[Mapping[str, Callable[[Matrix], Alarms]]] = {
    ZSCORE: _zscore,
    SEASONAL: _by_weekday,
    LEFT_OUT: _weekday_left_out,
    WEEK_AGO: _week_ago,
}


def streams(watch: Stopwatch, tables: int | None) -> dict[str, Any]:
    """NAB's series, every point after the probation."""
    given = list(nab())[:tables]
    found: dict[str, Tally] = {}
    with watch:
        for series in given:
            ours = _walk(series)
            for name, alarms in {
                OURS: ours < WARN_SHARE,
                f"{OURS}, strict": ours < STRICT,
                ZSCORE: _trailing(series),
                WEEK_AGO: _slot_ago(series),
            }.items():
                found.setdefault(name, Tally()).add(series, alarms)
    return {"found": {name: tally.figures() for name, tally in found.items()}, "series": len(given)}


def _walk(series: Labelled) -> Matrix:
    """The chance of every point: learned again each time the stream has grown by a fourth."""
    chance = np.ones(len(series.values))
    done = series.probation
    while done < len(series.values):
        first, end = max(0, done - LOOK_BACK), min(len(series.values), done + max(done // 4, 1))
        judged = judge(
            series.times[first:end], series.values[None, first:end], Sensitivity(), train=done - first
        )
        chance[done:end] = judged.chance[0]
        done = end
    return chance


def _trailing(series: Labelled) -> Alarms:
    """Three deviations from the mean of the last 14 days, the point included."""
    points = min(len(series.values), max(round(14 * 86_400 / cadence(series.times)), 15))
    sums = np.cumsum(np.pad(np.stack([series.values, np.square(series.values)]), ((0, 0), (1, 0))), axis=1)
    index = np.arange(1, len(series.values) + 1)
    start = np.maximum(index - points, 0)
    mean, square = (sums[:, index] - sums[:, start]) / (index - start)
    deviation = np.sqrt(np.maximum(square - np.square(mean), 0.0))
    raised: Alarms = np.abs(series.values - mean) > 3 * deviation
    return raised


def _slot_ago(series: Labelled) -> Alarms:
    """Three deviations of the usual change since the same slot a week earlier; a day, in short series."""
    step = cadence(series.times)
    lag = round((7 if len(series.values) * step > 21 * 86_400 else 1) * 86_400 / step)
    lag = min(lag, len(series.values) // 2)
    change = np.zeros(len(series.values))
    change[lag:] = series.values[lag:] - series.values[:-lag]
    count = np.maximum(np.arange(len(change)) - lag, 1)
    before = np.sqrt(np.concatenate([[0.0], np.cumsum(np.square(change))[:-1]]) / count)
    raised: Alarms = np.abs(change) > 3 * before
    raised[: 2 * lag] = False
    return raised
