"""The search of one text: every value that may be one, with all that speaks for it."""

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_interface
from itertools import chain
from typing import Final

from secure_platform.scan.secrets.linear import Pattern, PatternSet, compile_pattern
from secure_platform.scan.text.context import AFTER, BEFORE, LABELLED, Context, Keyword
from secure_platform.scan.text.forms import NUMBER, Forms
from secure_platform.scan.text.names import Names
from secure_platform.scan.text.numbers import CARD, Candidate, cards, cuts
from secure_platform.scan.text.spans import FORMAT, LABEL, LOOSE, NEAR

Evidence = tuple[Forms, int, int, frozenset[str]]

_FORMAT: Final = frozenset({FORMAT})
_LOOSE: Final = frozenset({LOOSE})
_NEAR: Final = frozenset({LOOSE, NEAR})
_LABEL: Final = frozenset({LOOSE, LABEL})
_ADDRESSES: Final = frozenset({"IPV4", "IPV6"})
_PHONE: Final = "PHONE"
_DATE: Final = re.compile(rb"(?:19|20)[0-9]{2}[-/.][01][0-9][-/.][0-3][0-9]")
_STREET: Final = re.compile(rb" [A-Z][a-z]")
# Four numbers are a version where something says so, and where each has one digit and nothing says otherwise.
_VERSION: Final = re.compile(
    rb"(?i)(?:version|release|build|firmware|driver|chapter|section|ver\.?|rev\.?)[ :=]{0,3}$"
)
_SMALL: Final = re.compile(rb"[0-9](?:\.[0-9]){3}")


class Search:
    """Searches texts for the types that some forms are of."""

    def __init__(self, every: Iterable[Forms]) -> None:
        self._forms = {forms.kind.id: forms for forms in every}
        self._context = Context({kind: forms.kind for kind, forms in self._forms.items()})
        self._alone = [(forms, form) for forms in self._forms.values() for form in forms.alone]
        self._shown = PatternSet(form.text for _, form in self._alone)
        self._names = Names(self._forms)
        self._number = compile_pattern(NUMBER, "numbers")

    def signs(self) -> list[str]:
        """Patterns of which one matches wherever a text can hold a value."""
        return ["|".join(form.text for _, form in self._alone), f"{NUMBER}|{LABELLED}", self._names.sign()]

    def candidates(self, data: bytes) -> list[Candidate]:
        """Every value in a text that may be one, once for each type and place."""
        words = list(self._context.keywords(data)) if self._number.search(data) else []
        near = _Near(words)
        found: dict[tuple[str, int, int], Candidate] = {}
        for forms, start, end, reasons in chain(
            self._by_format(data),
            self._by_keyword(data, words),
            self._by_label(data),
            self._names.found(data),
        ):
            close = near.speaks(forms.kind.id, start, end)
            for place, (first, last) in enumerate(_pieces(forms, data[start:end], announced=close)):
                key = forms.kind.id, start + first, start + last
                candidate = found.setdefault(key, Candidate(forms, *key[1:], data[slice(*key[1:])], set()))
                candidate.reasons |= reasons - {LABEL} if place else reasons
                candidate.reasons |= {NEAR} if close else set()
        return list(found.values())

    def _by_format(self, data: bytes) -> Iterator[Evidence]:
        """Values of a format that needs nothing beside it."""
        for place in self._shown.matching(data):
            forms, form = self._alone[place]
            for start, end in _values(form.pattern, data, 0, len(data)):
                if forms.kind.id not in _ADDRESSES or _is_address(data, start, end):
                    yield forms, start, end, _LOOSE if _SMALL.fullmatch(data, start, end) else _FORMAT

    def _by_keyword(self, data: bytes, words: Sequence[Keyword]) -> Iterator[Evidence]:
        """Values in the lines around a keyword of their type."""
        for word in words:
            line = max(data.rfind(b"\n", 0, word.start), word.start - BEFORE, 0)
            behind = word.end, min(len(data), word.end + AFTER)
            for first, last in (behind, (line, min(len(data), word.start + 1))):
                if self._number.search(data, first, last):
                    for kind in word.types:
                        yield from self._values_near(self._forms[kind], data, first, last)

    def _values_near(self, forms: Forms, data: bytes, first: int, last: int) -> Iterator[Evidence]:
        """All telephone numbers and what keeps a rule; of others the first, which the keyword means."""
        for form in forms.near:
            for start, end in _values(form.pattern, data, first, last):
                if forms.kind.id != _PHONE or not _is_other(data, start, end):
                    yield forms, start, end, _NEAR
                if forms.kind.id != _PHONE and not forms.rule:
                    break

    def _by_label(self, data: bytes) -> Iterator[Evidence]:
        """Values right behind a label of their type."""
        for label in self._context.labels(data):
            for kind in label.types:
                forms = self._forms[kind]
                for form in forms.assigned if label.assigned else forms.labelled:
                    match = form.pattern.search(data, label.start - 1, min(len(data), label.end + 1))
                    if match and match.span(1)[0] == label.start:
                        yield forms, *match.span(1), _LABEL


class _Near:
    """Whether a keyword of a type is near a place."""

    def __init__(self, words: Iterable[Keyword]) -> None:
        self._starts: defaultdict[str, list[int]] = defaultdict(list)
        self._ends: defaultdict[str, list[int]] = defaultdict(list)
        for word in words:
            for kind in word.types:
                self._starts[kind].append(word.start)
                self._ends[kind].append(word.end)

    def speaks(self, kind: str, start: int, end: int) -> bool:
        """Whether one ends shortly before the start or begins shortly behind the end."""
        return _any_between(self._ends[kind], start - AFTER, start) or _any_between(
            self._starts[kind], end, end + BEFORE
        )


def _any_between(places: Sequence[int], low: int, high: int) -> bool:
    place = bisect_left(places, low)
    return place < len(places) and places[place] <= high


def _is_address(data: bytes, start: int, end: int) -> bool:
    """Whether what looks like an address of a host is no version, time or name of a program's part."""
    value = data[start:end].decode()
    try:
        ip_interface(value)
    except ValueError:
        return False
    return any(map(str.isdigit, value)) and not _VERSION.search(data, max(0, start - 16), start)


def _is_other(data: bytes, start: int, end: int) -> bool:
    """Whether what could be a telephone number is a house number before its street, or a date."""
    return bool(_STREET.match(data, end) or _DATE.match(data, start))


def _values(pattern: Pattern, data: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The values, group 1, of all matches; the next may share a delimiter with the one before."""
    while start < end and (match := pattern.search(data, start, end)) is not None:
        yield match.span(1)
        start = max(match.span(1)[1], start + 1)


def _pieces(forms: Forms, value: bytes, *, announced: bool) -> Iterator[tuple[int, int]]:
    """What of a match can be the value: where a number rule decides, shorter pieces too."""
    if forms.kind.id == CARD:
        return cards(value, announced=announced)
    return ((0, end) for end in (cuts(value) if forms.rule else (len(value),)))
