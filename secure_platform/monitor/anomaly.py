"""The default detector: is a number what its own past predicts?

A point is never part of its own training; acknowledged incidents and holidays are not either. With too little
history the state is `learning`, which passes: a check that guesses is soon switched off. `warn` is what
chance produces once in 250 points, `fail` once in 100,000.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, get_args
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from secure_platform.monitor.forecast import Forecast, forecast
from secure_platform.monitor.seasons import Times, seasons
from secure_platform.monitor.statistics import Matrix, limit, tail

State = Literal["learning", "pass", "warn", "fail"]
STATES: Final[tuple[State, ...]] = get_args(State)
UNUSUAL: Final[frozenset[State]] = frozenset({"warn", "fail"})
"""The gravest last."""

Kind = Literal["count", "rate", "number"]
Direction = Literal["both", "up", "down"]

WARN_SHARE: Final = 0.004
FAIL_SHARE: Final = 0.00001
LEARNING_POINTS: Final = 10
HISTORY: Final = 400
"""Points a judgement looks back on at most: a year of days."""

IGNORE: Final[Mapping[Kind, float]] = MappingProxyType({"count": 0.05, "rate": 0.005, "number": 0.02})
UTC: Final = ZoneInfo("UTC")


@dataclass(frozen=True)
class Sensitivity:
    """How easily a detector speaks.

    Attributes:
        kind: `count` is judged by ratio, `rate` as a share from 0 to 1, `number` by ratio if it is positive.
        direction: Which way is bad.
        ignore: The smallest change that is worth a word: relative, of a rate absolute.
        warn: Share of points that may be outside by chance.
        fail: The same for a failure.
        learning: Points that are needed before anything is said.
        zone: Whose clock the seasons go by.
    """

    kind: Kind = "number"
    direction: Direction = "both"
    ignore: float | None = None
    warn: float = WARN_SHARE
    fail: float = FAIL_SHARE
    learning: int = LEARNING_POINTS
    zone: ZoneInfo = UTC


@dataclass(frozen=True)
class Judged:
    """The judgements on the tested columns, one row per series.

    Attributes:
        state: Index into `STATES`.
        chance: How likely so large a deviation is by chance; 1 while learning or without a value.
        expected, low, high: What was expected and the band; NaN while learning.
    """

    state: npt.NDArray[np.int8]
    chance: Matrix
    expected: Matrix
    low: Matrix
    high: Matrix


def judge(
    times: Times,
    values: Matrix,
    sensitivity: Sensitivity,
    *,
    train: int | None = None,
    left_out: npt.NDArray[np.bool_] | None = None,
    sizes: Matrix | None = None,
) -> Judged:
    """Judge the columns from `train` on, each by those before it.

    Args:
        times: UTC, in order; the same for all series.
        values: One series per row; NaN where nothing was measured.
        sensitivity: How easily the detector speaks.
        train: Columns that are learned from; all but the last if None.
        left_out: Columns, or cells, of acknowledged incidents and holidays, which teach nothing.
        sizes: Rows behind each tested rate: a rate of few rows is rough.
    """
    train = values.shape[1] - 1 if train is None else train
    taught = (
        values
        if left_out is None
        else np.where(left_out & (np.arange(values.shape[1]) < train), np.nan, values)
    )
    if train < max(sensitivity.learning, 2):
        return _silence(values[:, train:])
    scale = _Scale.of(sensitivity.kind, taught[:, :train])
    inside, tested = scale.to(taught), scale.to(values[:, train:])
    found = forecast(inside, seasons(times, train, sensitivity.zone), train)
    width = np.array([limit(sensitivity.warn, freedom) for freedom in found.freedom])[:, None]
    error = np.maximum(found.scale, scale.floor(found.centre, sensitivity, sizes) / width)
    learning = np.isfinite(taught[:, :train]).sum(axis=1)[:, None] < sensitivity.learning
    learning = learning | ~np.isfinite(found.centre + error)
    return _judged(tested, found, error, width, learning, sensitivity, scale)


def _silence(tested: Matrix) -> Judged:
    nothing = np.full(tested.shape, np.nan)
    return Judged(np.zeros(tested.shape, np.int8), np.ones(tested.shape), nothing, nothing, nothing)


def _judged(
    tested: Matrix,
    found: Forecast,
    error: Matrix,
    width: Matrix,
    learning: npt.NDArray[np.bool_],
    sensitivity: Sensitivity,
    scale: "_Scale",
) -> Judged:
    deviation = np.where(learning, 0.0, np.nan_to_num((tested - found.centre) / error))
    sign = {"both": np.abs(deviation), "up": deviation, "down": -deviation}[sensitivity.direction]
    chance = np.where(sign > 0, tail(deviation, found.freedom[:, None]), 1.0)
    outside = np.select([chance < sensitivity.fail, chance < sensitivity.warn], [3, 2], default=1)
    centre, low, high = (
        np.where(learning, np.nan, scale.back(found.centre + sign * width * error)) for sign in (0, -1, 1)
    )
    return Judged(np.where(learning, 0, outside).astype(np.int8), chance, centre, low, high)


@dataclass(frozen=True)
class _Scale:
    """Where equal steps mean as much at every level."""

    kind: Kind
    logarithmic: npt.NDArray[np.bool_]
    typical: Matrix

    @classmethod
    def of(cls, kind: Kind, known: Matrix) -> "_Scale":
        seen = np.nan_to_num(known, nan=1.0)
        positive: npt.NDArray[np.bool_] = np.min(seen, axis=1, keepdims=True, initial=1.0) > 0
        typical = np.abs(np.nan_to_num(known)).sum(axis=1, keepdims=True)
        typical /= np.maximum(np.isfinite(known).sum(axis=1, keepdims=True), 1)
        return cls(kind, positive, np.maximum(typical, 1e-9))

    def to(self, values: Matrix) -> Matrix:
        if self.kind == "count":
            return np.log1p(np.maximum(values, 0.0))
        if self.kind == "rate":
            return 2 * np.arcsin(np.sqrt(np.clip(values, 0.0, 1.0)))
        least = self.typical * 1e-6
        return np.where(self.logarithmic, np.log(np.maximum(values, least)), values)

    def back(self, values: Matrix) -> Matrix:
        if self.kind == "count":
            return np.maximum(np.expm1(np.minimum(values, 700.0)), 0.0)
        if self.kind == "rate":
            return np.square(np.sin(np.clip(values, 0.0, np.pi) / 2))
        return np.where(self.logarithmic, np.exp(np.minimum(values, 700.0)), values)

    def floor(self, centre: Matrix, sensitivity: Sensitivity, sizes: Matrix | None) -> Matrix:
        """Half the width of the narrowest band."""
        ignore = IGNORE[self.kind] if sensitivity.ignore is None else sensitivity.ignore
        if self.kind == "rate":
            share = self.back(centre)
            chance = 0.0 if sizes is None else 3.0 / np.sqrt(np.maximum(sizes, 1.0))
            worth = np.maximum(
                self.to(share + ignore) - self.to(share), self.to(share) - self.to(share - ignore)
            )
            return np.maximum(worth, chance)
        if self.kind == "count":
            return np.maximum(np.log1p(ignore), 3.0 / np.sqrt(np.maximum(np.exp(centre), 1.0)))
        return np.where(self.logarithmic, np.log1p(ignore), ignore * self.typical)
