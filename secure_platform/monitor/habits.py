"""Learns what each person usually does with a product's data, and reports what is unusual.

A day is compared with the days before it: with their typical size and with the largest of them. Weeks and
months are compared as well, and so is how often a day was above the usual (`steady.py`), so that somebody who
takes a little more every day is found late rather than never. A newcomer is compared with the busiest of the
others. What was reported is not learned from until a person calls it a false alarm.

Everything here is a function of the deeds in their order: what is kept can be recomputed from the log.
"""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final
from zoneinfo import ZoneInfo

from secure_platform.access.allowance import Limits
from secure_platform.monitor.anomaly import UTC
from secure_platform.monitor.deeds import Deed
from secure_platform.monitor.habit import DAY_SECONDS, KEPT_DAYS, Habit
from secure_platform.monitor.incident import Severity
from secure_platform.monitor.steady import LATELY, Steady, typical

PRODUCT_DAYS: Final = 14
"""Age of what is known of a product before a newcomer to it is one."""
_LEAST: Final[Mapping[str, int]] = {"queries": 150, "rows": 5_000, "revealed": 50, "scans": 10}
"""Less in a day is never worth a word."""
_WIDTH: Final = 3.0
"""Spreads, of the logarithm of a day's count, above the typical day."""
_BEYOND: Final = 1.8
"""How far above the busiest earlier day."""
_GRAVE: Final = 4.0
"""How far above the limit a warning becomes a failure."""
_SPANS: Final[Mapping[int, tuple[int, float]]] = {7: (42, 2.2), 28: (84, 2.0)}
"""Days of a span → days of a past that it needs, and how far above the busiest earlier span it may be."""
_SPAN_COUNTS: Final = ("rows", "revealed")
_NEAR_HOURS: Final = 3
_HOURS_LEARNED: Final = 12
_FRIDAY: Final = 4
_NIGHT_ROWS: Final = 100
_BURST: Final = 8
_KINDS: Final = 4
"""Different actions that somebody is denied within a day: they are trying what they may do."""
_DRIP_DAYS: Final = 14
_DRIP: Final = 12
_DRIP_ACTIVE: Final = 4
_DRIP_NAME: Final = "denied_in_14_days"
_NEAR_LIMIT: Final = 0.8


@dataclass(frozen=True)
class Unusual:
    """Something to tell.

    Attributes:
        who: The log's keyed hash of them.
        check: What looked at it.
        point: The same whenever it is found again.
        note: Count and band.
    """

    who: str
    product: str
    check: str
    state: Severity
    point: str
    note: str


class Habits:
    """What everybody usually does with every product.

    Args:
        known: Product → who → what is known.
        zones: Product → whose days and hours count.
        limits: How much may be revealed in an hour.
        right: Product → points that a person called a false alarm.
    """

    def __init__(
        self,
        known: dict[str, dict[str, Habit]],
        *,
        zones: Mapping[str, ZoneInfo],
        limits: Limits,
        right: Callable[[str], Collection[str]],
    ) -> None:
        self.known = known
        self._zones = zones
        self._limits = limits
        self._right = right
        self._bands: dict[tuple[str, str, str, int], float | None] = {}
        self._steady: dict[tuple[str, str, str, int], Steady | None] = {}

    def take(self, deed: Deed) -> Iterator[Unusual]:
        """Learn from a deed, and say what is unusual about it; deeds come in the order of the log.

        Whether it is told is the caller's matter: what is unusual teaches nothing in either case.
        """
        local = deed.at.astimezone(self._zones.get(deed.product, UTC))
        day, at = local.toordinal(), int(deed.at.timestamp())
        people = self.known.setdefault(deed.product, {})
        habit = people.get(deed.who)
        if habit is None or max(habit.days, default=habit.first) <= day - KEPT_DAYS:
            habit = people[deed.who] = Habit(day)
        if deed.count == "entered":
            if habit.entered <= day - KEPT_DAYS:
                yield from self._first(deed, people, day)
            habit.entered = day
        if day not in habit.days:
            habit.forget(day, at)
            habit.days[day] = {}
        counts = habit.days[day]
        counts[deed.count] = counts.get(deed.count, 0) + deed.amount
        if deed.count in {"denied", "asked"}:
            habit.ask(deed.count, at, deed.amount)
        if deed.count == "denied":
            habit.tried[deed.what] = at
        for found in (*self._judged(deed, habit, day), *self._at_hour(deed, habit, local)):
            count = found.point.split("/")[1]
            if day not in habit.aside.setdefault(count, []):
                habit.aside[count].append(day)
            yield found

    def band(self, product: str, who: str, count: str, day: int) -> float | None:
        """The most that is usual of a count on this day; None while nothing can be said."""
        key = (product, who, count, day)
        if key not in self._bands:
            self._bands[key] = self._band(product, who, count, day)
        return self._bands[key]

    def _band(self, product: str, who: str, count: str, day: int) -> float | None:
        people = self.known[product]
        habit = people.get(who)
        if habit is not None and habit.learned(day):
            return _limit(self._learned(product, who, count, day), _LEAST[count])
        others = [
            max(self._learned(product, other, count, day), default=0)
            for other, each in people.items()
            if other != who and each.learned(day)
        ]
        return max(float(_LEAST[count]), _BEYOND * max(others)) if others else None

    def _learned(self, product: str, who: str, count: str, day: int) -> list[int]:
        """The counts of earlier days on which there were any."""
        habit = self.known[product][who]
        right = self._right(product)
        aside = {
            each
            for each in habit.aside.get(count, ())
            if not any(_point(who, count, each, state) in right for state in ("warn", "fail"))
        }
        return [
            counts[count]
            for each, counts in habit.days.items()
            if each < day and each not in aside and counts.get(count)
        ]

    def _first(self, deed: Deed, people: Mapping[str, Habit], day: int) -> Iterator[Unusual]:
        """Somebody who was never here, or not for long, begins to use what others have used for a while."""
        oldest = min((each.first for who, each in people.items() if who != deed.who), default=day)
        if day - oldest >= PRODUCT_DAYS:
            note = f"first use; {len(people) - 1} others use it"
            yield Unusual(
                deed.who, deed.product, "first_access", "warn", _point(deed.who, "first", day, "warn"), note
            )

    def _judged(self, deed: Deed, habit: Habit, day: int) -> Iterator[Unusual]:
        if deed.count in _LEAST:
            yield from self._volume(deed, habit, day)
        if deed.count in _SPAN_COUNTS:
            yield from self._spans(deed, habit, day)
            yield from self._steadily(deed, habit, day)
        if deed.count == "denied":
            yield from self._denied(deed, habit, day)
        if deed.count in {"asked", "limited"}:
            yield from self._near_limit(deed, habit, day)

    def _volume(self, deed: Deed, habit: Habit, day: int) -> Iterator[Unusual]:
        band, count = self.band(deed.product, deed.who, deed.count, day), habit.total(deed.count, day)
        if band is not None and count > band:
            yield self._told(deed, "access_volume", deed.count, day, count, band)

    def _spans(self, deed: Deed, habit: Habit, day: int) -> Iterator[Unusual]:
        for span, (age, beyond) in _SPANS.items():
            count = habit.total(deed.count, day, span)
            if day - habit.first < age or count <= span * _LEAST[deed.count] / 7:
                continue
            name = f"{deed.count}_in_{span}_days"
            band = beyond * self._busiest(deed, habit, deed.count, span, day)
            if 0 < band < count and not self._is_right(deed, name):
                # Told once in such a span.
                yield self._told(deed, "access_volume", name, day - day % span, count, band)

    def _steadily(self, deed: Deed, habit: Habit, day: int) -> Iterator[Unusual]:
        """A little more than ever before, every day."""
        name = f"{deed.count}_steadily"
        key = (deed.product, deed.who, name, day)
        if key not in self._steady:
            counts = {each: counted.get(deed.count, 0) for each, counted in habit.days.items()}
            aside = {*habit.aside.get(deed.count, ())}
            right = self._is_right(deed, name)
            self._steady[key] = None if right else Steady.of(counts, day, aside, habit.aside.get(name, ()))
        steady, count = self._steady[key], habit.total(deed.count, day)
        lately = habit.total(deed.count, day, LATELY)
        if steady is not None and lately > _LEAST[deed.count] and steady.is_over(count):
            # Told once in such a span.
            point = _point(deed.who, name, day - day % LATELY, "warn")
            note = (
                f"{deed.count} {lately:,} in {LATELY} days, many above the usual {steady.usual:,.0f} of a day"
            )
            yield Unusual(deed.who, deed.product, "access_volume", "warn", point, note)

    def _busiest(self, deed: Deed, habit: Habit, count: str, span: int, day: int) -> float:
        """The most in so many days together, all of them before the last so many."""
        key = (deed.product, deed.who, f"{count}_in_{span}_days", day)
        found = self._bands.get(key)
        if found is None:
            aside = set(habit.aside.get(count, ()))
            earlier = {each: habit.total(count, each) for each in habit.days if each not in aside}
            ends = range(max(habit.first, day - KEPT_DAYS), day - span + 1)
            running, most = 0, 0
            for end in ends:
                running += earlier.get(end, 0) - earlier.get(end - span, 0) * (end - span >= ends[0])
                most = max(most, running)
            found = self._bands[key] = float(most)
        return found

    def _is_right(self, deed: Deed, name: str) -> bool:
        """Whether a person called any of these a false alarm."""
        return any(point.startswith(f"{deed.who}/{name}/") for point in self._right(deed.product))

    def _denied(self, deed: Deed, habit: Habit, day: int) -> Iterator[Unusual]:
        at = int(deed.at.timestamp())
        usual = self._busiest_day(deed, day)
        burst, _ = habit.in_an_hour("denied", at)
        if burst >= max(_BURST, usual + 1):
            yield self._told(deed, "denials", "denied", day, burst, max(_BURST - 1, usual))
        kinds = [what for what, when in habit.tried.items() if when > at - DAY_SECONDS]
        if len(kinds) >= _KINDS:
            point = _point(deed.who, "probing", day, "fail")
            note = f"{len(kinds)} different actions denied within a day"
            yield Unusual(deed.who, deed.product, "denials", "fail", point, note)
        yield from self._drip(deed, habit, day)

    def _busiest_day(self, deed: Deed, day: int) -> int:
        """The most denials on an earlier day."""
        key = (deed.product, deed.who, "denied_in_1_days", day)
        if self._bands.get(key) is None:
            self._bands[key] = max(self._learned(deed.product, deed.who, "denied", day), default=0)
        return int(self._bands[key] or 0)

    def _drip(self, deed: Deed, habit: Habit, day: int) -> Iterator[Unusual]:
        count = habit.total("denied", day, _DRIP_DAYS)
        days = sum(each > day - _DRIP_DAYS and "denied" in counts for each, counts in habit.days.items())
        if days < _DRIP_ACTIVE or count < _DRIP:
            return
        band = max(_DRIP - 1, 2 * self._busiest(deed, habit, "denied", _DRIP_DAYS, day))
        if count > band and not self._is_right(deed, _DRIP_NAME):
            yield self._told(deed, "denials", _DRIP_NAME, day - day % _DRIP_DAYS, count, band)

    def _near_limit(self, deed: Deed, habit: Habit, day: int) -> Iterator[Unusual]:
        if deed.count == "limited":
            point = _point(deed.who, "limited", day, "fail")
            yield Unusual(deed.who, deed.product, "reveal_limit", "fail", point, "refused: over the limit")
            return
        calls, values = habit.in_an_hour("asked", int(deed.at.timestamp()))
        for name, count, limit in (
            ("calls", calls, self._limits.calls),
            ("values", values, self._limits.amount),
        ):
            if count >= _NEAR_LIMIT * limit and not self._is_right(deed, name):
                yield self._told(deed, "reveal_limit", name, day, count, limit)

    def _at_hour(self, deed: Deed, habit: Habit, local: datetime) -> Iterator[Unusual]:
        """Reading at an hour at which they never do."""
        if deed.count not in {"rows", "revealed"}:
            return
        day, weekend = local.toordinal(), 24 * (local.weekday() > _FRIDAY)
        place = local.hour + weekend
        near = {(local.hour + off) % 24 + weekend for off in range(-_NEAR_HOURS, _NEAR_HOURS + 1)}
        active = sum(each < day for each in habit.days)
        if active < _HOURS_LEARNED or near & self._hours(deed, habit, day):
            times, last = habit.hours.get(place, (0, 0))
            habit.hours[place] = [times + (last != day), day]
        elif deed.count == "revealed" or habit.total("rows", day) >= _NIGHT_ROWS:
            if [day, place] not in habit.odd:
                habit.odd.append([day, place])
            where = "on a weekend" if weekend else "on a working day"
            note = f"{local.hour:02d} h {where}, never near it on {active} days"
            point = _point(deed.who, "hours", day, "warn")
            yield Unusual(deed.who, deed.product, "access_hours", "warn", point, note)

    def _hours(self, deed: Deed, habit: Habit, day: int) -> set[int]:
        """Those at which they read before, and those that a person found right."""
        right = self._right(deed.product)
        found = {hour for hour, (times, last) in habit.hours.items() if times > 1 or last < day}
        return found | {place for odd, place in habit.odd if _point(deed.who, "hours", odd, "warn") in right}

    def _told(self, deed: Deed, check: str, name: str, day: int, count: int, band: float) -> Unusual:
        state: Severity = "fail" if count > _GRAVE * band else "warn"
        note = f"{name} {count:,}, usual is at most {band:,.0f}"
        return Unusual(deed.who, deed.product, check, state, _point(deed.who, name, day, state), note)


def _limit(earlier: Iterable[int], least: int) -> float:
    """Above the typical day by some spreads, and above the busiest."""
    days = list(earlier)
    if not days:
        return float(least)
    middle, spread = typical([math.log1p(each) for each in days])
    return max(float(least), math.expm1(middle + _WIDTH * spread), _BEYOND * max(days))


def _point(who: str, count: str, day: int, state: str) -> str:
    return f"{who}/{count}/{date.fromordinal(day)}/{state}"
