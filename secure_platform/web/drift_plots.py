"""A column's distribution now beside what it was: pairs of bars on the server, and the same as a table.

Numbers are in bins that grow with them, so every bar stands for the same ratio; categories are in the order
of how frequent they were. Only shares are told.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from secure_platform.monitor.distribution import FAIL, LIMITS, SURE, Drift, Sketch, bin_edges
from secure_platform.web.words import figure

WIDTH: Final = 640
HEIGHT: Final = 150
MOST: Final = 24
"""Pairs of bars at most: wider than that, neighbouring bins are joined."""
_FLOOR: Final = 18
AXIS: Final = 20
"""Room below the bars."""
_GAP: Final = 0.2
MEASURES: Final[Mapping[str, str]] = {
    "psi": "Population stability index",
    "jensen_shannon": "Jensen-Shannon distance",
    "kolmogorov_smirnov": "Kolmogorov-Smirnov distance",
    "wasserstein": "Wasserstein distance, in standard deviations",
}


@dataclass(frozen=True)
class Pair:
    """A range or a category.

    Attributes:
        label: Its limits, or its keyed label.
        before, after: Shares of the rows, 0 to 1.
        x: Where the first bar begins; the second follows it.
        heights: Of both bars.
    """

    label: str
    before: float
    after: float
    x: float
    heights: tuple[float, float]


@dataclass(frozen=True)
class Measure:
    """One distance.

    Attributes:
        warn, fail: From where on it is worth a word, and grave, unless the column always wanders.
    """

    name: str
    value: float
    warn: float
    fail: float


@dataclass(frozen=True)
class DriftPlot:
    """A column before and after.

    Attributes:
        state: What was said when it was judged.
        pairs: From the smallest to the greatest number, or the most frequent category first.
        bar: Width of a bar.
        top: The share that the highest bar stands for.
        measures: Empty where there is nothing to compare with.
        by_chance: Whether samples of one distribution differ as much.
    """

    column: str
    state: str
    numeric: bool
    pairs: tuple[Pair, ...]
    bar: float
    top: float
    measures: tuple[Measure, ...]
    by_chance: bool

    @property
    def ends(self) -> tuple[str, str]:
        """Where the axis begins and ends; of categories nothing."""
        if not (self.numeric and self.pairs):
            return "", ""
        return self.pairs[0].label.partition(" to ")[0], self.pairs[-1].label.rpartition(" to ")[2]

    @property
    def words(self) -> str:
        """What the picture shows."""
        if not self.pairs:
            return f"{self.column}: nothing was counted"
        before = max(self.pairs, key=lambda pair: pair.before)
        after = max(self.pairs, key=lambda pair: pair.after)
        said = (
            f"{self.column}: most frequent before is {before.label} with {100 * before.before:.1f} %, "
            f"now {after.label} with {100 * after.after:.1f} %"
        )
        return "; ".join([said, *(f"{each.name} {figure(each.value)}" for each in self.measures)])


def drift_plot(
    column: str, reference: Sketch, current: Sketch, found: Drift, *, numeric: bool, state: str
) -> DriftPlot:
    """Lay out a column.

    Args:
        column: Its name.
        reference: The sketch that it was compared with; may be empty.
        current: The sketch of the snapshot.
        found: How far they are apart.
        numeric: Whether the bins are numbers.
        state: What was said of it.
    """
    groups = _ranges([*reference, *current]) if numeric else _categories(reference, current)
    before, after = _shares(reference, groups), _shares(current, groups)
    top = max([*before, *after], default=0.0)
    step = WIDTH / max(len(groups), 1)
    pairs = [
        Pair(
            _label(group, numeric=numeric),
            before[place],
            after[place],
            step * (place + _GAP / 2),
            (_height(before[place], top), _height(after[place], top)),
        )
        for place, group in enumerate(groups)
        if group
    ]
    measures = [
        Measure(MEASURES[name], value, LIMITS[name], LIMITS[name] * FAIL)
        for name, value in found.distances.items()
    ]
    bar = step * (1 - _GAP) / 2
    return DriftPlot(
        column, state, numeric, tuple(pairs), bar, top, tuple(measures), by_chance=found.chance >= SURE
    )


def _ranges(labels: Sequence[str]) -> list[list[str]]:
    """Neighbouring bins together, so that every group is as wide; those without a row are empty."""
    indexes = sorted({int(label) for label in labels})
    least = min((abs(index) for index in indexes if index), default=0)

    def place(index: int) -> int:
        """Without the bins between zero and the smallest size."""
        return 0 if not index else (abs(index) - least + 1) * (1 if index > 0 else -1)

    if not indexes:
        return []
    first, last = place(indexes[0]), place(indexes[-1])
    width = -(-(last - first + 1) // MOST)
    groups: list[list[str]] = [[] for _ in range((last - first) // width + 1)]
    for index in indexes:
        groups[(place(index) - first) // width].append(str(index))
    return groups


def _categories(reference: Sketch, current: Sketch) -> list[list[str]]:
    """One group for each label, the rarest together."""
    names = sorted(
        {*reference, *current}, key=lambda name: (-reference.get(name, 0), -current.get(name, 0), name)
    )
    single, rest = names[: MOST - 1], names[MOST - 1 :]
    return [*([name] for name in single), *([rest] if rest else [])]


def _shares(sketch: Sketch, groups: Sequence[Sequence[str]]) -> list[float]:
    total = sum(sketch.values())
    return [sum(sketch.get(label, 0) for label in group) / total if total else 0.0 for group in groups]


def _label(group: Sequence[str], *, numeric: bool) -> str:
    if not numeric:
        return group[0] if len(group) == 1 else f"{len(group)} others"
    low, high = bin_edges(group[0])[0], bin_edges(group[-1])[1]
    return f"{low:.4g} to {high:.4g}" if low < high else f"{low:.4g}"


def _height(share: float, top: float) -> float:
    return (HEIGHT - _FLOOR) * share / top if top else 0.0
