"""Robust statistics over many series at once: rows are series, columns are times, NaN is no observation."""

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]

NORMAL: Final = {0.5: 0.6744897501960817, 0.7: 1.0364333894937896, 0.85: 1.4395314709384563}
"""The quantiles of |x| for a standard normal x."""

_NORMAL_CURVE: Final = NormalDist()
_GROSS: Final = 4.0
_OUTLIERS: Final = 3
_OUTLIERS_IN: Final = 20
_MOST_OUTLIERS: Final = 8
"""3 errors of a history, and one more in 20, but 8 at most, may be incidents that nobody has acknowledged."""


def quantiles(values: Matrix, shares: Sequence[float]) -> list[Matrix]:
    """Quantiles along the last axis without its NaN; NaN where nothing was observed."""
    if not values.shape[-1]:
        return [np.full(values.shape[:-1], np.nan) for _ in shares]
    ordered = np.sort(values, axis=-1)
    last = np.maximum(np.isfinite(ordered).sum(axis=-1) - 1, 0)
    found = []
    for share in shares:
        place = last * share
        low, high = np.floor(place).astype(int), np.ceil(place).astype(int)
        below, above = (np.take_along_axis(ordered, at[..., None], axis=-1)[..., 0] for at in (low, high))
        found.append(below + (above - below) * (place - low))
    return found


def median(values: Matrix) -> Matrix:
    """Median along the last axis without its NaN."""
    return quantiles(values, (0.5,))[0]


def spread(errors: Matrix) -> Matrix:
    """The standard deviation that quantiles of |error| speak of; a seventh of the errors may be anything."""
    found = quantiles(np.abs(errors), tuple(NORMAL))
    levels = [value / normal for value, normal in zip(found, NORMAL.values(), strict=True)]
    return sum(levels[1:], levels[0]) / len(levels)


def noise(errors: Matrix) -> Matrix:
    """The scale by which a further error is judged: the body of the errors, and what their tail adds to it.

    A few gross errors may be incidents that nobody has acknowledged; they count for nothing. More of them
    belong to the series: one that mostly stands still and sometimes bursts has no spread of its own.
    """
    sizes = -np.sort(-np.nan_to_num(np.abs(errors), nan=0.0), axis=-1)
    rough = spread(errors)
    if not sizes.shape[-1]:
        return rough
    gross = np.abs(errors) > _GROSS * rough[:, None]
    counts, incidents = np.isfinite(errors).sum(axis=-1), gross.sum(axis=-1)
    body = spread(np.where(gross, np.nan, errors))
    rank = np.minimum(np.minimum(_OUTLIERS + counts // _OUTLIERS_IN, _MOST_OUTLIERS), sizes.shape[-1] - 1)
    incidents = np.where(incidents > rank, 0, incidents)
    share = np.clip((rank - incidents + 0.5) / np.maximum(counts - incidents, 1), 0.0, 0.5)
    known, places = np.unique(share, return_inverse=True)
    normal = np.array([_NORMAL_CURVE.inv_cdf(1 - part / 2) for part in known])[places]
    heard = np.where(np.arange(sizes.shape[-1]) >= rank[:, None], sizes, 0.0)
    root = np.sqrt(np.square(heard).sum(axis=-1) / np.maximum(counts - rank, 1))
    largest = np.take_along_axis(sizes, rank[:, None], axis=-1)[:, 0] / normal
    scale: Matrix = np.fmax(body, np.fmax(root, largest))
    return scale


def rolling_level(values: Matrix, points: int) -> Matrix:
    """Median of `points` columns about each column; at the ends, of the first and last such window."""
    length = values.shape[-1]
    points = min(points, length)
    if not points:
        return values.copy()
    stride = max(1, points // 8)
    starts = np.arange(0, length - points + 1, stride)
    windows = np.lib.stride_tricks.sliding_window_view(values, points, axis=-1)[..., starts, :]
    centres = starts + (points - 1) / 2
    levels = median(windows)
    if stride == 1 and points % 2:
        edge = points // 2
        return np.pad(
            levels, [(0, 0)] * (values.ndim - 1) + [(edge, length - edge - levels.shape[-1])], "edge"
        )
    columns = np.arange(length)
    right = (
        np.clip(np.searchsorted(centres, columns), 1, max(len(centres) - 1, 1)) if len(centres) > 1 else None
    )
    if right is None:
        return np.repeat(levels, length, axis=-1)
    share = np.clip((columns - centres[right - 1]) / (centres[right] - centres[right - 1]), 0.0, 1.0)
    return levels[..., right - 1] * (1 - share) + levels[..., right] * share


def tail(deviations: Matrix, freedom: Matrix) -> Matrix:
    """Two-sided tail probability of Student's t, by Hill's normal approximation (better than 1 % of p)."""
    shape = np.broadcast_shapes(deviations.shape, freedom.shape)
    freedom = np.maximum(np.broadcast_to(freedom, shape), 2.0)
    squared = np.minimum(np.square(np.broadcast_to(deviations, shape)), 1e12)
    a = freedom - 0.5
    b = 48.0 * a * a
    y = a * np.log1p(squared / freedom)
    normal = np.sqrt(y) * (1 + (y + 3.0) / b)
    # Hill's second-order term only matters below five degrees of freedom.
    flat = [math.erfc(value / math.sqrt(2)) for value in normal.ravel()]
    return np.array(flat).reshape(shape)


@lru_cache(maxsize=4096)
def limit(share: float, freedom: float) -> float:
    """How many standard errors only this share of points passes by chance."""
    low, high = 0.0, 1.0
    ask = np.array([freedom])
    while tail(np.array([high]), ask)[0] > share:
        low, high = high, high * 2
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if tail(np.array([middle]), ask)[0] > share else (low, middle)
    return high
