"""Names that a contract can have, as close as possible to those of the file."""

import re
from collections.abc import Sequence
from typing import Final

from secure_platform.contract.names import COLUMN
from secure_platform.taxonomy.reading import plain_letters

LONGEST_NAME: Final = 50


def usable_names(header: Sequence[str]) -> tuple[str, ...]:
    """The names of a header that a contract can have, each once whatever its capitals."""
    usable: dict[str, str] = {}
    for name in header:
        if COLUMN.fullmatch(name):
            usable.setdefault(name.lower(), name)
    return tuple(usable.values())


def fitting_names(header: Sequence[str]) -> tuple[str, ...]:
    """Names that a contract can have, as near to these as can be; good ones stay as they are."""
    good = usable_names(header)
    taken = {name.lower() for name in good}
    fitting = []
    for place, name in enumerate(header, start=1):
        fit = name if name in good else _plain(name, place)
        while name not in good and fit.lower() in taken:
            fit = f"{fit}_{place}"
        taken.add(fit.lower())
        fitting.append(fit)
    return tuple(fitting)


def _plain(name: str, place: int) -> str:
    words = re.sub(r"[^A-Za-z0-9]+", "_", plain_letters(name))[:LONGEST_NAME].strip("_")
    return words if words[:1].isalpha() else f"column_{words or place}"
