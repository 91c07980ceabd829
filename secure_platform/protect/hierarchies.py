"""A hierarchy says what a value becomes at each level: a CSV file of the product, in ARX's format.

Each line has a value, then what it becomes at level 1, 2 and so on, separated by semicolons. A level may only
merge what the one before it keeps apart, so a higher level never reveals more.
"""

import csv
import re
from pathlib import Path
from typing import Final

from secure_platform.errors import PlanRefusedError

FOLDER: Final = "hierarchies"
MOST_VALUES: Final = 10_000
_FILE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,58}\.csv")


def read_hierarchy(product: Path, file: str, level: int) -> dict[str, str]:
    """Value → what it becomes at a level.

    Args:
        product: The folder of the product.
        file: Name of a file in its folder `hierarchies`.
        level: From 1 on.

    Raises:
        PlanRefusedError: If there is no such file or level, or the file is no hierarchy.
    """
    rows = _read(product, file)
    _check(file, rows, level)
    return {row[0]: row[level] for row in rows}


def read_levels(product: Path, file: str) -> list[dict[str, str]]:
    """The same for every level of a hierarchy, from 1 on.

    Raises:
        PlanRefusedError: If there is no such file, or it is no hierarchy.
    """
    rows = _read(product, file)
    highest = max((len(row) for row in rows), default=1) - 1
    _check(file, rows, highest)
    return [{row[0]: row[level] for row in rows} for level in range(1, highest + 1)]


def _read(product: Path, file: str) -> list[list[str]]:
    if not _FILE.fullmatch(file):
        raise PlanRefusedError(
            "A hierarchy has an unusable file name",
            f"Name a file in the product's {FOLDER}/ without its folder: letters, digits, - and _, and .csv.",
        )
    try:
        with (product / FOLDER / file).open(encoding="utf-8", newline="") as lines:
            return [row for row in csv.reader(lines, delimiter=";", strict=True) if row]
    except (OSError, ValueError, csv.Error):
        raise PlanRefusedError(
            f"The hierarchy {file} cannot be read",
            f"Put a CSV file of this name into the product's {FOLDER}/.",
        ) from None


def _check(file: str, rows: list[list[str]], level: int) -> None:
    widths = {len(row) for row in rows}
    if len(widths) != 1 or len(rows) > MOST_VALUES or level >= max(widths):
        raise PlanRefusedError(
            f"The hierarchy {file} has no level {level} for each of at most {MOST_VALUES:,} values",
            "Give every line the value and all its levels, with semicolons between.",
        )
    for lower in range(level):
        if len({(row[lower], row[lower + 1]) for row in rows}) != len({row[lower] for row in rows}):
            raise PlanRefusedError(
                f"Level {lower + 1} of the hierarchy {file} separates values that level {lower} merges",
                "List every value once, and let each level only merge values of the level below.",
            )
