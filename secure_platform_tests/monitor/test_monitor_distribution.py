import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_platform.monitor.distribution import GROWTH, add, bin_edges, bin_middle, drift, number_bin


def sketch(values: np.typing.NDArray[np.float64]) -> dict[str, int]:
    counted = (
        pl.DataFrame({"x": values}).select(number_bin(pl.col("x")).alias("x")).to_series().value_counts()
    )
    return {str(label): count for label, count in counted.iter_rows()}


def normal(seed: int, rows: int = 20_000, mean: float = 100.0, deviation: float = 15.0) -> dict[str, int]:
    return sketch(np.random.default_rng(seed).normal(mean, deviation, rows))


@given(st.floats(1e-6, 1e12), st.sampled_from([-1.0, 1.0]))
def test_a_bin_tells_its_numbers_to_five_percent(size: float, sign: float) -> None:
    (label,) = sketch(np.array([sign * size]))
    assert bin_middle(label) == pytest.approx(sign * size, rel=GROWTH - 1)


@given(st.lists(st.floats(-1e12, 1e12), min_size=2, max_size=20))
def test_the_order_of_the_bins_is_that_of_the_numbers(values: list[float]) -> None:
    bins = pl.DataFrame({"x": sorted(values)}).select(number_bin(pl.col("x"))).to_series().to_list()
    assert bins == sorted(bins)


@pytest.mark.parametrize("rows", [200, 20_000])
def test_samples_of_one_distribution_pass(rows: int) -> None:
    states = [
        drift(normal(seed, 20_000), normal(seed + 1_000, rows), numeric=True).state for seed in range(40)
    ]
    assert states == ["pass"] * 40


@pytest.mark.parametrize(
    ("mean", "deviation", "state"), [(103.0, 15.0, "warn"), (110.0, 15.0, "fail"), (100.0, 30.0, "fail")]
)
def test_a_moved_or_widened_column_drifts(mean: float, deviation: float, state: str) -> None:
    found = drift(normal(1), normal(2, mean=mean, deviation=deviation), numeric=True)
    assert found.state == state
    assert set(found.distances) == {"psi", "jensen_shannon", "kolmogorov_smirnov", "wasserstein"}


def test_wasserstein_is_the_shift_in_standard_deviations() -> None:
    found = drift(normal(1, 200_000), normal(2, 200_000, mean=107.5), numeric=True)
    assert found.distances["wasserstein"] == pytest.approx(0.5, abs=0.03)
    # Two normal curves half a deviation apart: 2Φ(1/4) - 1.
    assert found.distances["kolmogorov_smirnov"] == pytest.approx(0.197, abs=0.03)


def test_a_category_that_takes_over_drifts_and_a_new_small_one_does_not() -> None:
    before = {"a": 6_000, "b": 3_000, "c": 1_000}
    assert drift(before, {"a": 1_000, "b": 3_000, "c": 6_000}, numeric=False).state == "fail"
    assert drift(before, {"a": 5_980, "b": 2_990, "c": 1_000, "d": 30}, numeric=False).state == "pass"
    assert "wasserstein" not in drift(before, before, numeric=False).distances


def test_the_same_is_no_distance_away() -> None:
    found = drift(normal(1), normal(1), numeric=True)
    assert max(found.distances.values()) == pytest.approx(0.0, abs=1e-9)
    assert found.chance == pytest.approx(1.0, abs=1e-6)


def test_nothing_to_compare_with_is_learning() -> None:
    assert drift({}, normal(1), numeric=True).state == "learning"
    assert drift(normal(1), {}, numeric=True).state == "learning"


def test_a_column_that_always_wanders_is_left_alone_until_it_leaves() -> None:
    before, after = normal(1), normal(2, mean=104.0)
    alone = drift(before, after, numeric=True)
    assert alone.state != "pass"
    usual = [alone.severity * share for share in (0.7, 0.9, 1.0, 0.8, 1.1)]
    assert drift(before, after, numeric=True, usual=usual).state == "pass"
    assert drift(before, normal(3, mean=140.0), numeric=True, usual=usual).state == "fail"


def test_snapshots_add_up() -> None:
    assert add([{"1": 2, "3": 1}, {"3": 4}, {}]) == {"1": 2, "3": 5}


def test_sizes_that_a_number_just_holds_have_distances_that_are_numbers() -> None:
    greatest = np.finfo(np.float64).max
    before = sketch(np.array([1e300, -1e300, 1.0] * 50))
    for values in ([1e300, -1e300, 2.0], [greatest, -greatest, 1.0], [0.0], [1.0]):
        for pair in ((before, sketch(np.array(values * 50))), (sketch(np.array(values * 50)), before)):
            assert np.isfinite(list(drift(*pair, numeric=True).distances.values())).all()
    edges = bin_edges(next(iter(sketch(np.array([greatest])))))
    assert edges[0] < edges[1] <= greatest
