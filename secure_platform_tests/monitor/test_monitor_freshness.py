from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from secure_platform.monitor.freshness import LEARNING_ARRIVALS, judge_freshness

MONDAY = datetime(2026, 1, 5, 4, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def daily(count: int) -> list[datetime]:
    return [MONDAY + index * DAY for index in range(count)]


def weekdays(weeks: int) -> list[datetime]:
    return [moment for moment in daily(7 * weeks) if moment.weekday() < 5]


def test_what_was_promised_and_never_came_is_late() -> None:
    assert judge_freshness([], MONDAY, promised=DAY).state == "fail"
    assert judge_freshness([], MONDAY, promised=None).state == "learning"


def test_a_broken_promise_fails_even_while_learning() -> None:
    just = judge_freshness([MONDAY], MONDAY + DAY, promised=DAY)
    late = judge_freshness([MONDAY], MONDAY + 1.01 * DAY, promised=DAY)
    assert (just.state, late.state) == ("pass", "fail")
    assert late.deadline == MONDAY + DAY
    assert late.age == 1.01 * DAY


def test_few_arrivals_without_a_promise_are_learning() -> None:
    assert judge_freshness(daily(LEARNING_ARRIVALS), MONDAY + 90 * DAY, promised=None).state == "learning"


@pytest.mark.parametrize(("hours", "state"), [(23, "pass"), (25, "pass"), (30, "warn")])
def test_an_unusual_delay_warns_before_the_promise_is_broken(hours: int, state: str) -> None:
    arrivals = daily(20)
    found = judge_freshness(arrivals, arrivals[-1] + timedelta(hours=hours), promised=3 * DAY)
    assert found.state == state


def test_a_weekend_without_a_delivery_is_usual_and_a_missing_monday_is_not() -> None:
    arrivals = weekdays(4)
    friday = arrivals[-1]
    assert friday.weekday() == 4
    assert judge_freshness(arrivals, friday + 2.5 * DAY, promised=None).state == "pass"
    assert judge_freshness(arrivals, friday + 3.5 * DAY, promised=None).state == "warn"
    assert judge_freshness(arrivals[:-1], friday + DAY / 2, promised=None).state == "warn"


def test_an_hour_of_summer_time_is_no_delay() -> None:
    zone = ZoneInfo("Europe/Berlin")
    arrivals = [datetime(2026, 3, day, 5, 0, tzinfo=zone) for day in range(1, 29)]
    assert (
        judge_freshness(arrivals, datetime(2026, 3, 29, 6, 0, tzinfo=zone), promised=None, zone=zone).state
        == "pass"
    )


def test_one_outage_in_the_past_does_not_excuse_the_next() -> None:
    arrivals = [moment for moment in daily(40) if not 10 <= (moment - MONDAY).days < 14]
    assert judge_freshness(arrivals, arrivals[-1] + 1.5 * DAY, promised=None).state == "warn"
