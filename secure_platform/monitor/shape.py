"""How the columns of a dataset changed, and whom that affects.

breaking: a column is gone, or its type does not hold what the earlier one held.

narrowing: the type holds less of the same, so that values that fitted may not fit any more.

additive: a column is new, or its type holds more.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from secure_platform.monitor.anomaly import STATES, State

Change = Literal["breaking", "narrowing", "additive"]

_WIDTHS: Final = re.compile(r"(u?int|float)(\d+)")
_PRECISION: Final = re.compile(r"decimal\[(\d+),(\d+)\]")
_MANTISSA: Final = {32: 24, 64: 53}
_STATES: Final[Mapping[Change, State]] = {"breaking": "fail", "narrowing": "warn", "additive": "pass"}


@dataclass(frozen=True)
class SchemaChange:
    """One column that changed."""

    column: str
    change: Change
    before: str | None
    after: str | None


def schema_changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[SchemaChange]:
    """What changed between two snapshots' columns (name → stable name of the type), in order of name."""
    changes = []
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old != new:
            changes.append(SchemaChange(name, _change(old, new), old, new))
    return changes


def schema_state(changes: Iterable[SchemaChange]) -> State:
    """Breaking changes fail, narrowing ones warn."""
    return max((_STATES[change.change] for change in changes), key=STATES.index, default="pass")


def _change(old: str | None, new: str | None) -> Change:
    if old is None:
        return "additive"
    if new is None:
        return "breaking"
    if _holds(new, old):
        return "additive"
    return "narrowing" if _holds(old, new) else "breaking"


def _holds(wide: str, narrow: str) -> bool:
    """Whether every value of one type is a value of the other."""
    left, right = _WIDTHS.fullmatch(wide), _WIDTHS.fullmatch(narrow)
    if left and right:
        return _bits(left, right)
    large, small = _PRECISION.fullmatch(wide), _PRECISION.fullmatch(narrow)
    if large and small:
        digits, scale, other_digits, other_scale = map(int, (*large.groups(), *small.groups()))
        return scale >= other_scale and digits - scale >= other_digits - other_scale
    return (wide, narrow) in {("datetime[us,UTC]", "date"), ("datetime[us,]", "date")}


def _bits(wide: re.Match[str], narrow: re.Match[str]) -> bool:
    (kind, bits), (other, fewer) = ((match[1], int(match[2])) for match in (wide, narrow))
    if kind == other:
        return bits >= fewer
    if kind == "float":
        return _MANTISSA.get(bits, 0) >= fewer
    return kind == "int" and other == "uint" and bits > fewer
