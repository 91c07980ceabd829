"""How tables and columns are called in a report: by their names, unless a name may be somebody's data.

A file without a header, or objects keyed by user, have values where names should be. So a name in which the
scanner finds something, or that is longer than a name, is told by its place: `column 3`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import polars as pl

from secure_platform.scan.columns import Finding, Scanner

LONGEST: Final = 63
_TELLING: Final = re.compile(r"[@]|[0-9](?:[ .-]?[0-9]){3}|[A-Za-z0-9+/_-]{20}")
"""What a name has in it that could be a value: other names are not looked at again."""


def unique(cells: Sequence[str | None]) -> tuple[str, ...]:
    """Column names, each there once: an empty one is its place, one that was there before gets a number."""
    names: dict[str, None] = {}
    for place, cell in enumerate(cells, start=1):
        name = wanted = cell or by_place(place)
        number = 1
        while name in names:
            number += 1
            name = f"{wanted} ({number})"
        names[name] = None
    return tuple(names)


def by_place(place: int) -> str:
    """The name of a column that has none to show."""
    return f"column {place}"


def found_in(scanner: Scanner, names: Sequence[str]) -> Mapping[str, list[Finding]]:
    """What the scanner finds in names that could be values, by name."""
    telling = [name for name in names if _TELLING.search(name)]
    if not telling:
        return {}
    # As cells below columns whose own names mean nothing.
    cells = {str(place): [name] for place, name in enumerate(telling)}
    found: dict[str, list[Finding]] = {}
    for finding in scanner.scan(pl.LazyFrame(cells)):
        found.setdefault(telling[int(finding.column)], []).append(finding)
    return found


def shown(names: Iterable[str], hidden: Iterable[str]) -> Mapping[str, str]:
    """How each column is called in a report, in order.

    Args:
        names: The columns' names.
        hidden: Those that are values.
    """
    kept_back = set(hidden)
    return {
        name: by_place(place) if name in kept_back or len(name) > LONGEST else name
        for place, name in enumerate(names, start=1)
    }
