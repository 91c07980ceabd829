"""Whether somebody takes more than before, day after day: a cumulative sum of the excess over the usual.

No single day need be unusual, nor a month; what is unusual is that so many days are above the middle (Page,
Continuous Inspection Schemes, Biometrika 41, 1954). The usual is learned from the days before the last four
weeks; the last four weeks are examined.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

LATELY: Final = 28
"""Days that are looked at."""
ENOUGH: Final = 20
"""Earlier days with any use that say what is usual."""
_NARROWEST: Final = 0.35
"""Spread of the logarithm of a day's count."""
_SLACK: Final = 0.5
"""Spreads above the middle that a day may be."""
_MOST: Final = 2.5
"""Spreads that one day adds at most: a heavy day is another matter."""
LIMIT: Final = 8.0
"""Spreads together."""


@dataclass(frozen=True)
class Steady:
    """What is usual, and how far above it the last days were.

    Attributes:
        middle, spread: Of the logarithms of the counts of the days before.
        sum: Spreads above that, together, until yesterday.
    """

    middle: float
    spread: float
    sum: float

    @classmethod
    def of(
        cls, counts: Mapping[int, int], day: int, aside: Collection[int] = (), told: Collection[int] = ()
    ) -> "Steady | None":
        """Learn from the counts of earlier days.

        Args:
            counts: Day, as an ordinal → count.
            day: Today.
            aside: Days that are left out: what is unusual about them was told.
            told: Days that teach nothing, because they were too much together.

        Returns:
            None if there are too few days.
        """
        known = {
            each: math.log1p(count)
            for each, count in counts.items()
            if count and each < day and each not in aside
        }
        past = [size for each, size in known.items() if each <= day - LATELY and each not in told]
        if len(past) < ENOUGH:
            return None
        middle, spread = typical(past)
        steady = cls(middle, spread, 0.0)
        for each in sorted(each for each in known if each > day - LATELY):
            steady = cls(middle, spread, steady.after(known[each]))
        return steady

    @property
    def usual(self) -> float:
        """The count of a usual day."""
        return math.expm1(self.middle)

    def after(self, size: float) -> float:
        """The sum with one more day, of this logarithm."""
        above = min((size - self.middle) / self.spread, _MOST) - _SLACK
        return max(0.0, self.sum + above)

    def is_over(self, count: int) -> bool:
        """Whether today, with so much so far, is too much of it."""
        return self.after(math.log1p(count)) > LIMIT


def typical(sizes: Sequence[float]) -> tuple[float, float]:
    """Middle and spread of the logarithms of some days' counts, whatever a few of them are."""
    middle = median(sizes)
    return middle, max(1.4826 * median(abs(size - middle) for size in sizes), _NARROWEST)
