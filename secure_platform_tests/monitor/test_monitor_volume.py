from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_platform.control.database import ControlDatabase
from secure_platform.monitor.volume import HISTORY, LEARNING_POINTS, Metrics, judge_volume


@pytest.fixture
def metrics(tmp_path: Path) -> Metrics:
    database = ControlDatabase.at(tmp_path / "control.db")
    database.migrate()
    return Metrics(database)


def record(metrics: Metrics, snapshot_id: str, rows: float, dataset: str = "patients") -> None:
    metrics.record(product="p", dataset=dataset, zone="raw", snapshot_id=snapshot_id, values={"rows": rows})


def rows_of(metrics: Metrics, before: str | None = None, dataset: str = "patients") -> list[float]:
    return metrics.history(product="p", dataset=dataset, zone="raw", name="rows", before=before)


def test_history_is_oldest_first_and_of_one_dataset(metrics: Metrics) -> None:
    for index in range(HISTORY + 5):
        record(metrics, f"s{index}", float(index))
    record(metrics, "other", 7.0, dataset="encounters")
    assert rows_of(metrics) == [float(index) for index in range(5, HISTORY + 5)]
    assert rows_of(metrics, dataset="encounters") == [7.0]


def test_the_point_under_test_is_not_in_its_own_baseline(metrics: Metrics) -> None:
    record(metrics, "a", 1.0)
    record(metrics, "b", 2.0)
    assert rows_of(metrics, before="b") == [1.0]


def test_a_snapshot_that_is_used_again_is_counted_once(metrics: Metrics) -> None:
    record(metrics, "a", 1.0)
    record(metrics, "a", 1.0)
    assert rows_of(metrics) == [1.0]


def test_too_little_history_is_learning() -> None:
    assert judge_volume(5, [100.0] * (LEARNING_POINTS - 1)).state == "learning"
    assert judge_volume(5, [100.0] * LEARNING_POINTS).state == "warn"


@pytest.mark.parametrize(
    ("rows", "state"), [(100, "pass"), (51, "pass"), (149, "pass"), (49, "warn"), (151, "warn"), (0, "warn")]
)
def test_half_of_the_median_either_way_is_the_least_band(rows: int, state: str) -> None:
    assert judge_volume(rows, [98.0, 99.0, 100.0, 101.0, 102.0]).state == state


def test_a_noisy_history_widens_the_band() -> None:
    assert judge_volume(400, [50.0, 80.0, 100.0, 200.0, 220.0]).state == "pass"


@given(st.lists(st.integers(0, 10**9), min_size=LEARNING_POINTS, max_size=HISTORY))
def test_a_value_that_was_the_median_before_passes(history: list[int]) -> None:
    middle = sorted(history)[len(history) // 2] if len(history) % 2 else min(history)
    state = judge_volume(middle, [float(value) for value in history])
    assert state.low is not None
    assert state.high is not None
    assert state.low <= state.high
    assert len(history) % 2 == 0 or state.state == "pass"
