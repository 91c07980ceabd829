"""Twice the usual amount on every day is found; what is only heavy, or rightly more, is not."""

import math

import numpy as np
import pytest

from secure_platform.monitor.steady import ENOUGH, LATELY, LIMIT, Steady

TODAY = 740_000
RNG = np.random.default_rng(11)


def working_days(first: int, last: int) -> list[int]:
    return [day for day in range(first, last) if day % 7 < 5]


def usual(days: list[int], times: float = 1.0) -> dict[int, int]:
    return {day: int(times * 1_000 * RNG.lognormal(0, 0.5)) for day in days}


def days_until_told(times: float) -> int | None:
    counts = usual(working_days(TODAY - 90, TODAY))
    for day in working_days(TODAY, TODAY + LATELY):
        counts |= usual([day], times)
        steady = Steady.of(counts, day)
        assert steady is not None
        if steady.is_over(counts[day]):
            return day - TODAY
    return None


@pytest.mark.parametrize(("times", "most"), [(2.0, 21), (3.0, 14)])
def test_more_every_day_is_told_within_weeks(times: float, most: int) -> None:
    told = [days_until_told(times) for _ in range(20)]
    assert sum(each is not None and each <= most for each in told) >= 19


def test_the_usual_amount_is_hardly_ever_told() -> None:
    assert sum(days_until_told(1.0) is not None for _ in range(50)) <= 1


def test_heavy_days_alone_are_not_told() -> None:
    """Each adds little, and days as usual take it away again."""
    counts = dict.fromkeys(working_days(TODAY - 90, TODAY), 1000)
    counts |= {TODAY - 3: 1_000_000, TODAY - 10: 1_000_000}
    steady = Steady.of(counts, TODAY)
    assert steady is not None
    assert 0 < steady.sum < LIMIT / 2
    assert not steady.is_over(1_000_000)


def test_few_days_say_nothing_and_those_of_the_last_weeks_do_not_teach() -> None:
    known = working_days(TODAY - 120, TODAY - LATELY + 1)[-ENOUGH:]
    lately = usual(working_days(TODAY - LATELY + 1, TODAY), 50.0)
    steady = Steady.of({**dict.fromkeys(known, 1_000), **lately}, TODAY)
    assert steady is not None
    assert steady.usual == pytest.approx(1_000)
    assert Steady.of({**dict.fromkeys(known[1:], 1_000), **lately}, TODAY) is None
    assert Steady.of({**dict.fromkeys(known, 0), **lately}, TODAY) is None


def test_what_was_told_teaches_nothing_and_what_was_told_alone_does_not_count() -> None:
    counts = dict.fromkeys(working_days(TODAY - 90, TODAY), 1000)
    more = working_days(TODAY - 50, TODAY - LATELY)
    heavy = working_days(TODAY - 20, TODAY)
    counts |= dict.fromkeys(more, 9_000) | dict.fromkeys(heavy, 9_000)
    steady = Steady.of(counts, TODAY, aside=heavy, told=more)
    assert steady is not None
    assert steady.sum == 0
    assert steady.usual == pytest.approx(1_000)
    assert steady.after(math.log1p(1_000)) == 0
    assert Steady.of(counts, TODAY, told=more).sum > LIMIT  # type: ignore[union-attr]
