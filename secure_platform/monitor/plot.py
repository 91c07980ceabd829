"""A metric over time as Markdown text, which any page can show without a script or another server.

Block characters of eight heights stand for the numbers, oldest first; the last is the one being checked.
"""

from collections.abc import Sequence
from typing import Final

from secure_platform.monitor.history import Record
from secure_platform.monitor.watch import Observation

_HEIGHTS: Final = "▁▂▃▄▅▆▇█"
_POINTS: Final = 60
_GAP: Final = " "


def plot(seen: Observation, history: Sequence[Record]) -> str:
    """One metric: its course, its number and the band."""
    numbers = [*(each.numbers.get(seen.metric) for each in history), seen.value]
    band = (
        f", expected {seen.low:.6g} to {seen.high:.6g}"
        if seen.low is not None and seen.high is not None
        else ""
    )
    value = f" {seen.value:.6g}" if seen.value is not None else ""
    return f"**{seen.metric}**{value}{band}: {seen.state}\n\n`{course(numbers[-_POINTS:])}`"


def course(numbers: Sequence[float | None]) -> str:
    """The numbers as blocks between their least and their greatest; a gap where there is none."""
    known = [number for number in numbers if number is not None]
    if not known:
        return _GAP
    low, width = min(known), max(known) - min(known)
    steps = len(_HEIGHTS) - 1
    return "".join(
        _GAP if number is None else _HEIGHTS[round((number - low) / width * steps) if width else 0]
        for number in numbers
    )
