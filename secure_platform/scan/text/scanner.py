"""Info types and secrets inside free text, as spans with offsets in the text as it was given.

One pass of RE2 over many texts at once finds those that hold anything that looks like a value; only these are
searched. What is encoded or disguised is searched as what it stands for.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

import polars as pl

from secure_platform.scan.blocks import telling
from secure_platform.scan.secrets.document import own_rules
from secure_platform.scan.secrets.engine import Engine
from secure_platform.scan.secrets.findings import MINIMUM_CONFIDENCE, reasons
from secure_platform.scan.secrets.layers import LAYERED, SHORT, layers
from secure_platform.scan.secrets.linear import Pattern, compile_pattern
from secure_platform.scan.text.fold import FOLDING, fold
from secure_platform.scan.text.forms import forms
from secure_platform.scan.text.numbers import Candidate, NumberRules
from secure_platform.scan.text.search import Search
from secure_platform.scan.text.spans import FORMAT, LABEL, LOOSE, RULE, Span, confidence, without_overlaps
from secure_platform.taxonomy.info_types import InfoType

_LENGTH: Final = 64 << 10
_OVERLAP: Final = 8 << 10
_GROUP: Final = 1 << 20
_DEPTH: Final = 2
_DISGUISED: Final = "seen through unusual characters"


class _Piece(NamedTuple):
    """A part of a text: the place of the text among others, and of the part in it."""

    place: int
    offset: int
    text: str


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
        self._allowed = {
            kind.id: compile_pattern("|".join(kind.allowed), "allowed values")
            for kind in types.values()
            if kind.allowed
        }
        alone, beside, names = self._search.signs()
        signs = ["|".join(filter(None, (alone, beside, FOLDING, SHORT))), names]
        self._signs = [compile_pattern(sign, "values") for sign in signs if sign]
        # What wraps a secret is longer than what wraps a value, which is looked for already.
        self._signs += [sign for sign in self._announcements if sign is not LAYERED]

    @property
    def _announcements(self) -> list[Pattern]:
        return self._secrets.announcements if self._secrets else []

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
            raw: defaultdict[int, list[Span]] = defaultdict(list)
            for few in _groups(told):
                for place, span in self._searched(few):
                    raw[place].append(span)
            found |= {
                place: without_overlaps(spans, self._types, self._ranks) for place, spans in raw.items()
            }
        return found

    def _searched(self, pieces: Sequence[_Piece]) -> Iterator[tuple[int, Span]]:
        """The spans of some pieces; number rules are asked about all of them at once."""
        values = [(piece, value) for piece in pieces for value in self._values(piece)]
        rules = NumberRules(value.candidate for _, value in values)
        for piece, value in values:
            span = self._span(value, rules)
            if span:
                yield piece.place, span
        for piece in pieces:
            yield from ((piece.place, span) for span in self._secret(piece))

    def _values(self, piece: _Piece) -> Iterator[_Value]:
        folded = fold(piece.text)
        for candidate, start, end in self._within(folded.data, _DEPTH):
            first, last = folded.span(start, end)
            if last - first != end - start:
                candidate.reasons.add(_DISGUISED)
            yield _Value(candidate, piece.offset + first, piece.offset + last)

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
        allowed = self._allowed.get(candidate.forms.kind.id)
        if allowed and allowed.search(candidate.asked):
            return None
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

    def _secret(self, piece: _Piece) -> Iterator[Span]:
        if self._secrets is None:
            return
        folded = fold(piece.text)
        for hit in self._secrets.hits(folded.data):
            if hit.rule.info_type in self._types:
                first, last = folded.span(hit.start, hit.end)
                where = piece.offset + first, piece.offset + last
                yield Span(*where, hit.rule.info_type, hit.confidence, tuple(sorted(reasons([hit]))))


def _groups(texts: Mapping[int, str]) -> Iterator[list[_Piece]]:
    """The texts in pieces, few enough that what is found in them does not fill the memory."""
    few: list[_Piece] = []
    size = 0
    for place, text in texts.items():
        for start in range(0, max(1, len(text) - _OVERLAP), _LENGTH - _OVERLAP):
            few.append(_Piece(place, start, text[start : start + _LENGTH]))
            size += len(few[-1].text)
            if size > _GROUP:
                yield few
                few, size = [], 0
    yield few
