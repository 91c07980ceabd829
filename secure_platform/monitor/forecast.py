"""Predicts the next point of a series, and how certain that is, from the points before it alone.

Seasons and slope are learned from the training columns. A level then follows what they leave unexplained,
point by point: a single outlier hardly moves it, a lasting shift moves it completely. How fast it follows is
chosen for each series by how well it would have predicted the training columns, and its errors there are the
scale.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from secure_platform.monitor.seasons import Season, effects
from secure_platform.monitor.statistics import Matrix, median, noise, spread

_SPEEDS: Final = (0.02, 0.08, 0.2, 0.5, 1.0)
"""How much of an error the level takes over."""
_RELUCTANCE: Final = np.repeat([1.0, 1.02, 1.05, 1.1, 1.15], 2)[:, None]
"""What a faster level must be better by: following noise costs later."""
_LASTING: Final = 3
"""So many points far off on one side are a new level."""
_EFFICIENCY: Final = 0.75
"""Of a scale from quantiles, beside one from squares."""
_FAR: Final = 2.0
_WARM_UP: Final = 4
"""Points before the level has found its place; their errors do not count."""


@dataclass(frozen=True)
class Forecast:
    """One expectation per series and tested column.

    Attributes:
        centre: What was expected.
        scale: Its standard error, the noise of a single point included.
        freedom: Degrees of freedom of the scale, per series.
    """

    centre: Matrix
    scale: Matrix
    freedom: Matrix


def forecast(values: Matrix, seasons: Sequence[Season], train: int) -> Forecast:
    """Foretell each column from `train` on by those before it.

    Args:
        values: One series per row; NaN where nothing was observed or an incident is left out.
        seasons: As `seasons()` found them.
        train: How many columns are learned from.
    """
    season, doubt = effects(values, seasons, train)
    left = values - season
    known = left[:, :train]
    errors, expected = _follow(left, _slope(known), _jolt(known))
    judged = errors[:, :, _WARM_UP:train]
    scales = spread(judged)
    best = np.argmin(np.where(np.isfinite(scales), scales * _RELUCTANCE, np.inf), axis=0)
    rows = np.arange(len(values))
    seen = np.isfinite(known).sum(axis=1).astype(np.float64)
    tested = doubt[:, train:]
    # The training points helped to make the effects that were taken out of them.
    flattered = np.sqrt(1.0 / np.maximum(1.0 - np.minimum(doubt[:, :train].mean(axis=1), 0.7), 0.3))
    scale = (noise(judged[best, rows]) * flattered)[:, None] * np.sqrt(1.0 + tested)
    return Forecast(
        centre=expected[best, rows, train:] + season[:, train:],
        scale=scale,
        freedom=np.maximum(_EFFICIENCY * (seen - _WARM_UP) - 1, 2.0),
    )


def _slope(known: Matrix) -> Matrix:
    """Change per column; nothing where noise could have made it."""
    half = known.shape[1] // 2
    if half < 2:  # noqa: PLR2004
        return np.zeros(len(known))
    rises = (known[:, half:] - known[:, :-half]) / half
    slope = median(rises)
    error = spread(rises - slope[:, None]) / np.sqrt(np.maximum(np.isfinite(rises).sum(axis=1), 1))
    return np.nan_to_num(np.where(np.abs(slope) > 2.0 * error, slope, 0.0))


def _jolt(known: Matrix) -> Matrix:
    """The largest step that is still noise."""
    steps = np.diff(known, axis=1)
    return np.nan_to_num(_FAR * spread(steps)) + 1e-12


def _follow(left: Matrix, slope: Matrix, jolt: Matrix) -> tuple[Matrix, Matrix]:
    """Errors and expectations of every speed, with and without the slope: (choice, series, column)."""
    speeds = np.repeat(np.array(_SPEEDS), 2)[:, None]
    drift = np.tile([[0.0], [1.0]], (len(_SPEEDS), 1)) * slope
    size = (len(speeds), *left.shape)
    errors, expected = np.full(size, np.nan), np.empty(size)
    start = np.nan_to_num(median(left[:, : 2 * _WARM_UP + 1]))
    level = np.broadcast_to(start, drift.shape) - drift * _WARM_UP
    run, total = np.zeros(drift.shape), np.zeros(drift.shape)
    least = np.zeros(drift.shape)
    for column in range(left.shape[1]):
        level = level + drift
        error = left[:, column] - level
        expected[:, :, column], errors[:, :, column] = level, error
        error = np.where(np.isfinite(error), error, 0.0)
        far = np.abs(error) > jolt
        same = far & (np.sign(total) == np.sign(error))
        run = np.where(same, run + 1, far)
        total = np.where(same, total + error, np.where(far, error, 0.0))
        least = np.where(same, np.minimum(least, np.abs(error)), np.abs(error))
        moved = speeds * np.where(np.abs(error) > 2 * jolt, 0.0, np.clip(error, -jolt, jolt))
        lasting = (run >= _LASTING) & ((2 * least * run >= np.abs(total)) | (run >= 2 * _LASTING))
        level = level + np.where(lasting, total / np.maximum(run, 1), moved)
        run, total = np.where(lasting, 0, run), np.where(lasting, 0.0, total)
    return errors, expected
