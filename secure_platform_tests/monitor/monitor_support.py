"""Series that tests make up: days from a Monday on."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from secure_platform.contract.model import Column, Contract, LogicalType, Monitor
from secure_platform.monitor.history import Record
from secure_platform.taxonomy.classification import Classification

Matrix = npt.NDArray[np.float64]
Times = npt.NDArray[np.datetime64]

_STAYS: list[tuple[str, LogicalType, tuple[str, ...] | None]] = [
    ("id", "string", None),
    ("days", "number", None),
    ("ward", "string", ("east", "west", "rare")),
    ("note", "string", None),
]
MONDAY = np.datetime64("2026-01-05T04:00:00", "s")


def days(count: int) -> Times:
    return MONDAY + np.arange(count) * np.timedelta64(86_400, "s")


def hours(count: int) -> Times:
    return MONDAY + np.arange(count) * np.timedelta64(3_600, "s")


def noisy(series: int, points: int, *, level: float = 1_000.0, noise: float = 0.05, seed: int = 1) -> Matrix:
    return level * np.exp(np.random.default_rng(seed).normal(0, noise, (series, points)))


def contract(**monitor: Any) -> Contract:
    """Stays in a hospital."""
    columns = tuple(Column(name, kind, "", Classification.INTERNAL, enum=enum) for name, kind, enum in _STAYS)
    return Contract(
        dataset="stays",
        version="1.0.0",
        description="",
        owner="team:a",
        columns=columns,
        source_file="stays.csv",
        monitor=Monitor(**monitor),
        digest="",
    )


def records(count: int, numbers: Sequence[Mapping[str, float]] = (), **fields: Any) -> list[Record]:
    """One record a day."""
    return [
        Record(
            product="p",
            dataset="stays",
            zone="raw",
            snapshot_id=f"s{day}",
            numbers=numbers[day] if numbers else {"rows": 100.0},
            recorded_at=datetime(2026, 1, 5, 4, tzinfo=UTC) + timedelta(days=day),
            **fields,
        )
        for day in range(count)
    ]
