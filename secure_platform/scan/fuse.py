"""Evidence from headers and values becomes one confidence, with the reasons for it.

A header together with the format is a finding even if the number rule fails: test data and mistyped numbers
reveal as much as valid ones. Numbers that satisfy a checksum no more often than random ones are not a
finding: in a column of sixteen-digit order numbers, one cell in ten satisfies the card rule.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, prod, sqrt
from typing import Final

from secure_platform.scan.evidence import Tally
from secure_platform.scan.patterns import TypePatterns
from secure_platform.scan.text.spans import RULE

NAME: Final = "column name"
TYPE: Final = "column type"
FITS: Final = "cells fit the name"
CELL: Final = "cell format"
MOST: Final = "format of most cells"
TEXT: Final = "format inside text"
CONTEXT: Final = "keyword in text"

# How likely the type is when this is the only reason; reasons combine as 1 - prod(1 - weight).
WEIGHTS: Final = {
    NAME: 0.6, TYPE: 0.9, FITS: 0.5, CELL: 0.5, MOST: 0.5, RULE: 0.8, TEXT: 0.5, CONTEXT: 0.8
}  # fmt: skip
# A format that is evidence without a number rule is one that nothing else has.
SPECIFIC: Final = 0.85

CLEARLY: Final = 0.25
SIGMAS: Final = 3
# One valid number and no other candidate passes; one of two does not.
LUCK: Final = 0.15
FEW: Final = 30


@dataclass(frozen=True)
class Judgement:
    """Cells that count as the info type, and why."""

    count: int
    confidence: float
    reasons: tuple[str, ...]


def judge(each: TypePatterns, tally: Tally, filled: int) -> Judgement | None:
    """Weigh one column's evidence for one info type; None when it is not enough."""
    count, reasons = _by_value(each, tally, filled)
    if tally.named:
        count = max(count, tally.named)
        fits = [] if each.by_header_only or {CELL, MOST, TEXT, CONTEXT} & set(reasons) else [FITS]
        reasons = [NAME, *fits, *reasons]
    return Judgement(count, _confidence(each, reasons), tuple(reasons)) if count else None


def by_type(*, named: bool, filled: int) -> Judgement:
    """A typed date column: every cell is a date."""
    reasons = (NAME, TYPE) if named else (TYPE,)
    return Judgement(filled, _combine([WEIGHTS[reason] for reason in reasons]), reasons)


def beyond_chance(valid: int, candidates: int, chance: float) -> bool:
    """Whether more numbers keep a rule than random ones would: a clear share that is no luck, or three sigma.

    A rule that most numbers keep says nothing by luck; its share alone decides.
    """
    expected = candidates * chance
    surprising = valid > expected + SIGMAS * sqrt(expected * (1 - chance))
    clear = valid >= CLEARLY * candidates and (chance >= CLEARLY or _luck(valid, candidates, chance) <= LUCK)
    return valid > 0 and (clear or surprising)


def _luck(valid: int, candidates: int, chance: float) -> float:
    """How likely at least so many of few random numbers keep the rule."""
    if candidates > FEW:
        return 0.0
    return sum(
        comb(candidates, kept) * chance**kept * (1 - chance) ** (candidates - kept)
        for kept in range(valid, candidates + 1)
    )


def _by_value(each: TypePatterns, tally: Tally, filled: int) -> tuple[int, list[str]]:
    """Cells that count without a header, and the reasons."""
    count, reasons = tally.context, [CONTEXT] if tally.context else []
    validator = each.validator
    if validator is None and tally.format:
        return tally.sure, [*_where(tally), *reasons]
    if validator is not None and beyond_chance(tally.valid, tally.asked, validator.chance):
        return tally.sure, [*_where(tally), RULE, *reasons]
    if each.kind.distinctive and tally.format * 2 >= filled:
        return max(count, tally.format), [MOST, *reasons]
    return count, reasons


def _where(tally: Tally) -> list[str]:
    return ([CELL] if tally.cell else []) + ([TEXT] if tally.format > tally.cell else [])


def _confidence(each: TypePatterns, reasons: Sequence[str]) -> float:
    weights = [
        SPECIFIC if each.validator is None and reason in {CELL, TEXT} else WEIGHTS[reason]
        for reason in reasons
    ]
    return _combine(weights)


def _combine(weights: Sequence[float]) -> float:
    return round(1 - prod(1 - weight for weight in weights), 3)
