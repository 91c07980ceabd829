"""A schedule is five cron fields that name at least one moment of the calendar's ranges.

Checked here so that a wrong schedule is refused with its file, not when a daemon first reads it.
"""

import re
from typing import Final

_FIELDS: Final = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")),
    ("day of week", 0, 7, ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),
)
_TERM: Final = re.compile(r"(?:\*|([0-9]{1,2}|[a-z]{3})(?:-([0-9]{1,2}|[a-z]{3}))?)(?:/([0-9]{1,2}))?")


def wrong_field(schedule: str) -> str | None:
    """What is wrong with a cron schedule: `number of fields`, or the first bad field; None if nothing."""
    texts = schedule.lower().split()
    if len(texts) != len(_FIELDS):
        return "number of fields"
    for text, (name, low, high, words) in zip(texts, _FIELDS, strict=True):
        if not all(_valid(term, low, high, words) for term in text.split(",")):
            return name
    return None


def _valid(term: str, low: int, high: int, words: tuple[str, ...]) -> bool:
    match = _TERM.fullmatch(term)
    if match is None:
        return False
    first, last, step = match.groups()
    ends = [_number(end, low, words) for end in (first, last) if end is not None]
    ordered = ends == sorted(ends) and all(low <= end <= high for end in ends)
    stepped = step is None or (int(step) >= 1 and (first is None or last is not None))
    return ordered and stepped


def _number(end: str, low: int, words: tuple[str, ...]) -> int:
    """A number, or the place of a word; -1 for an unknown word."""
    if end.isdigit():
        return int(end)
    return words.index(end) + low if end in words else -1
