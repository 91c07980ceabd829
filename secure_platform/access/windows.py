"""A deploy window is a time of the week at which a product may go live: `Mon-Fri 08:00-17:00 Europe/Berlin`.

A window ends before the minute it names. One that ends at or before its beginning goes on into the next day,
which belongs to the day on which it began. Days and times are those of the zone's wall clock.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from secure_platform.errors import UsageError

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAY: Final = "|".join(_DAYS)
_TIME: Final = "(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_WINDOW: Final = re.compile(rf"({_DAY})(?:-({_DAY}))? ({_TIME})-({_TIME}) ([A-Za-z0-9_+/-]{{1,64}})")


@dataclass(frozen=True)
class Window:
    """A recurring time of the week.

    Attributes:
        days: On which it begins, Monday 0.
        begins: Minutes after midnight.
        ends: Minutes after midnight, of the next day if not after `begins`.
        zone: Whose wall clock counts.
    """

    days: frozenset[int]
    begins: int
    ends: int
    zone: ZoneInfo

    def __contains__(self, moment: datetime) -> bool:
        local = moment.astimezone(self.zone)
        minute = local.hour * 60 + local.minute
        if self.ends > self.begins:
            return local.weekday() in self.days and self.begins <= minute < self.ends
        yesterday = (local.date() - timedelta(days=1)).weekday()
        begun_today = local.weekday() in self.days and minute >= self.begins
        return begun_today or (yesterday in self.days and minute < self.ends)


def read_window(text: str) -> Window:
    """The window that a text describes.

    Raises:
        UsageError: If it is not of the form `Mon-Fri 08:00-17:00 Europe/Berlin`.
    """
    parsed = _WINDOW.fullmatch(text)
    zone = None if parsed is None else _zone(parsed[5])
    if parsed is None or zone is None:
        raise UsageError(
            "A deploy window is not understood", "Write it like `Mon-Fri 08:00-17:00 Europe/Berlin`."
        )
    first, last = _DAYS.index(parsed[1]), _DAYS.index(parsed[2] or parsed[1])
    days = frozenset((first + offset) % 7 for offset in range((last - first) % 7 + 1))
    return Window(days, _minutes(parsed[3]), _minutes(parsed[4]), zone)


def _minutes(time: str) -> int:
    hours, minutes = time.split(":")
    return int(hours) * 60 + int(minutes)


def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return None
