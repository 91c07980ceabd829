"""Ordinary work of a team is hardly ever told, and an attack on it soon is."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from typing import Literal, get_args
from zoneinfo import ZoneInfo

import pytest
from access_team import LIMITS, START, Person, reading, told, work

from secure_platform.monitor.deeds import Deed
from secure_platform.monitor.habit import Habit, renamed
from secure_platform.monitor.habits import Habits, Unusual

ANN = Person("p:ann", "cardiology", 0.9, 12, 60)
BOB = Person("p:bob", "cardiology", 0.6, 5, 30, reveals=3)
DAYS = 120
DAY = 98
"""A Monday on which attacks begin."""


@pytest.fixture
def ordinary() -> list[Deed]:
    return ordinary_work()


@cache
def usual() -> frozenset[str]:
    """What is told without an attack."""
    return frozenset(found.point for _, found in told(ordinary_work()))


@cache
def ordinary_work() -> list[Deed]:
    return work([ANN, BOB], DAYS, seed=7)


def new(ordinary: Sequence[Deed], attack: Sequence[Deed]) -> list[tuple[datetime, Unusual]]:
    """What is told because of the attack, and when."""
    return [(at, found) for at, found in told([*ordinary, *attack]) if found.point not in usual()]


def denied(day: int, count: int, *, every: timedelta, actions: Sequence[str]) -> list[Deed]:
    begin = START + timedelta(days=day, hours=10)
    return [
        Deed(ANN.who, ANN.product, "denied", begin + place * every, what=actions[place % len(actions)])
        for place in range(count)
    ]


def revealed(who: str, day: int, times: int, amount: int) -> list[Deed]:
    begin = START + timedelta(days=day, hours=11)
    return [
        Deed(who, ANN.product, count, begin + timedelta(minutes=place), amount)
        for place in range(times)
        for count in get_args(Literal["asked", "revealed"])
    ]


def test_months_of_ordinary_work_are_hardly_ever_told() -> None:
    people = [replace(ANN, who=f"p:{place}", queries=4.0 + place) for place in range(6)]
    found = told(work(people, 182, seed=3))
    assert len({(each.who, each.check) for _, each in found}) <= 3
    assert not any(each.state == "fail" for _, each in found)


@pytest.mark.parametrize(
    ("attack", "check", "within"),
    [
        (reading(ANN.who, ANN.product, DAY, 14, 100, 1_000), "access_volume", timedelta(hours=1)),
        (reading(ANN.who, ANN.product, DAY, 3, 5, 100), "access_hours", timedelta(minutes=5)),
        (reading("p:cdashboard", ANN.product, DAY, 1, 2, 300), "access_hours", timedelta(minutes=5)),
        (reading("p:cdashboard", ANN.product, DAY, 11, 40, 900), "access_volume", timedelta(hours=1)),
        (reading("p:new", ANN.product, DAY, 11, 1, 5), "first_access", timedelta(minutes=1)),
        (reading("p:new", ANN.product, DAY, 11, 60, 1_000), "access_volume", timedelta(hours=1)),
        (denied(DAY, 12, every=timedelta(minutes=1), actions=["data_reveal"]), "denials", timedelta(hours=1)),
        (denied(DAY, 6, every=timedelta(minutes=5), actions="abcdef"), "denials", timedelta(hours=1)),
        (denied(DAY, 20, every=timedelta(hours=13), actions=["x"]), "denials", timedelta(days=8)),
        (revealed(BOB.who, DAY, 30, 30), "reveal_limit", timedelta(hours=1)),
        (revealed(BOB.who, DAY, 2, 60), "access_volume", timedelta(hours=1)),
    ],
    ids=[
        *("a great theft", "a token at night", "a service's token at night", "a service's token by day"),
        *("a newcomer", "a newcomer who takes all", "a burst of denials", "probing", "a drip of denials"),
        *("near the limit", "far more revealed"),
    ],
)
def test_an_attack_is_told(ordinary: list[Deed], attack: list[Deed], check: str, within: timedelta) -> None:
    found = [at for at, each in new(ordinary, attack) if each.check == check]
    assert found
    assert min(found) - attack[0].at <= within


def test_who_takes_a_little_more_every_day_is_told_within_four_weeks(ordinary: list[Deed]) -> None:
    slow = [deed for day in range(26) for deed in reading(BOB.who, BOB.product, 92 + day, 11, 6, 900)]
    weekly = [at for at, each in new(ordinary, slow) if "_in_" in each.note]
    assert min(weekly) - slow[0].at <= timedelta(days=28)


def test_a_drip_has_to_last_and_a_service_that_is_always_denied_is_no_news() -> None:
    drip = [deed for day in range(100) for deed in denied(day, 3, every=timedelta(hours=2), actions=["x"])]
    found = [at for at, _ in told(drip)]
    assert found
    assert max(found) < START + timedelta(days=30)


def test_a_false_alarm_is_learned_from_and_anything_else_teaches_nothing(ordinary: list[Deed]) -> None:
    heavy = [
        deed for day in (0, 2, 4, 7) for deed in reading(ANN.who, ANN.product, DAY + day, 11, 100, 1_000)
    ]
    points = [each.point for _, each in new(ordinary, heavy) if each.check == "access_volume"]
    assert {point.split("/")[2] for point in points if "/rows/" in point} == {
        f"{(START + timedelta(days=DAY + day)).date()}" for day in (0, 2, 4, 7)
    }
    right = frozenset(point for point in points if f"{(START + timedelta(days=DAY)).date()}" in point)
    again = {each.point for _, each in told([*ordinary, *heavy], right)} & set(points)
    assert not any(
        f"{(START + timedelta(days=DAY + day)).date()}" in point for point in again for day in (2, 4)
    )


def test_hours_that_a_person_found_right_are_told_no_more(ordinary: list[Deed]) -> None:
    nights = [deed for day in (0, 1) for deed in reading(ANN.who, ANN.product, DAY + day, 3, 3, 100)]
    points = [each.point for _, each in new(ordinary, nights) if each.check == "access_hours"]
    assert len(points) == 2
    again = {each.point for _, each in told([*ordinary, *nights], frozenset(points[:1]))}
    assert points[1] not in again


def test_beginners_are_learning_and_old_habits_are_forgotten() -> None:
    few = [deed for day in range(5) for deed in reading("p:first", "cardiology", day, 3 * day, 20, 300)]
    assert told(few) == []
    back = reading("p:first", "cardiology", 300, 11, 1, 10)
    others = work([ANN], 301, seed=1)
    assert any(
        each.who == "p:first" and each.check == "first_access" for _, each in told([*few, *others, *back])
    )


def test_what_is_kept_goes_on_as_if_it_had_never_been_put_down(ordinary: list[Deed]) -> None:
    attack = reading(ANN.who, ANN.product, DAY, 14, 100, 1_000)
    deeds = sorted([*ordinary, *attack], key=lambda deed: deed.at)
    clocks = {ANN.product: ZoneInfo("UTC")}
    habits = Habits({}, zones=clocks, limits=LIMITS, right=lambda _: ())
    found: list[Unusual] = []
    for place in range(0, len(deeds), 500):
        for deed in deeds[place : place + 500]:
            found += habits.take(deed)
        kept = {
            product: {who: Habit.of(habit.to_json()) for who, habit in people.items()}
            for product, people in habits.known.items()
        }
        habits = Habits(renamed(kept, {}), zones=clocks, limits=LIMITS, right=lambda _: ())
    assert {each.point for each in found} == {each.point for _, each in told(deeds)}


def test_however_often_somebody_is_denied_no_more_is_kept_of_it() -> None:
    deeds = denied(0, 20_000, every=timedelta(seconds=3), actions=["x", "y", "z"])
    habits = Habits({}, zones={}, limits=LIMITS, right=lambda _: ())
    notes = {found.note for deed in deeds for found in habits.take(deed)}
    (habit,) = habits.known[ANN.product].values()
    assert len(habit.recent["denied"]) <= 62
    assert sum(counts["denied"] for counts in habit.days.values()) == len(deeds)
    # An hour to the minute, at three seconds each.
    assert max(int(note.split()[1].rstrip(",").replace(",", "")) for note in notes) <= 61 * 20


def test_what_is_an_hour_ago_counts_no_more(ordinary: list[Deed]) -> None:
    slow = denied(DAY, 7, every=timedelta(minutes=1), actions=["x"])
    later = [replace(deed, at=deed.at + timedelta(minutes=70)) for deed in slow]
    assert not any(each.check == "denials" for _, each in new(ordinary, [*slow, *later]))
    sooner = [replace(deed, at=deed.at + timedelta(minutes=40)) for deed in slow]
    assert any(each.check == "denials" for _, each in new(ordinary, [*slow, *sooner]))


def test_who_was_denied_before_is_told_when_they_are_let_in_for_the_first_time(ordinary: list[Deed]) -> None:
    tried = Deed("p:new", ANN.product, "denied", START + timedelta(days=DAY - 1), what="production_query")
    entered = reading("p:new", ANN.product, DAY, 11, 1, 5)
    again = reading("p:new", ANN.product, DAY + 7, 11, 1, 5)
    found = [at for at, each in new(ordinary, [tried, *entered, *again]) if each.check == "first_access"]
    assert found == [entered[0].at]
