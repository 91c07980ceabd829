"""A column's distribution as counts in fixed bins, and the distance between two distributions.

Numbers fall into bins 5 % wide, the same for every snapshot. Two sketches can thus be compared without
reading the data again, and a bin contains no value. Small cells are left out before a sketch is kept
(`monitor.profile`).
"""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from secure_platform.monitor.anomaly import State
from secure_platform.monitor.statistics import Matrix

GROWTH: Final = 1.05
_SMALLEST: Final = 1e-9
_MOST_STEPS: Final = math.log(sys.float_info.max) / math.log(GROWTH) - 1e-9
_OFFSET: Final = math.ceil(-math.log(_SMALLEST) / math.log(GROWTH)) + 1
GROUPS: Final = 20
"""Bins are joined until the reference has so many of about equal size: PSI of thin bins is noise."""
LIMITS: Final[Mapping[str, float]] = {
    "psi": 0.1,
    "jensen_shannon": 0.1,
    "kolmogorov_smirnov": 0.1,
    "wasserstein": 0.1,
}
FAIL: Final = 2.5
"""So many times a limit is a failure: for the PSI, the usual 0.25."""
SURE: Final = 0.001
"""A difference that chance makes more often than this is none."""
USUAL: Final = 5
"""Earlier distances that tell how much a column wanders by itself."""
_WANDER: Final = 2.5
"""Times the second largest of them: one that nobody called wrong does not hide the next."""

Sketch = Mapping[str, int]
"""Bin → count; the bins of numbers are whole numbers as text, in the order of the values."""


@dataclass(frozen=True)
class Drift:
    """How far a column moved.

    Attributes:
        state: The verdict.
        distances: By measure: `psi`, `jensen_shannon` (distance, base 2), of numbers also
            `kolmogorov_smirnov` and `wasserstein` (in standard deviations of the reference).
        severity: The largest distance in units of its limit.
        chance: How likely samples of one distribution differ so much.
    """

    state: State
    distances: Mapping[str, float]
    severity: float
    chance: float


def number_bin(column: pl.Expr) -> pl.Expr:
    """The bin of each number."""
    number = column.cast(pl.Float64)
    size = number.abs()
    step = (size.clip(lower_bound=_SMALLEST).log() / math.log(GROWTH)).floor() + _OFFSET
    return pl.when(size < _SMALLEST).then(0.0).otherwise(step * number.sign()).cast(pl.Int64)


def bin_middle(label: str) -> float:
    """A number in the middle of a bin."""
    index = int(label)
    return math.copysign(_grown(abs(index) - _OFFSET + 0.5), index) if index else 0.0


def _grown(steps: float) -> float:
    """The size that a number of steps leads to; no more than a number can have."""
    return float(GROWTH ** min(steps, _MOST_STEPS))


def bin_edges(label: str) -> tuple[float, float]:
    """The smallest and the greatest number of a bin."""
    index = int(label)
    if not index:
        return 0.0, 0.0
    edges = [math.copysign(_grown(abs(index) - _OFFSET + side), index) for side in (0, 1)]
    return min(edges), max(edges)


def drift(reference: Sketch, current: Sketch, *, numeric: bool, usual: Sequence[float] = ()) -> Drift:
    """Compare a column with what it was.

    Args:
        reference: The sketch of earlier snapshots, added up.
        current: The sketch under test.
        numeric: Whether the bins have an order and a size.
        usual: Severities of earlier comparisons, while nothing was wrong.
    """
    before, after, labels = _aligned(reference, current, numeric=numeric)
    if not before.sum() or not after.sum():
        return Drift("learning", {}, 0.0, 1.0)
    distances = {"psi": _psi(*_grouped(before, after, numeric=numeric)), "jensen_shannon": _js(before, after)}
    if numeric:
        distances |= _ordered(before, after, np.array([bin_middle(label) for label in labels]))
    chance = _chance(*_grouped(before, after, numeric=numeric))
    severity = max(value / LIMITS[name] for name, value in distances.items()) if chance < SURE else 0.0
    bound = _WANDER * sorted(usual)[-2] if len(usual) >= USUAL else 0.0
    state: State = "pass"
    if severity > max(1.0, bound):
        state = "fail" if severity > max(FAIL, bound) else "warn"
    return Drift(state, distances, severity, chance)


def add(sketches: Sequence[Sketch]) -> dict[str, int]:
    """Several snapshots as one."""
    total: dict[str, int] = {}
    for sketch in sketches:
        for label, count in sketch.items():
            total[label] = total.get(label, 0) + count
    return total


def _aligned(reference: Sketch, current: Sketch, *, numeric: bool) -> tuple[Matrix, Matrix, list[str]]:
    labels = sorted({*reference, *current}, key=int if numeric else None)
    before, after = (
        np.array([sketch.get(label, 0) for label in labels], dtype=np.float64)
        for sketch in (reference, current)
    )
    return before, after, labels


def _grouped(before: Matrix, after: Matrix, *, numeric: bool) -> tuple[Matrix, Matrix]:
    """Neighbouring bins joined, of categories the rare ones, into at most `GROUPS` of the reference."""
    if numeric:
        share = np.cumsum(before) / before.sum()
        group = np.minimum((share - before / before.sum() / 2) * GROUPS, GROUPS - 1).astype(int)
    else:
        group = np.minimum(np.argsort(np.argsort(-before, kind="stable"), kind="stable"), GROUPS - 1)
    joined = [
        np.bincount(group, weights=counts, minlength=GROUPS).astype(np.float64) for counts in (before, after)
    ]
    used = (joined[0] + joined[1]) > 0
    return joined[0][used], joined[1][used]


def _psi(before: Matrix, after: Matrix) -> float:
    """Population stability index; half a row stands in for an empty cell."""
    p, q = ((counts + 0.5) / (counts.sum() + 0.5 * len(counts)) for counts in (before, after))
    return float(((q - p) * np.log(q / p)).sum())


def _js(before: Matrix, after: Matrix) -> float:
    p, q = before / before.sum(), after / after.sum()
    middle = (p + q) / 2

    def divergence(share: Matrix) -> float:
        some = share > 0
        return float((share[some] * np.log2(share[some] / middle[some])).sum())

    return math.sqrt(max(0.0, (divergence(p) + divergence(q)) / 2))


def _ordered(before: Matrix, after: Matrix, middles: Matrix) -> dict[str, float]:
    p, q = before / before.sum(), after / after.sum()
    # By their greatest: squares of sizes that a number just holds would not be numbers.
    greatest = float(np.abs(middles).max()) or 1.0
    middles = middles / greatest
    apart = np.abs(np.cumsum(p) - np.cumsum(q))
    mean = float((p * middles).sum())
    deviation = math.sqrt(float((p * np.square(middles - mean)).sum()))
    # A constant column has no deviation of its own: a bin's width is what it can show.
    unit = max(deviation, abs(mean) * (GROWTH - 1), _SMALLEST / greatest)
    moved = float((apart[:-1] * np.diff(middles)).sum())
    return {"kolmogorov_smirnov": float(apart.max()), "wasserstein": min(moved / unit, sys.float_info.max)}


def _chance(before: Matrix, after: Matrix) -> float:
    """Chi-squared test that both are samples of one distribution, by Wilson and Hilferty's approximation."""
    if len(before) < 2:  # noqa: PLR2004 - one bin cannot differ
        return 1.0
    together = (before + after) / (before.sum() + after.sum())
    statistic = sum(
        float((np.square(counts - counts.sum() * together) / (counts.sum() * together)).sum())
        for counts in (before, after)
    )
    freedom = len(before) - 1
    spread = 2 / (9 * freedom)
    normal = ((statistic / freedom) ** (1 / 3) - (1 - spread)) / math.sqrt(spread)
    return math.erfc(normal / math.sqrt(2)) / 2
