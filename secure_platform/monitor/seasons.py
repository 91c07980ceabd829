"""Daily, weekly and other seasons of a series, and how much of it each explains.

A season is used once its whole cycle has been seen often enough. An effect that noise could have caused is
shrunk to nothing and a clear one is kept, so that testing a series without a season costs nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import polars as pl

from secure_platform.monitor.statistics import Matrix, median, rolling_level, spread

Times = npt.NDArray[np.datetime64]

HOUR: Final = 3_600
DAY: Final = 24 * HOUR
_GARROTE: Final = 2.0
"""Effects below this many standard errors are shrunk to nothing."""
_SEEN: Final = 3
"""Of two observations, one outlier is half."""
_CLIP: Final = 1.5
_VARIANCE: Final = 1.1
"""Of a mean of clipped values over that of a mean."""


@dataclass(frozen=True)
class Season:
    """One way to tell points apart.

    Attributes:
        name: `hour_of_day`, `day_of_week`, `hour_of_week` or `day_of_month`.
        keys: What each point is; points with one key share their effect.
        points: How many points a whole round has.
    """

    name: str
    keys: npt.NDArray[np.int64]
    points: int


def cadence(times: Times) -> float:
    """Seconds between two points, as most of them keep it; 0 with fewer than two."""
    if len(times) < 2:  # noqa: PLR2004 - a distance needs two
        return 0.0
    return float(np.median(np.diff(times.astype("datetime64[s]").astype(np.int64))))


def seasons(times: Times, train: int, zone: ZoneInfo) -> list[Season]:
    """The seasons that the first `train` of these points, in order of time, have shown often enough."""
    step = cadence(times[:train])
    if not step or step > 1.5 * DAY:
        return []
    local = (
        pl.Series(times.astype("datetime64[us]")).dt.replace_time_zone("UTC").dt.convert_time_zone(zone.key)
    )
    weekday = local.dt.weekday().to_numpy().astype(np.int64) - 1
    days = float((times[train - 1] - times[0]) / np.timedelta64(1, "s")) / DAY
    per_day = max(1, round(DAY / step))
    found: list[Season] = []
    if per_day > 1:
        slot = _slot(local, per_day)
        if days >= 2:  # noqa: PLR2004
            found.append(Season("hour_of_day", slot, per_day))
        if days >= 21:  # noqa: PLR2004
            found.append(Season("day_of_week", weekday, 7 * per_day))
            hours = local.dt.hour().to_numpy().astype(np.int64)
            found.append(Season("hour_of_week", weekday * 24 + hours, 7 * per_day))
    elif days >= 13:  # noqa: PLR2004
        found.append(Season("day_of_week", weekday, 7))
        if days >= 94:  # noqa: PLR2004
            found.append(Season("day_of_month", _day_of_month(local), 31))
    return found


def _slot(local: pl.Series, per_day: int) -> npt.NDArray[np.int64]:
    """The part of the day, at most 288 of them."""
    seconds = (local.dt.hour().cast(pl.Int64) * HOUR + local.dt.minute().cast(pl.Int64) * 60).to_numpy()
    parts = min(per_day, 288)
    return seconds * parts // DAY


def _day_of_month(local: pl.Series) -> npt.NDArray[np.int64]:
    """1, 2, … in the first half of a month; …, -2, -1 from its end in the second."""
    day = local.dt.day().cast(pl.Int64).to_numpy()
    last = local.dt.month_end().dt.day().cast(pl.Int64).to_numpy()
    return np.where(day <= 15, day, day - last - 1)  # noqa: PLR2004


def effects(values: Matrix, given: Sequence[Season], train: int) -> tuple[Matrix, Matrix]:
    """What the seasons that the first `train` columns show add to each column.

    Returns:
        The effects, and their variance in units of that of one point.
    """
    total, doubt = np.zeros_like(values), np.zeros_like(values)
    for season in given:
        effect, variance = _effects((values - total)[:, :train], season, values.shape[1])
        total += effect
        doubt = np.maximum(doubt, variance)
    return total, doubt


def _effects(known: Matrix, season: Season, length: int) -> tuple[Matrix, Matrix]:
    train = known.shape[1]
    above = known - rolling_level(known, season.points)
    keys, places = np.unique(season.keys, return_inverse=True)
    effect, seen = np.zeros((len(known), len(keys))), np.zeros((len(known), len(keys)))
    noise = np.full(known.shape, np.nan)
    for place in range(len(keys)):
        columns = np.flatnonzero(places[:train] == place)
        if not len(columns):
            continue
        part = above[:, columns]
        seen[:, place] = np.isfinite(part).sum(axis=1)
        effect[:, place] = median(part)
        noise[:, columns] = part - effect[:, place, None]
    effect = np.nan_to_num(effect)
    times_seen = np.maximum(seen, 1.0)
    # Residuals about a median of few points are too small.
    few = np.sqrt(times_seen / np.maximum(times_seen - 1.0, 0.5)).mean(axis=1)
    scale = spread(noise) * few
    for place in range(len(keys)):
        columns = np.flatnonzero(places[:train] == place)
        near = np.clip(noise[:, columns], -_CLIP * scale[:, None], _CLIP * scale[:, None])
        effect[:, place] += np.nan_to_num(near).sum(axis=1) / times_seen[:, place]
    least = _GARROTE**2 * np.square(scale)[:, None] * _VARIANCE / times_seen
    size = np.square(effect)
    kept = 1.0 - np.divide(least, size, out=np.ones_like(size), where=size > least)
    kept = np.where(seen >= min(_SEEN, train // season.points), kept, 0.0)
    effect *= kept
    variance = np.where(kept > 0, _VARIANCE / times_seen, 0.0)
    return effect[:, places[:length]], variance[:, places[:length]]
