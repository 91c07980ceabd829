"""Info types and secrets inside free text, as spans with offsets in the text as it was given.

One pass of RE2 over many texts at once finds those that hold anything that looks like a value; only these are
searched. What is encoded or disguised is searched as what it stands for.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Final

import polars as pl

from secure_platform.scan.secrets.document import own_rules
from secure_platform.scan.secrets.engine import Engine
from secure_platform.scan.secrets.findings import MINIMUM_CONFIDENCE, reasons
from secure_platform.scan.secrets.layers import SHORT, layers
from secure_platform.scan.secrets.linear import compile_pattern
from secure_platform.scan.text.blocks import telling
from secure_platform.scan.text.fold import FOLDING, fold
from secure_platform.scan.text.forms import forms
from secure_platform.scan.text.numbers import Candidate, NumberRules
from secure_platform.scan.text.search import Search
from secure_platform.scan.text.spans import FORMAT, LABEL, LOOSE, RULE, Span, confidence, without_overlaps
from secure_platform.taxonomy.info_types import InfoType

_PIECE: Final = 64 << 10
_OVERLAP: Final = 8 << 10
_GROUP: Final = 4096
_DEPTH: Final = 2
_DISGUISED: Final = "seen through unusual characters"


@dataclass(frozen=True)
class _Value:
    """A candidate, with the characters of the text that it was given."""

    candidate: Candidate
    start: int
    end: int


class TextScanner:
    """Finds the info types of a taxonomy, and secrets, in free text.

    Args:
        types: The types to look for.
        minimum: The confidence below which nothing is reported.
    """

    def __init__(self, types: Mapping[str, InfoType], *, minimum: float = MINIMUM_CONFIDENCE) -> None:
        self._types = types
        self._ranks = {kind: rank for rank, kind in enumerate(types)}
        self._minimum = minimum
        self._search = Search(forms(types))
        self._wrapped = compile_pattern(SHORT, "wrapped values")
        alone, beside, names = self._search.signs()
        signs = [alone, f"{beside}|{FOLDING}|{SHORT}", names]
        signs += self._secrets.announced() if self._secrets else []
        self._signs = [compile_pattern(sign, "values") for sign in signs if sign]

    @cached_property
    def _secrets(self) -> Engine | None:
        wanted = any(kind.group == "secret" for kind in self._types.values())
        return Engine(own_rules(), self._minimum) if wanted else None

    def spans(self, text: str) -> list[Span]:
        """What is in a text, in order; spans do not overlap."""
        return self.spans_of([text]).get(0, [])

    def spans_of(self, texts: Iterable[str | None] | pl.Series) -> dict[int, list[Span]]:
        """What is in each text that holds anything, by its place."""
        found: dict[int, list[Span]] = {}
        for told in telling(texts, self._signs):
            for few in _groups(told):
                found.update(self._searched(few))
        return found

    def _searched(self, texts: Mapping[int, str]) -> Iterator[tuple[int, list[Span]]]:
        """The spans of some texts; number rules are asked about all of them at once."""
        values = {place: list(self._values(text)) for place, text in texts.items()}
        rules = NumberRules(value.candidate for each in values.values() for value in each)
        for place, text in texts.items():
            spans = [span for value in values[place] if (span := self._span(value, rules))]
            spans += self._secret(text)
            if spans:
                yield place, without_overlaps(spans, self._types, self._ranks)

    def _values(self, text: str) -> Iterator[_Value]:
        for offset, piece in _pieces(text):
            folded = fold(piece)
            for candidate, start, end in self._within(folded.data, _DEPTH):
                first, last = folded.span(start, end)
                if last - first != end - start:
                    candidate.reasons.add(_DISGUISED)
                yield _Value(candidate, offset + first, offset + last)

    def _within(self, data: bytes, depth: int) -> Iterator[tuple[Candidate, int, int]]:
        """The candidates in a text and in what is wrapped in it, with their bytes in the text."""
        for candidate in self._search.candidates(data):
            yield candidate, candidate.start, candidate.end
        for layer in layers(data, self._wrapped) if depth else ():
            ranges = layer.ranges(data)
            for candidate, start, end in self._within(layer.inner, depth - 1):
                first, last = ranges[start][0], ranges[end - 1][1]
                if data[first:last] != candidate.asked:
                    candidate.reasons.add(f"seen through {layer.kind}")
                    yield candidate, first, last

    def _span(self, value: _Value, rules: NumberRules) -> Span | None:
        candidate = value.candidate
        why = candidate.reasons - ({LOOSE} if FORMAT in candidate.reasons else set())
        ruled = candidate.forms.rule is not None
        if ruled and rules.kept(candidate):
            why |= {RULE}
        elif ruled and LABEL not in why:
            return None
        sure = confidence(why, ruled=ruled)
        if sure < self._minimum:
            return None
        return Span(value.start, value.end, candidate.forms.kind.id, sure, tuple(sorted(why)))

    def _secret(self, text: str) -> Iterator[Span]:
        for offset, piece in _pieces(text):
            folded = fold(piece)
            for hit in self._secrets.hits(folded.data) if self._secrets else ():
                if hit.rule.info_type in self._types:
                    first, last = folded.span(hit.start, hit.end)
                    why = tuple(sorted(reasons([hit])))
                    yield Span(offset + first, offset + last, hit.rule.info_type, hit.confidence, why)


def _pieces(text: str) -> Iterator[tuple[int, str]]:
    """A long text in pieces that overlap, each with its place."""
    yield 0, text[:_PIECE]
    for start in range(_PIECE - _OVERLAP, len(text) - _OVERLAP, _PIECE - _OVERLAP):
        yield start, text[start : start + _PIECE]


def _groups(texts: Mapping[int, str]) -> Iterator[Mapping[int, str]]:
    """Few enough texts that what is found in them does not fill the memory."""
    items = iter(texts.items())
    while few := dict(islice(items, _GROUP)):
        yield few
