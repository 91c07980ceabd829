"""Finds the hierarchy levels that reach k and l with the least information lost.

Every combination of levels is a node of a lattice. If a node reaches k and l with few enough rows left
behind, so does every higher node; so a node that fails rules out all lower ones (Samarati 2001; predictive
tagging as in Flash, Kohlmayer et al. 2012). The loss without suppression is a sum over the columns, grows
with every level, and is never more than the loss with suppression. Nodes are taken in the order of that sum,
and the search ends when no further node can be better than the best so far. The result is therefore the
optimum.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from secure_platform.errors import PlanRefusedError

MOST_NODES: Final = 2_000_000
_LARGEST: Final = 1 << 62
Codes: TypeAlias = NDArray[np.int64]
Numbers: TypeAlias = NDArray[np.float64]
Node: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Wanted:
    """What is to be reached.

    Attributes:
        at_most: The share of rows that may stay behind for it.
    """

    k: int
    l: int  # noqa: E741 - the name of the literature
    at_most: float


@dataclass(frozen=True)
class Found:
    """A node that reaches it.

    Attributes:
        levels: By column; 0 is the value itself.
        suppressed: Rows that stay behind.
        information_lost: 0 to 1, as `anonymity` calculates it.
    """

    levels: Mapping[str, int]
    suppressed: int
    information_lost: float


@dataclass(frozen=True)
class Search:
    """The best node, and what it took.

    Attributes:
        found: None if none reaches it.
        nodes: Of the lattice.
        looked_at: How many were.
    """

    found: Found | None
    nodes: int
    looked_at: int


class Lattice:
    """The combinations of levels of some columns of one dataset.

    Args:
        columns: For each quasi-identifier, a column of what its values are at each level, lowest first; one
            that has a single level stays as it is. All are of the same rows.
        wanted: What is to be reached.
        sensitive: Columns of the same rows that need l values in every class.
        subject: Whom each row is about, where one may have several rows.

    Raises:
        PlanRefusedError: If there are too many combinations.
    """

    def __init__(
        self,
        columns: Mapping[str, Sequence[pl.Series]],
        wanted: Wanted,
        sensitive: Sequence[pl.Series] = (),
        subject: pl.Series | None = None,
    ) -> None:
        self._names = tuple(columns)
        self._wanted = wanted
        self._shape = tuple(len(levels) for levels in columns.values())
        if math.prod(self._shape) > MOST_NODES:
            raise PlanRefusedError(
                f"There are {math.prod(self._shape):,} combinations of levels, more than {MOST_NODES:,}",
                "Name fewer hierarchies, or some with fewer levels.",
            )
        coded = [[_codes(level) for level in levels] for levels in columns.values()]
        others = [_codes(each) for each in (*sensitive, *([] if subject is None else [subject]))]
        # Rows that are alike in all of this are one, with a weight.
        whole, first, self._weights = _distinct([levels[0] for levels in coded] + others)
        self._rows = int(whole.size)
        self._levels = [[codes[first] for codes in levels] for levels in coded]
        self._sensitive = [codes[first] for codes in others[: len(sensitive)]]
        self._subject = None if subject is None else others[-1][first]
        self._costs, self._kept = self._losses()
        self._failed = np.zeros(self._shape, dtype=np.bool_)
        self.looked_at = 0

    def best(self) -> Search:
        """The node that loses least; of several, the first in the order of the columns."""
        least = self._least()
        best: Found | None = None
        for place in np.argsort(least, axis=None, kind="stable"):
            node = tuple(int(each) for each in np.unravel_index(place, self._shape))
            if best is not None and least[node] >= best.information_lost:
                break
            if self._failed[node]:
                continue
            found = self.at(node)
            if found is None:
                self._climb(node)
            elif best is None or found.information_lost < best.information_lost:
                best = found
        return Search(best, math.prod(self._shape), self.looked_at)

    def at(self, node: Node) -> Found | None:
        """What a node reaches; None if it is not enough."""
        self.looked_at += 1
        inside = self._classes(node)
        enough = self._members(inside) >= self._wanted.k
        for values in self._sensitive:
            enough &= _different(inside, values) >= self._wanted.l
        behind = ~enough[inside]
        suppressed = int(self._weights[behind].sum())
        if suppressed > self._wanted.at_most * self._rows:
            self._failed[tuple(slice(0, level + 1) for level in node)] = True
            return None
        lost = self._least_at(node) + sum(
            float(kept[level][behind].sum()) for kept, level in zip(self._kept, node, strict=True)
        )
        return Found(dict(zip(self._names, node, strict=True)), suppressed, lost)

    def _climb(self, node: Node) -> None:
        """The highest failing node on one way up from a failing node to the top."""
        path = [node]
        while (higher := self._above(path[-1])) is not None:
            path.append(higher)
        low, high = 0, len(path)
        while high - low > 1:
            middle = (low + high) // 2
            if self._failed[path[middle]] or self.at(path[middle]) is None:
                low = middle
            else:
                high = middle

    def _above(self, node: Node) -> Node | None:
        """One level more where that loses least."""
        higher = [
            (self._costs[place][level + 1] - self._costs[place][level], place)
            for place, level in enumerate(node)
            if level + 1 < self._shape[place]
        ]
        if not higher:
            return None
        _, place = min(higher)
        return (*node[:place], node[place] + 1, *node[place + 1 :])

    def _classes(self, node: Node) -> Codes:
        """Which class each row is in, from 0 on."""
        return _combined([levels[level] for levels, level in zip(self._levels, node, strict=True)])

    def _members(self, inside: Codes) -> Codes:
        if self._subject is None:
            return np.bincount(inside, self._weights).astype(np.int64)
        return _different(inside, self._subject)

    def _losses(self) -> tuple[list[list[float]], list[list[Numbers]]]:
        """For each column and level, the share of bits that is lost, and the share that each row keeps."""
        bits: list[list[Numbers]] = []
        for levels in self._levels:
            counts = [np.bincount(codes, self._weights)[codes] for codes in levels]
            bits.append([self._weights * np.log2(self._rows / each) for each in counts])
        whole = sum(float(column[0].sum()) for column in bits) or 1.0
        costs = [[float((column[0] - level).sum()) / whole for level in column] for column in bits]
        return costs, [[level / whole for level in column] for column in bits]

    def _least(self) -> Numbers:
        least = np.zeros(self._shape)
        for place, costs in enumerate(self._costs):
            shape = [1] * len(self._shape)
            shape[place] = len(costs)
            least = least + np.reshape(costs, shape)
        return least

    def _least_at(self, node: Node) -> float:
        return sum(costs[level] for costs, level in zip(self._costs, node, strict=True))


def _codes(column: pl.Series) -> Codes:
    """The values as whole numbers from 0 on; null is one of them."""
    return column.rank("dense").fill_null(0).cast(pl.Int64).to_numpy().astype(np.int64)


def _distinct(columns: Sequence[Codes]) -> tuple[Codes, Codes, Numbers]:
    """The class of every row; the first row of each class, and how many it has."""
    inside = _combined(columns)
    _, first, counts = np.unique(inside, return_index=True, return_counts=True)
    return inside, first.astype(np.int64), counts.astype(np.float64)


def _combined(columns: Sequence[Codes]) -> Codes:
    """One number for each combination, from 0 on without a gap."""
    combined, limit = np.zeros_like(columns[0]), 1
    for codes in columns:
        size = int(codes.max(initial=0)) + 1
        if limit * size >= _LARGEST:
            combined = np.unique(combined, return_inverse=True)[1].astype(np.int64)
            limit = int(combined.max(initial=0)) + 1
        combined, limit = combined * size + codes, limit * size
    return np.unique(combined, return_inverse=True)[1].astype(np.int64)


def _different(inside: Codes, values: Codes) -> Codes:
    """How many different values each class has; null, which is 0, is none."""
    given, size = values > 0, int(values.max(initial=0)) + 1
    pairs = np.unique(inside[given] * size + values[given])
    return np.bincount(pairs // size, minlength=int(inside.max(initial=-1)) + 1).astype(np.int64)
