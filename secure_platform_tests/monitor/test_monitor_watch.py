from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest
from monitor_support import records

from secure_platform.contract.model import Monitor
from secure_platform.monitor.history import Record
from secure_platform.monitor.plot import course, plot
from secure_platform.monitor.watch import CHECKS, SENSITIVITIES, Observation, watch

RNG = np.random.default_rng(7)
NUMBERS = [
    {
        "rows": float(round(1_000 * np.exp(RNG.normal(0, 0.05)))),
        "null_rate:note": float(0.1 * np.exp(RNG.normal(0, 0.05))),
        "mean:days": float(9 + RNG.normal(0, 0.2)),
        "p95:days": 20.0,
        "custom:long_stays": float(0.2 + RNG.normal(0, 0.01)),
        "bytes": float(day),
        "seconds": 3.0,
    }
    for day in range(40)
]
WATCHED = Monitor()
SKETCH = {str(label): 500 for label in range(20)}
COLUMNS = {"id": "string", "days": "float64"}
PAST = records(40, NUMBERS, columns=COLUMNS, sketches={"days": SKETCH})


def said(
    record: Record,
    history: list[Record] = PAST[:-1],
    monitor: Monitor = WATCHED,
    today: tuple[float, ...] = (),
) -> Mapping[str, Observation]:
    found = watch(record, history, monitor, promised=timedelta(hours=26), today=today)
    return {each.metric: each for each in found}


def changed(**numbers: float) -> Record:
    named = {name.replace("__", ":"): value for name, value in numbers.items()}
    return replace(PAST[-1], numbers={**PAST[-1].numbers, **named})


def test_an_ordinary_day_passes_in_every_check() -> None:
    found = said(PAST[-1])
    assert {each.state for each in found.values()} == {"pass"}
    assert {each.check for each in found.values()} == set(CHECKS)
    assert "bytes" not in found


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("rows", 400.0),
        ("null_rate:note", 0.6),
        ("mean:days", 20.0),
        ("custom:long_stays", 0.9),
    ],
)
def test_one_metric_that_breaks_is_told_and_the_others_are_not(metric: str, value: float) -> None:
    found = said(changed(**{metric.replace(":", "__"): value}))
    assert {name for name, each in found.items() if each.state != "pass"} == {metric}
    assert found[metric].low is not None
    assert found[metric].low > value or found[metric].high < value  # type: ignore[operator]


def test_a_quantile_speaks_only_with_the_distribution_that_it_is_of() -> None:
    leapt = changed(p95__days=60.0)
    assert said(leapt)["p95:days"].state == "pass"
    assert said(replace(leapt, sketches={}))["p95:days"].state == "fail"
    moved = {str(label + 15): 500 for label in range(20)}
    assert said(replace(leapt, sketches={"days": moved}))["p95:days"].state == "fail"


def test_every_metric_that_is_judged_has_its_check() -> None:
    assert {Observation(metric, "pass", 1.0).check for metric in SENSITIVITIES} <= set(CHECKS)


def test_a_new_dataset_is_learning() -> None:
    found = said(PAST[0], [])
    assert {each.state for each in found.values()} == {"learning"}


def test_many_that_are_watched_on_a_day_raise_the_bar() -> None:
    weak = next(
        changed(rows=rows)
        for rows in np.arange(1_000.0, 2_000.0, 5.0)
        if said(changed(rows=float(rows)))["rows"].state == "warn"
    )
    assert said(weak, today=tuple(RNG.random(5_000)))["rows"].state == "pass"
    assert said(changed(rows=1.0), today=tuple(RNG.random(5_000)))["rows"].state == "fail"


def test_a_holiday_is_not_judged_but_facts_are() -> None:
    day = PAST[-1].recorded_at.date()
    broken = replace(changed(rows=1.0), columns={"id": "string"})
    found = said(broken, monitor=Monitor(holidays=(day,)))
    assert "rows" not in found
    assert found["schema"].state == "fail"


def test_a_holiday_in_the_past_teaches_nothing() -> None:
    numbers = [{"rows": 1_000.0 if day != 20 else 1.0} for day in range(30)]
    past = records(30, numbers)
    free = Monitor(holidays=(date(2026, 1, 25),))
    with_it, without = said(past[-1], past[:-1])["rows"], said(past[-1], past[:-1], free)["rows"]
    assert without.low is not None
    assert with_it.low is not None
    assert without.low >= with_it.low


def test_what_is_switched_off_is_silent() -> None:
    broken = replace(changed(rows=1.0, mean__days=90.0), columns={})
    found = said(broken, monitor=Monitor(silent=("rows", "mean", "schema")))
    assert not {"rows", "mean:days", "schema"} & set(found)


def test_a_distribution_that_moved_is_told_by_its_sketch() -> None:
    moved = replace(PAST[-1], sketches={"days": {str(label + 15): 500 for label in range(20)}})
    found = said(moved)["drift:days"]
    assert found.state == "fail"
    assert "wasserstein" in found.note


def days_of(*severities: int, start: int = 0) -> list[Record]:
    """A column that is so many bins higher on each day, judged as it went."""
    history: list[Record] = []
    for day, bins in enumerate(severities, start):
        sketch = {str(label + bins): 500 for label in range(20)}
        record = replace(PAST[day], snapshot_id=f"d{day}", sketches={"days": sketch})
        verdicts = {name: each.to_json() for name, each in said(record, history).items()}
        history.append(replace(record, verdicts=verdicts))
    return history


def drifts(history: list[Record]) -> list[str]:
    return [each.verdicts["drift:days"]["state"] for each in history]


def test_a_distribution_is_learned_before_anything_is_said_of_it() -> None:
    assert drifts(days_of(0, 9, 3, 8, 0, 7, 2, 9, 1, 6)) == ["learning"] * 10
    assert drifts(days_of(*[0] * 10, 9))[-1] == "fail"


def test_a_distribution_that_stays_where_it_went_is_the_new_state_after_three_days() -> None:
    assert drifts(days_of(*[0] * 12, *[9] * 5))[12:] == ["fail", "fail", "fail", "pass", "pass"]
    back = drifts(days_of(*[0] * 12, *[9] * 5, 0))
    assert back[-1] == "fail"


def test_one_far_day_while_it_learned_does_not_hide_the_next() -> None:
    assert drifts(days_of(0, 0, 0, 9, *[0] * 9, 9))[-1] == "fail"


def test_labels_of_another_version_of_the_key_are_not_compared() -> None:
    def dated(version: int) -> Record:
        return replace(PAST[-1], sketches={"ward": {f"{version}:a": 700, f"{version}:b": 300}})

    past = [replace(dated(1), snapshot_id=f"{day}", recorded_at=PAST[day].recorded_at) for day in range(30)]
    assert said(dated(1), past)["drift:ward"].state == "pass"
    assert said(dated(2), past)["drift:ward"].state == "learning"
    other = replace(PAST[-1], sketches={"ward": {"1:a": 300, "1:b": 700}})
    assert said(other, past)["drift:ward"].state == "fail"


def test_a_lost_column_is_told_by_name() -> None:
    worse = replace(PAST[-1], columns={"id": "string"})
    found = said(worse)
    assert (found["schema"].state, found["schema"].note) == ("fail", "days: breaking")


def test_a_late_arrival_is_told() -> None:
    late = replace(PAST[-1], recorded_at=PAST[-2].recorded_at + timedelta(hours=27))
    assert said(late)["freshness"].state == "fail"


def test_a_plot_shows_the_course_and_the_band() -> None:
    assert course([1.0, 2.0, None, 8.0]) == "▁▂ █"
    assert course([5.0, 5.0]) == "▁▁"
    assert course([]) == " "
    broken = changed(rows=400.0)
    text = plot(said(broken)["rows"], PAST[:-1])
    assert text.startswith("**rows** 400, expected ")
    assert text.rstrip("`").endswith("▁")
