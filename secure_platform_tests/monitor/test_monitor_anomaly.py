"""The default detector on series of every kind; the bounds are those that it is promised to keep."""

from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from monitor_support import Matrix, days, hours, noisy

from benchmarks.anomalies import daily
from secure_platform.monitor.anomaly import LEARNING_POINTS, STATES, WARN_SHARE, Sensitivity, judge

COUNT = Sensitivity("count")


def states(values: Matrix, sensitivity: Sensitivity = COUNT) -> list[str]:
    judged = judge(days(values.shape[1]), values, sensitivity)
    return [STATES[state] for state in judged.state[:, -1]]


def speaking(values: Matrix, sensitivity: Sensitivity = COUNT) -> float:
    """Share of the series whose last point is called unusual."""
    return float(np.mean([state in {"warn", "fail"} for state in states(values, sensitivity)]))


@pytest.mark.parametrize("outliers", [0, 3])
@pytest.mark.parametrize("noise", [0.03, 0.05, 0.08])
def test_a_broken_day_is_found_and_a_whole_one_left_alone(outliers: int, noise: float) -> None:
    made = daily(1_200, seed=17, noise=noise, outliers=outliers)
    alarms = judge(made.times, made.values, COUNT).chance[:, -1] < WARN_SHARE
    assert alarms[made.broken].mean() >= (0.95 if noise < 0.08 else 0.92)
    assert alarms[~made.broken].mean() <= 0.01


def test_short_history_is_learning_and_passes_everything() -> None:
    values = np.full((1, LEARNING_POINTS), 100.0)
    values[0, -1] = 10_000.0
    assert states(values) == ["learning"]
    longer = np.full((1, LEARNING_POINTS + 1), 100.0)
    longer[0, -1] = 10_000.0
    assert states(longer) == ["fail"]


def test_what_was_not_measured_teaches_nothing_and_is_not_judged() -> None:
    values = noisy(1, 40)
    values[0, 5:38] = np.nan
    assert states(values) == ["learning"]
    values = noisy(1, 40)
    values[0, -1] = np.nan
    assert states(values) == ["pass"]


def test_a_series_that_never_changes_passes_until_it_does() -> None:
    values = np.full((4, 40), 1_000.0)
    values[:, -1] = [1_000.0, 1_020.0, 1_500.0, 0.0]
    assert states(values) == ["pass", "pass", "fail", "fail"]


def test_a_small_change_of_a_small_count_is_chance() -> None:
    values = np.full((3, 40), 4.0)
    values[:, -1] = [3.0, 6.0, 400.0]
    assert states(values) == ["pass", "pass", "fail"]


def test_empty_weekends_are_a_season_and_an_empty_weekday_is_none() -> None:
    weekend = np.arange(56) % 7 >= 5
    values = np.where(weekend, 0.0, noisy(200, 56))
    assert speaking(values) <= 0.03
    assert speaking(values[:, :-2]) <= 0.03
    values[:, -3] = 0.0
    assert set(states(values[:, :-2])) == {"fail"}


def test_the_last_day_of_the_month_is_a_season() -> None:
    times = days(330)
    last = np.array([(day + 1).item().day == 1 for day in times.astype("datetime64[D]")])
    closing = int(np.flatnonzero(last)[-1])
    values = np.where(last, 3.0, 1.0) * noisy(100, 330)
    assert speaking(values[:, : closing + 1]) <= 0.03
    values[:, closing] /= 3.0
    assert speaking(values[:, : closing + 1]) >= 0.95


def test_the_clock_on_the_wall_is_kept_when_it_changes() -> None:
    """A load at 03:00 in Berlin is at 02:00 UTC in winter and at 01:00 in summer."""
    zone = ZoneInfo("Europe/Berlin")
    times = hours(24 * 100)
    local = [int(str(moment)[11:13]) for moment in (times.astype("datetime64[s]"))]
    summer = times >= np.datetime64("2026-03-29T01:00:00")
    hour = (np.array(local) + np.where(summer, 2, 1)) % 24
    values = np.where(hour == 3, 5_000.0, 100.0) * noisy(20, len(times), level=1.0)
    after = int(np.flatnonzero(summer & (hour == 3))[1])
    judged = judge(times[: after + 1], values[:, : after + 1], Sensitivity("count", zone=zone))
    assert (judged.chance[:, -1] < WARN_SHARE).mean() <= 0.1
    wrong = judge(times[: after + 1], values[:, : after + 1], COUNT)
    assert (wrong.chance[:, -1] < WARN_SHARE).all()


def test_a_lasting_shift_becomes_the_normal_state() -> None:
    values = noisy(200, 70)
    values[:, 50:] *= 2.0
    assert speaking(values[:, :51]) == 1.0
    assert speaking(values) <= 0.02
    values[:, -1] /= 2.0
    assert speaking(values) == 1.0


def test_growth_is_followed() -> None:
    values = noisy(200, 80, noise=0.03) * np.exp(0.02 * np.arange(80))
    assert speaking(values) <= 0.02
    values[:, -1] /= 1.5
    assert speaking(values) >= 0.98


def test_a_random_walk_is_not_an_anomaly() -> None:
    steps = np.random.default_rng(3).normal(0, 0.05, (400, 90))
    assert speaking(1_000 * np.exp(np.cumsum(steps, axis=1))) <= 0.015


def test_bursts_belong_to_a_series_that_bursts() -> None:
    rng = np.random.default_rng(4)
    values = np.where(rng.random((400, 120)) < 0.8, 0.0, rng.poisson(20, (400, 120))).astype(np.float64)
    assert speaking(values) <= 0.015
    values[:, -1] = 100_000.0
    assert speaking(values) == 1.0


def test_the_point_under_test_is_not_in_its_own_training() -> None:
    values = noisy(1, 12, noise=0.02)
    bands = []
    for last in (1.0, 1_000.0, 1e9):
        values[0, -1] = last
        judged = judge(days(12), values, COUNT)
        bands.append((float(judged.low[0, -1]), float(judged.high[0, -1])))
    assert len(set(bands)) == 1


def test_an_acknowledged_incident_teaches_nothing() -> None:
    values = noisy(1, 60)
    quiet = judge(days(60), values, COUNT)
    values[0, 30:36] *= 20.0
    left_out = (np.arange(60) >= 30) & (np.arange(60) < 36)
    healed = judge(days(60), values, COUNT, left_out=left_out)
    taught = judge(days(60), values, COUNT)
    width = [float(j.high[0, -1] - j.low[0, -1]) for j in (quiet, healed, taught)]
    assert width[1] < 1.3 * width[0]
    assert width[1] < width[2]


def test_an_incident_may_not_hide_the_point_under_test() -> None:
    values = noisy(1, 60)
    values[0, -1] *= 3.0
    assert judge(days(60), values, COUNT, left_out=np.ones(60, dtype=bool)).state[0, -1] == 0
    last = np.arange(60) == 59
    assert STATES[judge(days(60), values, COUNT, left_out=last).state[0, -1]] == "fail"


@pytest.mark.parametrize(("direction", "expected"), [("both", "fail"), ("down", "fail"), ("up", "pass")])
def test_a_direction_that_does_not_hurt_is_not_told(direction: str, expected: str) -> None:
    values = noisy(1, 40)
    values[0, -1] = 10.0
    assert states(values, Sensitivity("count", direction)) == [expected]  # type: ignore[arg-type]


def test_a_rate_of_few_rows_is_rough_and_of_many_is_sharp() -> None:
    values = np.zeros((2, 40))
    values[:, -1] = 0.02
    judged = judge(days(40), values, Sensitivity("rate"), sizes=np.array([[50.0], [100_000.0]]))
    assert [STATES[state] for state in judged.state[:, -1]] == ["pass", "fail"]


def test_a_number_may_be_negative() -> None:
    values = np.random.default_rng(5).normal(-3.0, 1.0, (300, 60))
    assert speaking(values, Sensitivity("number")) <= 0.015
    values[:, -1] = 5.0
    assert speaking(values, Sensitivity("number")) >= 0.98


def test_many_columns_are_judged_as_if_each_were_the_last() -> None:
    values = noisy(1, 60)
    values[0, 45] *= 3.0
    judged = judge(days(60), values, COUNT, train=40)
    assert [STATES[state] for state in judged.state[0]].index("fail") == 5
    alone = judge(days(46), values[:, :46], COUNT)
    assert np.isclose(judged.expected[0, 5], alone.expected[0, -1], rtol=0.1)


@settings(max_examples=60, deadline=None)
@given(
    arrays(
        np.float64,
        st.tuples(st.integers(1, 3), st.integers(1, 40)),
        elements=st.floats(-1e12, 1e12) | st.just(np.nan),
    ),
    st.sampled_from(["count", "rate", "number"]),
)
def test_any_numbers_give_a_state_and_a_band_that_holds_what_was_expected(values: Matrix, kind: str) -> None:
    judged = judge(days(values.shape[1]), values, Sensitivity(kind))  # type: ignore[arg-type]
    assert judged.state.shape == (len(values), 1)
    assert ((judged.chance >= 0) & (judged.chance <= 1)).all()
    told = judged.state > 0
    assert (judged.low[told] <= judged.expected[told]).all()
    assert (judged.expected[told] <= judged.high[told]).all()
    assert np.isfinite(judged.expected[told]).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 10**6), st.floats(0.001, 1_000.0))
def test_the_unit_of_a_count_does_not_matter(seed: int, unit: float) -> None:
    values = noisy(3, 50, level=1e6, seed=seed)
    values[0, -1] *= 2.0
    assert states(values, Sensitivity("number")) == states(values * unit, Sensitivity("number"))


@pytest.mark.parametrize("usual", [0.0, 0.5, 1.0])
def test_the_smallest_change_of_a_rate_that_is_told_is_the_same_near_its_ends(usual: float) -> None:
    rate = Sensitivity("rate", ignore=0.02)
    away = -1 if usual == 1 else 1
    for change, told in ((0.015, False), (0.05, True)):
        values = np.full((1, 40), usual)
        values[0, -1] = usual + away * change
        assert (states(values, rate) != ["pass"]) is told, change
