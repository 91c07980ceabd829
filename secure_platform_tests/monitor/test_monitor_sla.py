"""What was promised is counted as a calendar and a stopwatch would, whatever the pattern of deliveries."""

from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_platform.monitor.incident import Incident, Sighting, begin
from secure_platform.monitor.sla import SlaMonth, containments, deliveries, months

BERLIN = ZoneInfo("Europe/Berlin")
WORLD = ZoneInfo("UTC")
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


def at(day: int, hour: float = 4.0, month: int = 3) -> datetime:
    return datetime(2026, month, day, tzinfo=UTC) + timedelta(hours=hour)


def told(
    arrivals: list[datetime], now: datetime, promised: timedelta | None = DAY, zone: ZoneInfo = WORLD
) -> dict[str, SlaMonth]:
    return {each.month: each for each in months([deliveries(arrivals, now, promised=promised, zone=zone)])}


def test_what_came_in_time_what_was_late_and_what_never_came() -> None:
    # Due on the 2nd, then on the 3rd (6 hours late); of those due on the 4th and 5th one came, 42 hours late.
    arrivals = [at(1), at(2, 3.0), at(3, 9.0), at(6, 3.0)]
    found = told(arrivals, at(6, 4.0))["2026-03"]
    assert (found.delivered, found.promised, found.in_time, found.late, found.never) == (4, 5, 2, 2, 1)
    assert (found.late_p50, found.late_p95) == (6.0, 42.0)
    whole, stale = 120.0, 6.0 + 42.0
    assert found.fresh == pytest.approx((whole - stale) / whole)


def test_an_arrival_at_the_very_moment_is_in_time_and_one_second_later_is_not() -> None:
    for late, expected in ((timedelta(), (2, 0)), (timedelta(seconds=1), (1, 1))):
        found = told([at(1), at(2) + late], at(2) + late)["2026-03"]
        assert (found.in_time, found.late, found.never) == (*expected, 0)


def test_a_silence_that_lasts_is_told_as_far_as_it_goes() -> None:
    assert told([at(1)], at(1, 23.0))["2026-03"].never == 0
    found = told([at(1)], at(4, 5.0))["2026-03"]
    assert (found.promised, found.in_time, found.late, found.never) == (4, 1, 0, 3)
    assert found.fresh == pytest.approx(24 / 73)


def test_what_never_came_at_all_is_missing_now() -> None:
    (found,) = told([], at(9)).values()
    assert (found.month, found.delivered, found.promised, found.never, found.fresh) == (
        "2026-03",
        0,
        1,
        1,
        0.0,
    )
    assert told([], at(9), None) == {}


def test_without_a_promise_deliveries_are_counted_and_nothing_is_judged() -> None:
    (found,) = told([at(1), at(20)], at(25), None).values()
    assert (found.month, found.delivered, found.incidents, found.contained) == ("2026-03", 2, 0, 0)
    judged = {name: value for name, value in asdict(found).items() if value is not None}
    assert judged.keys() == {"month", "delivered", "incidents", "contained"}


def test_a_month_is_that_of_the_contracts_clock_and_a_silence_is_split_at_its_end() -> None:
    # 23:30 UTC on the last of February is March in Berlin.
    assert list(told([at(28, 23.5, 2)], at(28, 23.6, 2), zone=BERLIN)) == ["2026-03"]
    found = told([at(30), at(3, month=4)], at(3, month=4))
    assert (found["2026-03"].in_time, found["2026-03"].late, found["2026-03"].never) == (1, 1, 0)
    assert (found["2026-04"].delivered, found["2026-04"].never, found["2026-04"].late) == (1, 2, 0)
    assert found["2026-03"].fresh == pytest.approx(24 / 44)
    assert found["2026-04"].fresh == 0.0


@given(
    steps=st.lists(st.integers(1, 60 * 24 * 40), min_size=1, max_size=12),
    tail=st.integers(0, 60 * 24 * 40),
    promised=st.integers(30, 60 * 24 * 9),
    zone=st.sampled_from([WORLD, BERLIN]),
)
def test_months_add_up_to_what_a_walk_over_all_deadlines_finds(
    steps: list[int], tail: int, promised: int, zone: ZoneInfo
) -> None:
    minute = timedelta(minutes=1)
    arrivals = [at(1)]
    for step in steps:
        arrivals.append(arrivals[-1] + step * minute)
    now = arrivals[-1] + tail * minute
    found = told(arrivals, now, promised * minute, zone)
    missed = sum((step - 1) // promised for step in [*steps, max(tail, 1)])
    late = sum(step > promised for step in steps)
    fresh = sum(min(step, promised) for step in [*steps, tail])
    whole = sum(steps) + tail
    each = found.values()
    assert sum(month.delivered for month in each) == len(arrivals)
    assert sum(month.late or 0 for month in each) == late
    assert sum(month.never or 0 for month in each) == missed - late
    assert sum(month.in_time or 0 for month in each) == len(arrivals) - late
    assert all((month.never or 0) >= 0 for month in each)
    if len(found) == 1:
        (only,) = each
        assert only.fresh == pytest.approx(fresh / whole)


def incident(opened: datetime, contained: timedelta | None = None) -> Incident:
    fresh = begin("i", "p", [Sighting("raw", "stays", "volume", "s", "fail")], opened)
    if contained is None:
        return fresh
    return replace(fresh, state="acknowledged", acknowledged_by="dana", acknowledged_at=opened + contained)


def test_the_time_to_contain_ends_when_a_person_looked() -> None:
    alone = replace(incident(at(5)), state="resolved", closed_by="service:monitor", closed_at=at(6))
    settled = replace(incident(at(5)), state="resolved", closed_by="dana", closed_at=at(5, 12.0))
    some = [incident(at(2), HOUR), incident(at(3), 3 * HOUR), incident(at(4)), alone, settled]
    (found,) = months([containments(some, WORLD)])
    assert (found.incidents, found.contained, found.contain_p50, found.contain_p95) == (5, 3, 3.0, 8.0)
    assert (found.promised, found.fresh) == (None, None)


def test_parts_are_told_together_with_the_newest_month_first() -> None:
    one = deliveries([at(1), at(2)], at(2), promised=DAY, zone=WORLD)
    two = deliveries([at(1, month=4), at(2, 6.0, 4)], at(2, 6.0, 4), promised=DAY, zone=WORLD)
    found = months([one, two, one, containments([incident(at(9))], WORLD)])
    assert [(each.month, each.delivered, each.promised, each.incidents) for each in found] == [
        ("2026-04", 2, 2, 0),
        ("2026-03", 4, 4, 1),
    ]
    assert months([]) == []
