"""A day that many subjects have in common is told by its column, before it tells their shift."""

from datetime import UTC, date, datetime, timedelta
from statistics import median
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protect_examples import KEYS, column, dataset_plan, typed

from secure_platform.orchestration.steps.rows import account, leaving
from secure_platform.protect.days import telling_days

FREE = "gdpr_pseudonymous"
START = date(2020, 1, 1)
SPREAD = [START + timedelta(days=(7 * i) % 1500) for i in range(1000)]


def told(
    days: list[Any], who: list[Any] | None = None, kind: str = "date", protect: Any = "shift_date"
) -> Any:
    columns = [column("when", kind, protect=protect), column("who", subject_id=True)]
    people = who or [f"p{i}" for i in range(len(days))]
    frame = typed(columns, {"when": days, "who": people})
    return telling_days(dataset_plan(*columns, profile=FREE), frame)


def test_the_rows_are_refused_by_the_column_and_not_by_the_day() -> None:
    columns = [
        column("Id", info_type="RECORD_ID", primary_key=True, subject_id=True),
        column("START", "date", protect="shift_date"),
        column("STOP", "date", protect="shift_date"),
    ]
    plan = dataset_plan(*columns, profile=FREE)
    some = [date(2031, 7, 3)] * 300 + SPREAD[:700]
    frame = typed(columns, {"Id": [f"p{i}" for i in range(1000)], "START": SPREAD, "STOP": some})
    rows = leaving(plan, frame, {}, {}, KEYS)
    passed, detail = account(plan, rows, rows.kept, 0)
    assert not passed
    assert detail == {"days_that_tell": [{"column": "STOP", "subjects": 300}]}


@pytest.mark.parametrize("kind", ["date", "timestamp"])
def test_a_day_among_others_is_told_by_its_share_of_what_is_near(kind: str) -> None:
    def as_kind(days: list[date]) -> list[Any]:
        return (
            days
            if kind == "date"
            else [datetime(d.year, d.month, d.day, i % 24, tzinfo=UTC) for i, d in enumerate(days)]
        )

    assert told(as_kind(SPREAD), kind=kind) == []
    middle = [date(2022, 1, 20)]
    assert told(as_kind(middle * 60 + SPREAD), kind=kind) == [{"column": "when", "subjects": 61}]
    assert told(as_kind(middle * 15 + SPREAD), kind=kind) == []
    # Nothing else is near it: few rows of many tell.
    assert told(as_kind([date(1955, 5, 5)] * 6 + SPREAD), kind=kind) == [{"column": "when", "subjects": 6}]


@pytest.mark.parametrize(
    "days",
    [
        [START + timedelta(days=i) for i in range(5)],
        [START + timedelta(days=7 * i) for i in range(8)],
        [date(2020 + i // 12, i % 12 + 1, 1) for i in range(36)],
    ],
    ids=["a week", "weekly", "monthly"],
)
def test_the_days_of_a_new_or_a_monthly_feed_are_alike(days: list[date]) -> None:
    people = [f"p{number}" for number in range(50)]
    assert told(days * 50, [who for who in people for _ in days]) == []
    same = [date(2031, 7, 3)] * 50
    assert told(days * 50 + same, [who for who in people for _ in days] + people) == [
        {"column": "when", "subjects": 50}
    ]


def test_what_stands_for_no_day_and_what_has_no_subject_does_not_count() -> None:
    assert told([date(9999, 12, 31)] * 900 + SPREAD) == []
    declared = {"transform": "shift_date", "placeholders": "2031-07-03"}
    assert told([date(2031, 7, 3)] * 900 + SPREAD, protect=declared) == []
    assert told([date(2031, 7, 3)] * 900, [None] * 900) == []
    assert told([], []) == []
    assert told([None] * 10) == []


def test_who_comes_every_day_hides_every_day() -> None:
    days = [START + timedelta(days=i) for i in range(200)]
    assert told(days * 6, [f"p{i}" for i in range(6) for _ in days]) == []
    # Many rows of few are no day of many.
    assert told([START] * 400, ["ann", "bob", "cid", "dan"] * 100) == []


def test_the_rows_of_one_part_count_for_themselves() -> None:
    when = {"column": "when", "at_least": "2031-01-01"}
    days = [date(2031, 7, 3)] * 300 + SPREAD
    hidden = {"transform": "conditional", "when": when, "then": "redact", "otherwise": "shift_date"}
    assert told(days, protect=hidden) == []
    shown = {**hidden, "then": "shift_date", "otherwise": "redact"}
    assert told(days, protect=shown) == [{"column": "when", "subjects": 300}]


def test_where_nothing_is_shifted_nothing_is_said() -> None:
    assert told([START] * 100, protect={"transform": "generalize", "to": "year"}) is None


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 900)), max_size=120))
@settings(deadline=None, max_examples=60)
def test_it_is_what_counting_by_hand_finds(rows: list[tuple[int, int]]) -> None:
    pairs = {(who, START + timedelta(days=day)) for who, day in rows}
    of_day = {day: sum(each == day for _, each in pairs) for _, day in pairs}
    near = {day: sum(abs((each - day).days) <= 183 for _, each in pairs) for day in of_day}
    usual = median(of_day.values()) if of_day else 0
    expected = max(
        (
            count
            for day, count in of_day.items()
            if count >= 5 and ((count > near[day] / 10 and count >= 10 * usual) or count > near[day] / 3)
        ),
        default=0,
    )
    found = told([START + timedelta(days=day) for _, day in rows], [f"p{who}" for who, _ in rows] or [])
    assert found == ([{"column": "when", "subjects": expected}] if expected else [])
