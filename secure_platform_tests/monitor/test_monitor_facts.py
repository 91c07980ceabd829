from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from monitor_support import contract, records

from secure_platform.contract.model import Column, Monitor
from secure_platform.keys.material import DigestKey
from secure_platform.monitor.facts import _thinned
from secure_platform.monitor.feedback import NONE, Feedback
from secure_platform.monitor.freshness import judge_repetition
from secure_platform.monitor.history import Record
from secure_platform.monitor.profile import Measures, Profiler
from secure_platform.monitor.watch import STALE, Observation, watch
from secure_platform.taxonomy.classification import Classification

WATCHED = Monitor()
DAY = timedelta(days=1)
START = datetime(2026, 1, 5, 4, tzinfo=UTC)
HOURS = {f"hour:at:{hour:02}": 2.0 for hour in range(8, 18)}
USUAL = {
    "rows": 1_000.0,
    "null_rate:note": 0.3,
    "null_rate:id": 0.0,
    "distinct_rate:id": 1.0,
    "distinct_rate:day": 0.001,
    "repeated_rate": 0.004,
    "p50:cost": 12.0,
    "hours:at": 10.0,
    "newest:at": 20_000.0,
    **HOURS,
}


def day(number: float, **changed: float | None) -> Record:
    named = {name.replace("__", ":"): value for name, value in changed.items()}
    numbers = {**USUAL, "newest:at": 20_000.0 + number, **named}
    told = {name: value for name, value in numbers.items() if value is not None}
    return replace(records(1)[0], snapshot_id=f"s{number}", numbers=told, recorded_at=START + number * DAY)


def said(
    record: Record, history: list[Record], monitor: Monitor = WATCHED, feedback: Feedback = NONE
) -> Mapping[str, Observation]:
    found = watch(record, history, monitor, promised=None, feedback=feedback)
    return {each.metric: each for each in found if each.state in {"warn", "fail"}}


def remembered(record: Record, history: list[Record]) -> Record:
    """As the history keeps it."""
    found = watch(record, history, WATCHED, promised=None)
    return replace(record, verdicts={each.metric: each.to_json() for each in found})


@pytest.mark.parametrize(
    ("changed", "metric", "before"),
    [
        ({"repeated_rate": 0.502}, "repeated_rate", 1),
        ({"repeated_rate": 0.08}, "repeated_rate", 2),
        ({"rows": 0.0}, "rows", 1),
        ({"null_rate__note": 1.0}, "null_rate:note", 1),
        ({"null_rate__id": 1.0}, "null_rate:id", 1),
        ({"distinct_rate__id": 0.001}, "distinct_rate:id", 1),
        ({"distinct_rate__id": 0.002, "null_rate__id": 0.5}, "distinct_rate:id", 1),
        ({"p50__cost": 1_200.0}, "p50:cost", 2),
        ({"p50__cost": 0.12}, "p50:cost", 2),
        ({"newest__at": 19_990.0}, "newest:at", 2),
        ({"hours__at": 5.0, **{f"hour__at__{h}": None for h in range(13, 18)}}, "hours:at", 3),
    ],
)
def test_it_is_told_from_the_first_day_on_that_can_know_it(
    changed: dict[str, float | None], metric: str, before: int
) -> None:
    history = [day(number) for number in range(before)]
    assert {*said(day(before, **changed), history)} == {metric}
    assert said(day(before), history) == {}
    assert said(day(before, **changed), history[:-1]) == {}


@pytest.mark.parametrize(
    ("usual", "changed"),
    [
        # A column that is hardly ever filled may be empty for a day, and few rows prove nothing.
        ({"null_rate__note": 0.97}, {"null_rate__note": 1.0}),
        ({"null_rate__note": 0.97, "rows": 30.0}, {"null_rate__note": 1.0, "rows": 25.0}),
        ({"rows": 30.0}, {"null_rate__note": 1.0, "repeated_rate": 0.5, "rows": 19.0}),
        # Rows that repeat rightly, and more of them where there are more rows of the same kind.
        ({"repeated_rate": 0.6}, {"repeated_rate": 0.68}),
        ({"repeated_rate": 0.3, "rows": 500.0}, {"repeated_rate": 0.48, "rows": 1_000.0}),
        ({"repeated_rate": 0.015}, {"repeated_rate": 0.05}),
        # A column of few values, and one of as many as there were rows, of which there is one now.
        ({"distinct_rate__id": 0.005}, {"distinct_rate__id": 0.001}),
        ({"rows": 5_000.0}, {"distinct_rate__id": 0.001}),
        # A median around nothing, one that wandered, and one that is a little further.
        ({"p50__cost": 0.0}, {"p50__cost": 900.0}),
        ({"p50__cost": -3.0}, {"p50__cost": 900.0}),
        ({}, {"p50__cost": 70.0}),
        # Hours that had just enough rows to be counted, and now have one fewer.
        (
            {f"hour__at__{h:02}": 1.0 for h in range(8, 18)},
            {f"hour__at__{h:02}": None for h in range(8, 18)},
        ),
        # Sunday has fewer hours, and days may stand still.
        ({}, {"hours__at": 6.0, **{f"hour__at__{h}": None for h in ("08", "15", "16", "17")}}),
        ({}, {"newest__at": 20_002.0}),
    ],
)
def test_what_may_well_be_is_not_told(
    usual: dict[str, float | None], changed: dict[str, float | None]
) -> None:
    history = [day(number, **usual) for number in range(3)]
    assert said(day(3, **{**usual, **changed}), history) == {}


def test_a_median_that_wandered_says_nothing() -> None:
    history = [day(0, p50__cost=1.0), day(1, p50__cost=9.0)]
    assert said(day(2, p50__cost=500.0), history) == {}


def test_days_that_never_went_on_may_go_back() -> None:
    history = [day(number, newest__at=20_000.0) for number in range(3)]
    assert said(day(3, newest__at=19_000.0), history) == {}


def test_the_rows_of_a_table_that_is_twice_as_long_every_day_may_be_copies() -> None:
    """Whatever N values are drawn from, drawing twice as often is not loading twice."""
    values = pl.Series(range(2_000))
    for rows in (200, 1_000, 4_000):
        short, long = (values.sample(n, with_replacement=True, seed=n) for n in (rows, 2 * rows))
        copied = [1 - each.n_unique() / each.len() for each in (short, long)]
        history = [day(0, rows=float(rows), repeated_rate=copied[0])]
        assert abs(_thinned(copied[0], 2.0) - copied[1]) < 0.05
        assert "repeated_rate" not in said(day(1, rows=2.0 * rows, repeated_rate=copied[1]), history)


def test_what_was_told_teaches_nothing_until_it_lasts() -> None:
    history = [day(0)]
    for number in range(1, 5):
        record = remembered(day(number, repeated_rate=0.5), history)
        told = record.verdicts.get("repeated_rate", {}).get("state") == "fail"
        assert told == (number < 4)
        history.append(record)
    assert "repeated_rate" not in said(day(5, repeated_rate=0.5), history)


def test_what_was_decided_is_no_fault() -> None:
    """A column is redacted from the third day on, and is empty by mistake later."""
    plans = [1.0, 1.0, 2.0, 2.0, 3.0, 3.0]
    for changed in ({"null_rate__id": 1.0}, {"distinct_rate__id": 0.001}, {"p50__cost": 1_200.0}):
        metric = next(iter(changed)).replace("__", ":")
        days = [day(n, plan=plan, **(changed if plan == 2 else {})) for n, plan in enumerate(plans)]
        assert told_days(days, metric) == []
        assert told_days([*days, day(6, plan=3.0, **changed)], metric) == [6]
        assert told_days([replace(each, numbers={**each.numbers, "plan": 1.0}) for each in days], metric)


def told_days(days: Sequence[Record], metric: str) -> list[int]:
    """On which days it is told of a metric, if they come one after the other."""
    history: list[Record] = []
    for record in days:
        history.append(remembered(record, history))
    return [
        number
        for number, each in enumerate(history)
        if each.verdicts.get(metric, {}).get("state") in {"warn", "fail"}
    ]


def open_hours(number: int, *hours: int, rows: float = 1_000.0) -> Record:
    shut: dict[str, float | None] = dict.fromkeys((name.replace(":", "__") for name in HOURS), None)
    busy = {f"hour__at__{hour:02}": 2.0 for hour in hours}
    return day(number, **{**shut, **busy, "hours__at": float(len(hours)), "rows": rows})


def test_what_every_weekend_shows_is_told_in_the_first_week_only() -> None:
    """The fifth and the sixth day, and every seventh after them, are Saturdays and Sundays."""
    weekend = [number % 7 >= 5 for number in range(42)]
    shop = [
        open_hours(n, *range(9, 14), rows=420.0) if free else open_hours(n, *range(8, 20))
        for n, free in enumerate(weekend)
    ]
    assert told_days(shop, "hours:at") == [5, 6]
    filled = [day(n, null_rate__note=1.0 if free else 0.3) for n, free in enumerate(weekend)]
    told = told_days(filled, "null_rate:note")
    assert {5, 6} <= {*told}
    assert len(told) <= 4, "and of what the detector has not learned after the second one"


def test_other_hours_than_those_that_were_told_are_told() -> None:
    whole, late, early = range(8, 20), range(15, 20), range(8, 12)
    usual = [open_hours(n, *whole) for n in range(7)]
    faults = [open_hours(7, *late), open_hours(8, *whole), open_hours(9, *early), open_hours(10, *late)]
    again = [open_hours(n, *whole) for n in (11, 12, 13)]
    series = [*usual, *faults, *again, open_hours(14, *early)]
    assert told_days(series, "hours:at") == [7, 9, 10, 14], "of this weekday another half was told"
    assert told_days([*series[:-1], open_hours(14, *late)], "hours:at") == [7, 9, 10]
    closed = [*series[:11], open_hours(11, *late), *again[1:], open_hours(14, *whole), open_hours(15, *late)]
    assert told_days(closed, "hours:at") == [7, 9, 10, 11], "three times is usual on any day"


@pytest.mark.parametrize("changed", [{"rows": 0.0}, {"null_rate__note": 1.0}, {"null_rate__id": 1.0}])
def test_what_the_detector_has_learned_it_tells_itself(changed: dict[str, float | None]) -> None:
    history = [day(number) for number in range(15)]
    ((metric, seen),) = said(day(15, **changed), history).items()
    assert metric == next(iter(changed)).replace("__", ":")
    assert (seen.state, seen.note) == ("fail", "")


def test_what_a_person_said_counts() -> None:
    history = [day(0), day(1)]
    history.append(remembered(day(2, repeated_rate=0.5), history))
    points = frozenset({("s2", "quality")})
    again = day(3, repeated_rate=0.5)
    assert "repeated_rate" in said(again, history)
    assert "repeated_rate" not in said(again, history, feedback=Feedback(right=points))
    for number in range(3, 6):
        history.append(remembered(day(number, repeated_rate=0.5), history[:3]))
    wrong = frozenset((f"s{number}", "quality") for number in range(2, 6))
    assert "repeated_rate" not in said(day(6, repeated_rate=0.5), history)
    assert "repeated_rate" in said(day(6, repeated_rate=0.5), history, feedback=Feedback(wrong=wrong))


def test_on_a_holiday_there_may_be_no_row_but_none_twice() -> None:
    holiday = Monitor(holidays=(date(2026, 1, 8),))
    history = [day(number) for number in range(3)]
    assert said(day(3, rows=0.0), history, holiday) == {}
    assert {*said(day(3, repeated_rate=0.5), history, holiday)} == {"repeated_rate"}
    assert said(day(3, repeated_rate=0.5), history, Monitor(silent=("repeated_rate",))) == {}


@pytest.mark.parametrize(
    ("days", "hours", "promised", "content", "state"),
    [
        ([0], 24, None, "newest", "learning"),
        ([0, 1], 24, None, "newest", "learning"),
        ([0, 1], 24, DAY, "newest", "fail"),
        ([0, 1, 2], 24, None, "newest", "warn"),
        ([0, 1, 2], 24, 2 * DAY, "newest", "fail"),
        ([0, 1, 2], 3, None, "newest", "pass"),
        ([0, 1, 2], 3, None, "earlier", "warn"),
        # A table that changes every month is written again every night.
        ([0, 30, 61], 24, None, "newest", "pass"),
        ([0, 30, 61], 24 * 30, None, "newest", "warn"),
        ([0], 24, DAY, "earlier", "learning"),
    ],
)
def test_what_is_written_again_as_it_was_is_stale_where_it_always_changed(
    days: list[int],
    hours: int,
    promised: timedelta | None,
    content: str,
    state: str,
) -> None:
    arrivals = [START + number * DAY for number in days]
    now = arrivals[-1] + timedelta(hours=hours)
    assert judge_repetition(arrivals, now, promised=promised, earlier=content == "earlier") == state


def test_a_source_that_stays_stale_is_told_every_day_and_the_next_time() -> None:
    stale = {5, 6, 7, 8, 15}
    promised = timedelta(hours=26)
    history: list[Record] = []
    for number in range(18):
        record = day(number, repeats=float(number in stale))
        found = watch(record, history, WATCHED, promised=promised, repeats=number in stale)
        (fresh,) = (each for each in found if each.metric == "freshness")
        # On the ninth and the sixteenth day the promise was broken until then.
        assert (fresh.state == "fail") == (number in stale | {9, 16}), number
        assert (fresh.note == STALE) == (number in stale)
        history.append(replace(record, verdicts={each.metric: each.to_json() for each in found}))


def test_a_file_of_friday_may_be_written_again_at_weekends() -> None:
    """After three weeks it is known, without anybody."""
    told, history = [], list[Record]()
    for number in range(35):
        again = number % 7 >= 5
        record = day(number, repeats=float(again))
        found = watch(record, history, WATCHED, promised=None, repeats=again)
        told += [number for each in found if each.metric == "freshness" and each.state in {"warn", "fail"}]
        history.append(replace(record, verdicts={each.metric: each.to_json() for each in found}))
    assert told == [5, 6, 12, 13, 19, 20]


def test_another_file_with_the_same_rows_is_stale_unless_somebody_calls_it_right() -> None:
    history = [day(number, repeats=0.0) for number in range(3)]
    record = day(3, repeats=1.0)

    def fresh(history: list[Record], feedback: Feedback = NONE) -> Observation:
        found = watch(record, history, WATCHED, promised=None, repeats=True, feedback=feedback)
        return next(each for each in found if each.metric == "freshness")

    assert (fresh(history).state, fresh(history).note) == ("warn", STALE)
    told = replace(day(2.5, repeats=1.0), verdicts={"freshness": {"state": "warn"}})
    right, wrong = ({name: frozenset({(told.snapshot_id, "freshness")})} for name in ("right", "wrong"))
    assert fresh([*history, told]).note == STALE
    assert fresh([*history, told], Feedback(**wrong)).note == STALE
    assert fresh([*history, told], Feedback(**right)).state in {"pass", "learning"}
    assert fresh([*history[:2], day(2, repeats=1.0)]).state in {"pass", "learning"}
    assert fresh(history[:2]).state in {"pass", "learning"}


@pytest.mark.parametrize("promised", [None, 90 * DAY])
def test_edits_of_its_contract_are_no_deliveries_of_a_reference_table(promised: timedelta | None) -> None:
    edited = [day(0), day(1, same_content=1.0), day(2, same_content=1.0)]
    for number in (3, 4, 10, 60):
        record = day(number, repeats=1.0, same_content=1.0)
        found = watch(record, edited, WATCHED, promised=promised, repeats=True)
        assert not [each for each in found if each.check == "freshness" and each.state in {"warn", "fail"}]
    late = watch(day(91, same_content=1.0), edited, WATCHED, promised=promised)
    (fresh,) = (each for each in late if each.check == "freshness")
    assert fresh.state == ("learning" if promised is None else "fail")
    assert fresh.value == 91 * 24


def test_times_that_are_open_tell_their_hours_and_newest_day_and_others_nothing() -> None:
    stamps = [*[datetime(2026, 3, 1, 9, tzinfo=UTC)] * 11, *[datetime(2026, 3, 2, 10, tzinfo=UTC)] * 10]
    frame = pl.DataFrame({"at": stamps, "born": stamps, "note": ["a"] * 20 + ["b"]})

    def column(name: str, level: Classification) -> Column:
        return Column(name, "timestamp", "", level)

    given = replace(
        contract(),
        columns=(column("at", Classification.INTERNAL), column("born", Classification.CONFIDENTIAL)),
    )
    numbers = measured(Profiler(given, DigestKey(1, bytes(32)), values=("at", "born")), frame).numbers
    assert numbers["newest:at"] == (date(2026, 3, 1) - date(1970, 1, 1)).days
    assert {name for name in numbers if name.startswith("hour")} == {"hours:at", "hour:at:09"}
    assert not any(name.startswith(("new", "hour")) and "born" in name for name in numbers)
    raw = measured(Profiler(given, DigestKey(1, bytes(32)), values=(), copies=True), frame.cast(pl.String))
    assert raw.numbers["repeated_rate"] == pytest.approx(1 - 2 / 21)
    assert not any(name.startswith(("new", "hour")) for name in raw.numbers)


def measured(profiler: Profiler, frame: pl.DataFrame) -> Measures:
    return profiler.measures([query.collect() for query in profiler.queries(frame.lazy())])


def test_a_column_of_few_values_that_gets_one_is_told_after_it_was_learned_too() -> None:
    """The detector ignores changes of less than 0.03: from 20 values to one in 1,000 rows is 0.019."""
    history = [day(number, distinct_rate__id=0.02) for number in range(15)]
    assert said(day(15, distinct_rate__id=0.01), history) == {}
    for number in range(15, 18):
        one = day(number, distinct_rate__id=0.001)
        assert {name: each.state for name, each in said(one, history).items()} == {"distinct_rate:id": "warn"}
        history.append(remembered(one, history))
    assert said(day(18, distinct_rate__id=0.001), history) == {}, "it is the new normal state"
