"""A span says where in a text a value is, what it is and why it is taken for that; never what it says."""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Final

from secure_platform.taxonomy.info_types import InfoType

FORMAT: Final = "format"
LOOSE: Final = "format that other things have too"
RULE: Final = "number rule"
NEAR: Final = "keyword near it"
LABEL: Final = "label before it"
LIST: Final = "word list"

# How likely the type is when this is the only reason; reasons combine as 1 - prod(1 - weight).
WEIGHTS: Final[Mapping[str, float]] = {
    FORMAT: 0.85, LOOSE: 0.5, RULE: 0.8, NEAR: 0.6, LABEL: 0.7, LIST: 0.6
}  # fmt: skip
# A format that has a number rule is common without it.
RULED: Final = 0.5


@dataclass(frozen=True)
class Span:
    """A value in a text.

    Attributes:
        start, end: Characters of the text as it was given; the end is behind the last one.
        info_type: Id in the taxonomy.
        confidence: 0-1.
        reasons: What the confidence rests on.
    """

    start: int
    end: int
    info_type: str
    confidence: float
    reasons: tuple[str, ...]


def confidence(reasons: Iterable[str], *, ruled: bool) -> float:
    """What some reasons together are worth.

    Args:
        reasons: Those without a weight count nothing.
        ruled: Whether the type has a number rule.
    """
    weights = (RULED if ruled and reason == FORMAT else WEIGHTS.get(reason, 0.0) for reason in reasons)
    return round(1 - prod(1 - weight for weight in weights), 3)


def without_overlaps(
    spans: Iterable[Span], types: Mapping[str, InfoType], ranks: Mapping[str, int]
) -> list[Span]:
    """Of spans that overlap, one: of the type that supersedes the other's, the surest, the longest.

    Args:
        spans: Of one text.
        types: The taxonomy.
        ranks: The place of each type in it; of two that supersede each other the first stays.
    """
    given = sorted(set(spans), key=lambda span: (span.start, span.end, ranks[span.info_type]))
    left = set(given) - set(_superseded(given, types))
    ranked = sorted(left, key=lambda span: (-span.confidence, span.start - span.end, ranks[span.info_type]))
    kept: list[Span] = []
    taken: list[tuple[int, int]] = []
    for span in ranked:
        place = bisect_left(taken, (span.start, span.end))
        before = place > 0 and taken[place - 1][1] > span.start
        after = place < len(taken) and taken[place][0] < span.end
        if not before and not after:
            insort(taken, (span.start, span.end))
            kept.append(span)
    return sorted(kept, key=lambda span: span.start)


def _superseded(given: Sequence[Span], types: Mapping[str, InfoType]) -> Iterator[Span]:
    """The spans that overlap one of a type that supersedes theirs."""
    for place, span in enumerate(given):
        for other in given[place + 1 :]:
            if other.start >= span.end:
                break
            if other.info_type in types[span.info_type].supersedes:
                yield other
            elif span.info_type in types[other.info_type].supersedes:
                yield span
