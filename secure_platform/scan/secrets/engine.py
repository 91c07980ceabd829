"""One pass over the bytes finds keywords and gates; only the few lines around one are searched, by its rules.

The pass is one automaton. What it matches can hide other keywords that begin in it, so these are looked for
there. Where the matches of rules overlap, the rule that says most stays.
"""

import string
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from heapq import merge
from typing import Final

from secure_platform.scan.secrets.entropy import shannon
from secure_platform.scan.secrets.layers import LAYERED, layers
from secure_platform.scan.secrets.linear import Match, Pattern, any_of, compile_pattern
from secure_platform.scan.secrets.plausible import doubt
from secure_platform.scan.secrets.rules import MOST_MORE, RuleSet, SecretRule, Target

ALLOW_COMMENT: Final = b"secure-platform:allow"
_BEFORE: Final = 1 << 10
_AFTER: Final = 8 << 10
_LINES_AFTER: Final = 5
_DEPTH: Final = 2
_REMEMBERED: Final = 1 << 12
_SHORT: Final = 64
_BITS_PER_CONFIDENCE: Final = 25
_BLOB: Final = 64
_BASE64: Final = (string.ascii_letters + string.digits + "+/").encode()


@dataclass(frozen=True)
class Hit:
    """A secret in a text, by place; its value is where it was.

    Attributes:
        start, end: Of the secret, or of what wraps it.
        entropy: Of the secret.
        secret: For its keyed digest only.
        wrappings: What it was wrapped in, outermost first.
    """

    rule: SecretRule
    start: int
    end: int
    entropy: float
    confidence: float
    secret: bytes = field(repr=False)
    wrappings: tuple[str, ...] = ()


@dataclass
class _Window:
    start: int
    end: int
    rules: set[str]


class Engine:
    """Runs a rule set over texts."""

    def __init__(self, ruleset: RuleSet, minimum: float = 0.0) -> None:
        self._ruleset = ruleset
        self._minimum = minimum
        worth = [rule for rule in ruleset.rules.values() if rule.most >= minimum]
        searching = [rule for rule in worth if rule.regex is not None]
        self._rules = {rule.id: rule for rule in searching}
        self._order = {rule.id: place for place, rule in enumerate(searching)}
        self._always = [rule for rule in searching if not rule.keywords and not rule.gate]
        self._near = {rule.id for rule in searching if not rule.wide}
        self._by_keyword = _by_keyword(searching)
        self._longest = max(map(len, self._by_keyword), default=0)
        self._paths = [rule for rule in worth if rule.regex is None]
        # Signs are few different words: what they announce is looked up, however often they are there.
        self._remembered = lru_cache(_REMEMBERED)(self._begun)

    @cached_property
    def _keywords(self) -> Pattern | None:
        return any_of(self._by_keyword) if self._by_keyword else None

    @cached_property
    def _gates(self) -> Mapping[str, frozenset[str]]:
        """The rules behind each gate."""
        gates = {rule.gate for rule in self._rules.values() if rule.gate}
        return {
            gate: frozenset(rule.id for rule in self._rules.values() if rule.gate == gate)
            for gate in sorted(gates)
        }

    @cached_property
    def _open(self) -> Mapping[str, Pattern]:
        return {gate: any_of((), [gate]) for gate in self._gates}

    @cached_property
    def _gate(self) -> Pattern | None:
        return any_of((), self._gates) if self._gates else None

    @property
    def announcements(self) -> list[Pattern]:
        """What in a text announces a secret: a text that none of these touches holds none.

        Keywords and gates are passes of their own: one automaton for both outgrows its memory.
        """
        found = [
            self._keywords,
            self._gate,
            LAYERED,
            compile_pattern("(?s:.)", "any") if self._always else None,
        ]
        return [pattern for pattern in found if pattern is not None]

    def hits(self, text: bytes, path: str = "") -> list[Hit]:
        """The secrets in a text, in order of their places.

        Args:
            text: UTF-8, as far as it is text.
            path: The file's, for rules and allow lists that look at it.
        """
        return self._hits(text, path.encode(errors="surrogateescape"), _DEPTH)

    def _hits(self, text: bytes, path: bytes, depth: int) -> list[Hit]:
        found = [hit for rule, match in self._matches(text) for hit in self._judged(rule, match, text, path)]
        for layer in layers(text) if depth else ():
            found += [
                replace(hit, start=layer.start, end=layer.end, wrappings=(layer.kind, *hit.wrappings))
                for hit in self._hits(layer.inner, path, depth - 1)
            ]
        return without_overlaps(found, self._order)

    def forbidden_path(self, path: str) -> list[SecretRule]:
        """The rules for which a file of this path is a finding, whatever is in it."""
        where = path.encode(errors="surrogateescape")
        texts: dict[Target, bytes] = {"secret": where, "match": where, "line": where}
        matching = [rule for rule in self._paths if rule.path and rule.path.search(where)]
        return [rule for rule in matching if not self._allowed(rule, where, texts)]

    def _matches(self, text: bytes) -> Iterator[tuple[SecretRule, Match]]:
        everywhere = {rule.id for rule in self._always}
        for window in self._windows(text):
            window.rules |= self._gated(text, window)
            for name in window.rules & self._near:
                rule = self._rules[name]
                for match in _finds(rule, text, window.start, window.end):
                    yield rule, match
            everywhere |= window.rules - self._near
        for name in everywhere:
            for match in _finds(self._rules[name], text, 0, len(text)):
                yield self._rules[name], match

    def _signs(self, text: bytes) -> Iterator[tuple[int, int]]:
        """Keywords and what gates match, in order."""
        signs = (pattern for pattern in (self._keywords, self._gate) if pattern is not None)
        return merge(*((match.span() for match in sign.finditer(text)) for sign in signs))

    def _windows(self, text: bytes) -> Iterator[_Window]:
        """The lines from each keyword on; those that overlap are one."""
        current: _Window | None = None
        for first, last in self._signs(text):
            rules = self._announced(text, first, last)
            if current is not None and last <= current.end and first >= current.start:
                current.rules |= rules
                if text.find(b"\n", current.start, first) < 0:
                    continue
            start, end = _lines_from(text, first, last)
            if current is not None and start <= current.end:
                current.end = max(current.end, end)
                current.rules |= rules
                continue
            if current is not None:
                yield current
            current = _Window(start, end, set(rules))
        if current is not None:
            yield current

    def _announced(self, text: bytes, start: int, end: int) -> frozenset[str]:
        """The rules of all keywords that begin in a sign, which may be what a gate matched."""
        begun = self._remembered if end - start < _SHORT else self._begun
        return begun(text[start : end + self._longest], end - start)

    def _begun(self, text: bytes, end: int) -> frozenset[str]:
        """The rules of all keywords that begin before a place."""
        announced: set[str] = set()
        start = 0
        while self._keywords is not None and start < end:
            match = self._keywords.search(text, start)
            first, last = match.span() if match else (end, end)
            if first < end:
                announced |= self._by_keyword.get(text[first:last].lower(), frozenset())
            start = first + 1
        return frozenset(announced)

    def _gated(self, text: bytes, window: _Window) -> set[str]:
        """The rules whose gate matches in a window: a keyword may have hidden it."""
        if self._gate is None or not self._gate.search(text, window.start, window.end):
            return set()
        opened = (
            rules
            for gate, rules in self._gates.items()
            if self._open[gate].search(text, window.start, window.end)
        )
        return set().union(*opened)

    def _judged(self, rule: SecretRule, match: Match, text: bytes, path: bytes) -> Iterator[Hit]:
        groups = rule.regex.groups if rule.regex else 0
        start, end = rule.secret_span([match.span(group) for group in range(groups + 1)])
        secret = text[start:end]
        if start < 0 or (rule.path and not rule.path.search(path)) or _in_blob(text, start):
            return
        entropy = shannon(secret)
        if rule.entropy and entropy <= rule.entropy:
            return
        whole = match.span()
        line = text[_line_start(text, start) : _line_end(text, whole[1])]
        texts: dict[Target, bytes] = {"secret": secret, "match": text[slice(*whole)], "line": line}
        if ALLOW_COMMENT in line or self._allowed(rule, path, texts):
            return
        confidence = rule.confidence
        if rule.generic:
            if doubt(secret, text[whole[0] : start], text[end : end + 2]):
                return
            confidence += min(MOST_MORE, entropy / _BITS_PER_CONFIDENCE)
        if confidence < self._minimum:
            return
        yield Hit(rule, start, end, round(entropy, 2), round(confidence, 2), secret)

    def _allowed(self, rule: SecretRule, path: bytes, texts: Mapping[Target, bytes]) -> bool:
        common = (each for each in self._ruleset.allowlists if each.concerns(rule))
        return any(each.allows(path, texts) for each in (*rule.allowlists, *common))


def without_overlaps(hits: Iterable[Hit], order: Mapping[str, int]) -> list[Hit]:
    """Where hits overlap, the one with most confidence, then the longest, then of the first rule."""
    ranked = sorted(hits, key=lambda hit: (-hit.rule.confidence, hit.start - hit.end, order[hit.rule.id]))
    taken: list[tuple[int, int]] = []
    kept: list[Hit] = []
    for hit in ranked:
        place = bisect_left(taken, (hit.start, hit.end))
        before = place > 0 and taken[place - 1][1] > hit.start
        after = place < len(taken) and taken[place][0] < hit.end
        if not before and not after:
            insort(taken, (hit.start, hit.end))
            kept.append(hit)
    return sorted(kept, key=lambda hit: hit.start)


def _finds(rule: SecretRule, text: bytes, start: int, end: int) -> Iterator[Match]:
    """All matches; in a window the next may begin behind the last one's secret: they share a delimiter."""
    pattern = rule.regex
    while pattern is not None and start < end:
        match = pattern.search(text, start, end)
        if match is None:
            return
        yield match
        spans = [match.span(group) for group in range(pattern.groups + 1)]
        start = max(spans[0][1] if rule.wide else rule.secret_span(spans)[1], start + 1)


def _in_blob(text: bytes, start: int) -> bool:
    """Whether a place is deep inside base64, where any short format comes by chance."""
    before = text[max(0, start - _BLOB) : start]
    return len(before) == _BLOB and before[-1:] in {b"+", b"/"} and not before.translate(None, _BASE64)


def _by_keyword(rules: Iterable[SecretRule]) -> dict[bytes, frozenset[str]]:
    own: dict[bytes, set[str]] = {}
    for rule in rules:
        for keyword in rule.keywords:
            own.setdefault(keyword, set()).add(rule.id)
    return {word: frozenset().union(*(own.get(part, ()) for part in _parts(word))) for word in own}


def _parts(word: bytes) -> Iterator[bytes]:
    return (word[start:end] for start in range(len(word)) for end in range(start + 1, len(word) + 1))


def _lines_from(text: bytes, start: int, end: int) -> tuple[int, int]:
    first = _line_start(text, start)
    last = end
    for _ in range(_LINES_AFTER):
        line_end = text.find(b"\n", last, end + _AFTER)
        if line_end < 0:
            return first, min(len(text), end + _AFTER)
        last = line_end + 1
    return first, last


def _line_start(text: bytes, place: int) -> int:
    bound = max(0, place - _BEFORE)
    return max(bound, text.rfind(b"\n", bound, place) + 1)


def _line_end(text: bytes, place: int) -> int:
    found = text.find(b"\n", place, place + _BEFORE)
    return found if found >= 0 else min(len(text), place + _BEFORE)
