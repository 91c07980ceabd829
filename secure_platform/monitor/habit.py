"""What is known of one person's use of one product: counts by day, hours and denials; old ones are dropped.

It is plain data that can be kept as JSON. `habits.py` judges what is unusual about it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from secure_platform.access.allowance import WINDOW

KEPT_DAYS: Final = 120
"""Whoever did nothing for so long is new again."""
LEARNING_DAYS: Final = 10
"""Days with any deed that are needed before somebody is judged by their own past."""
DAY_SECONDS: Final = 86_400
_MINUTE: Final = 60
_MINUTES: Final = int(WINDOW.total_seconds()) // _MINUTE


@dataclass
class Habit:
    """What is known of somebody and one product.

    Attributes:
        first: The day of their first deed, as an ordinal.
        days: Day → how much of each count.
        hours: Hour of a working day, or 24 more on a weekend → on how many days, and the last of them.
        aside: Count → days that were told: they teach nothing.
        odd: Day and hour of what was told of hours.
        recent: Denials and what was asked to be revealed, by minute of the last hour: the minute, how often,
            how much. No longer however often they ask.
        tried: Action → when it was last denied, within a day.
        entered: The day on which they were last let in; 0 if never.
    """

    first: int
    days: dict[int, dict[str, int]] = field(default_factory=dict)
    hours: dict[int, list[int]] = field(default_factory=dict)
    aside: dict[str, list[int]] = field(default_factory=dict)
    odd: list[list[int]] = field(default_factory=list)
    recent: dict[str, list[list[int]]] = field(default_factory=dict)
    tried: dict[str, int] = field(default_factory=dict)
    entered: int = 0

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Self:
        """As it was kept."""
        return cls(
            kept["first"],
            {int(day): counts for day, counts in kept["days"].items()},
            {int(hour): seen for hour, seen in kept["hours"].items()},
            kept["aside"],
            kept["odd"],
            kept["recent"],
            kept["tried"],
            kept["entered"],
        )

    def to_json(self) -> dict[str, Any]:
        """To keep it."""
        return {
            **vars(self),
            "days": {str(day): counts for day, counts in self.days.items()},
            "hours": {str(hour): seen for hour, seen in self.hours.items()},
        }

    def learned(self, day: int) -> bool:
        """Whether they can be judged by their own past."""
        return sum(each < day for each in self.days) >= LEARNING_DAYS

    def total(self, count: str, day: int, span: int = 1) -> int:
        """How much in so many days, the last of which is this one."""
        return sum(self.days.get(each, {}).get(count, 0) for each in range(day - span + 1, day + 1))

    def forget(self, day: int, at: int) -> None:
        """Let go of what is too old to be looked at."""
        oldest = day - KEPT_DAYS
        self.days = {each: counts for each, counts in self.days.items() if each > oldest}
        self.hours = {hour: seen for hour, seen in self.hours.items() if seen[1] > oldest}
        self.aside = {name: [each for each in days if each > oldest] for name, days in self.aside.items()}
        self.odd = [each for each in self.odd if each[0] > oldest]
        self.tried = {what: when for what, when in self.tried.items() if when > at - DAY_SECONDS}

    def ask(self, count: str, at: int, amount: int) -> None:
        """Add to this minute."""
        minute, minutes = at // _MINUTE, self.recent.setdefault(count, [])
        if not minutes or minutes[-1][0] != minute:
            minutes[:] = [each for each in minutes if each[0] >= minute - _MINUTES]
            minutes.append([minute, 0, 0])
        minutes[-1][1] += 1
        minutes[-1][2] += amount

    def in_an_hour(self, count: str, at: int) -> tuple[int, int]:
        """How often in the last hour, to the minute, and how much."""
        found = [each for each in self.recent.get(count, ()) if each[0] >= at // _MINUTE - _MINUTES]
        return sum(each[1] for each in found), sum(each[2] for each in found)


def renamed(
    known: Mapping[str, Mapping[str, Habit]], names: Mapping[str, str]
) -> dict[str, dict[str, Habit]]:
    """The same after a rotation of the key that makes the hashes: everybody is called as they are now."""
    return {
        product: {names.get(who, who): habit for who, habit in people.items()}
        for product, people in known.items()
    }
