"""Series that tests make up: days from a Monday on."""

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]
Times = npt.NDArray[np.datetime64]

MONDAY = np.datetime64("2026-01-05T04:00:00", "s")


def days(count: int) -> Times:
    return MONDAY + np.arange(count) * np.timedelta64(86_400, "s")


def hours(count: int) -> Times:
    return MONDAY + np.arange(count) * np.timedelta64(3_600, "s")


def noisy(series: int, points: int, *, level: float = 1_000.0, noise: float = 0.05, seed: int = 1) -> Matrix:
    return level * np.exp(np.random.default_rng(seed).normal(0, noise, (series, points)))
