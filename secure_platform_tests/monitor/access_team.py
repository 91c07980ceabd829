"""The use of three products by a team of people and services over months, and attacks on them, as deeds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from secure_platform.access.allowance import Limits
from secure_platform.monitor.deeds import Deed
from secure_platform.monitor.habits import Habits, Unusual

START: Final = datetime(2026, 1, 5, tzinfo=UTC)
"""A Monday."""
LIMITS: Final = Limits(100, 1_000)
PRODUCTS: Final = ("cardiology", "billing", "registry")
_NOBODY: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True)
class Person:
    """How somebody works.

    Attributes:
        share: Of working days on which they use the product.
        queries: On a typical day.
        rows: That a typical question gives.
        since: Day of the first use.
        reveals: On a typical day; 0 for those who may not.
    """

    who: str
    product: str
    share: float = 0.7
    queries: float = 12
    rows: float = 60
    since: int = 0
    reveals: float = 0


def team(size: int = 8) -> list[Person]:
    """People of different habits, some of whom come later, and two services."""
    people = [
        Person(f"p:{product[0]}{place}", product, 0.2 + 0.1 * place, 4.0 * (place + 1), 20.0 * (place + 1))
        for product in PRODUCTS
        for place in range(size)
    ]
    newcomers = [Person(f"p:{product[0]}n", product, 0.8, 15, 80, since=60) for product in PRODUCTS]
    revealing = [Person(f"p:{product[0]}r", product, 0.5, 5, 30, reveals=4) for product in PRODUCTS]
    return [*people, *newcomers, *revealing]


def work(people: Sequence[Person], days: int, seed: int) -> list[Deed]:
    """Ordinary work: heavy days, ends of months, overtime, holidays, mistakes; and two services."""
    chance = np.random.default_rng(seed)
    found = [deed for person in people for deed in _person(person, days, chance)]
    for product in PRODUCTS:
        found += _service(product, days, chance)
    return sorted(found, key=lambda deed: deed.at)


def _person(person: Person, days: int, chance: np.random.Generator) -> Iterator[Deed]:
    start = chance.normal(8.5, 0.7)
    away = int(chance.integers(30, max(31, days)))
    for day in range(person.since, days):
        date = START + timedelta(days=day)
        weekend, overtime = date.weekday() > 4, chance.random() < 0.03
        if away <= day < away + 14 or chance.random() > (0.005 if weekend else person.share):
            continue
        # Who is new learns the work in the first weeks.
        grown = min(1.0, 0.3 + (day - person.since) / 30) if person.since else 1.0
        busy = 1.8 if (date + timedelta(days=3)).month != date.month else 1.0
        count = 1 + chance.poisson(person.queries * grown * busy * chance.lognormal(0, 0.5))
        hours = np.sort(start + chance.random(count) * (11.5 if overtime else 8.5))
        for hour in hours:
            at = date + timedelta(hours=float(hour))
            rows = min(1_000, int(person.rows * chance.lognormal(0, 1)))
            yield Deed(person.who, person.product, "entered", at)
            yield Deed(person.who, person.product, "queries", at)
            yield Deed(person.who, person.product, "rows", at, rows)
        for _ in range(chance.poisson(person.reveals)):
            at = date + timedelta(hours=float(start + 8 * chance.random()))
            amount = 1 + int(chance.poisson(2))
            yield Deed(person.who, person.product, "asked", at, amount)
            yield Deed(person.who, person.product, "revealed", at, amount)
        if chance.random() < 0.05:
            for _ in range(1 + chance.poisson(1)):
                at = date + timedelta(hours=float(start + 8 * chance.random()))
                yield Deed(person.who, person.product, "denied", at, what="release_approve")


def _service(product: str, days: int, chance: np.random.Generator) -> Iterator[Deed]:
    """A dashboard that asks every hour of the day, and an export at night."""
    for day in range(days):
        date = START + timedelta(days=day)
        for hour in range(6, 20):
            at = date + timedelta(hours=hour, minutes=float(chance.random()))
            yield Deed(f"p:{product[0]}dashboard", product, "queries", at)
            yield Deed(f"p:{product[0]}dashboard", product, "rows", at, 200 + int(chance.poisson(20)))
        at = date + timedelta(hours=3, minutes=float(chance.normal(5, 1)))
        grown = int(20_000 * (1 + day / 400) * chance.lognormal(0, 0.05))
        yield Deed(f"p:{product[0]}export", product, "queries", at)
        yield Deed(f"p:{product[0]}export", product, "rows", at, grown)


def reading(who: str, product: str, day: int, hour: float, questions: int, rows: int) -> list[Deed]:
    """So many questions, one a minute."""
    begin = START + timedelta(days=day, hours=hour)
    found: list[Deed] = []
    for place in range(questions):
        at = begin + timedelta(minutes=place)
        found += [
            Deed(who, product, "entered", at),
            Deed(who, product, "queries", at),
            Deed(who, product, "rows", at, rows),
        ]
    return found


def told(deeds: Sequence[Deed], right: frozenset[str] = _NOBODY) -> list[tuple[datetime, Unusual]]:
    """What is said about them, each once, and when."""
    habits = Habits({}, zones=dict.fromkeys(PRODUCTS, ZoneInfo("UTC")), limits=LIMITS, right=lambda _: right)
    first: dict[str, tuple[datetime, Unusual]] = {}
    for deed in sorted(deeds, key=lambda each: each.at):
        for found in habits.take(deed):
            first.setdefault(found.point, (deed.at, found))
    return list(first.values())
