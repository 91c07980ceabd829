"""Where in a run of digits a number is: text joins numbers that stand side by side, and wraps a long one.

A run is cut at its separators only. The whole of it comes first, then the groupings that cards are printed
in; any other piece needs a keyword beside it, for of random pieces one in ten keeps a check digit. Between
other separators than spaces and dashes, and over the end of a line, only common groupings are believed.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from typing import Final

import polars as pl

from secure_platform.scan.text.forms import Forms
from secure_platform.scan.text.spans import NEAR
from secure_platform.taxonomy.validators import LUHN_CHANCE, Validator, luhn

SHORTEST_CARD: Final = 12
LONGEST_CARD: Final = 19
CARD: Final = "CREDIT_CARD"
LUHN: Final = "luhn"
_LUHN: Final = Validator(lambda text: luhn(text.str.replace_all("[^0-9]", "")), LUHN_CHANCE)
_GROUP: Final = re.compile(rb"[0-9]+")
_PRINTED: Final = frozenset(
    {
        *((4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 4, 3), (4, 4, 4, 1), (4, 4, 4, 3), (4, 4, 4, 2)),
        *((6, 13), (4, 4, 5), (4, 4, 4, 4, 1), (4, 4, 4, 4, 2), (8, 8), (4, 4, 4), (6, 10), (6, 6, 6)),
    }
)
_COMMON: Final = frozenset({(4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 4, 3)})
_PLAINLY: Final = re.compile(rb"[A-Za-z]*_?[0-9]+(?:[ -][0-9]+)*")
_LINE_END: Final = b"\n"
_BEGINNING: Final = frozenset(shape[0] for shape in _PRINTED)
_FEWEST_CUT: Final = 8


@dataclass
class Candidate:
    """A value that may be one.

    Attributes:
        start, end: Bytes of the text that was searched.
        asked: What its number rule is asked about.
    """

    forms: Forms
    start: int
    end: int
    asked: bytes = field(repr=False)
    reasons: set[str]


def cards(run: bytes, *, announced: bool) -> Iterator[tuple[int, int]]:
    """Start and end of every piece of a run that can be a card number.

    Args:
        run: Groups of digits and what is between them; a word may be right before them.
        announced: Whether a keyword is near, so that any grouping is believed.
    """
    groups = [match.span() for match in _GROUP.finditer(run)]
    if not _PLAINLY.fullmatch(run):
        yield from _spelled(run, groups)
        return
    sizes = [end - start for start, end in groups]
    whole = SHORTEST_CARD <= sum(sizes) <= LONGEST_CARD
    if whole:
        yield groups[0][0], groups[-1][1]
    for first, size in enumerate(sizes):
        if not announced and size not in _BEGINNING and size < SHORTEST_CARD:
            continue
        digits = 0
        for last in range(first, min(len(groups), first + LONGEST_CARD)):
            digits += sizes[last]
            if digits > LONGEST_CARD:
                break
            shape = tuple(sizes[first : last + 1])
            if digits >= SHORTEST_CARD and (announced or len(shape) == 1 or shape in _PRINTED):
                yield groups[first][0], groups[last][1]


def _spelled(run: bytes, groups: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Pieces of whole lines with one separator throughout, each a common grouping; one line end is none."""
    gaps = [run[end:start] for (_, end), (start, _) in pairwise(groups)]
    edges = [0, *(place for place, gap in enumerate(gaps, 1) if _LINE_END in gap), len(groups)]
    for first, last in combinations(edges, 2):
        sizes = [end - start for start, end in groups[first:last]]
        inside = gaps[first : last - 1]
        broken = [place for place, gap in enumerate(inside) if _LINE_END in gap]
        shapes = {tuple(sizes)}
        if len(broken) == 1:
            place = broken[0]
            shapes.add((*sizes[:place], sizes[place] + sizes[place + 1], *sizes[place + 2 :]))
        if shapes & _COMMON and len({gap for gap in inside if _LINE_END not in gap}) <= 1:
            yield groups[first][0], groups[last - 1][1]


def cuts(value: bytes) -> Iterator[int]:
    """Ends that the value may have: its own, then each separator back to a few characters."""
    yield len(value)
    for place in range(len(value) - 1, _FEWEST_CUT, -1):
        if value[place : place + 1] in {b" ", b"-"}:
            yield place


class NumberRules:
    """The number rules of the taxonomy, asked once about all different values.

    Args:
        candidates: The values.
    """

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        asked: defaultdict[str, set[str]] = defaultdict(set)
        rules: dict[str, Validator] = {LUHN: _LUHN}
        for each in candidates:
            if each.forms.rule and each.forms.kind.validator:
                rules[each.forms.kind.validator] = each.forms.rule
                asked[each.forms.kind.validator].add(_text(each))
            if each.forms.kind.id == CARD:
                asked[LUHN].add(_text(each))
        self._kept = {
            (name, value) for name, values in asked.items() for value in _keeping(rules[name], sorted(values))
        }

    def kept(self, candidate: Candidate) -> bool:
        """Whether a value keeps the rule of its type; beside a keyword a card may be of an unknown issuer."""
        name = candidate.forms.kind.validator
        announced = candidate.forms.kind.id == CARD and NEAR in candidate.reasons
        return (LUHN if announced else name, _text(candidate)) in self._kept


def _text(candidate: Candidate) -> str:
    return candidate.asked.decode(errors="replace")


def _keeping(rule: Validator, values: list[str]) -> list[str]:
    series = pl.DataFrame({"value": values}).filter(rule.check(pl.col("value")).fill_null(value=False))
    return series["value"].to_list()
