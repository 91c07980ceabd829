"""A secret rule: what a secret looks like, what makes a text worth searching, what is known to be none."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Literal

from secure_platform.scan.secrets.linear import Pattern

Target = Literal["secret", "match", "line"]

# Regexes that may span more lines than the few around a keyword.
_WIDE: Final = (r"[\s\S", r"[\S\s", r"[\w\W", r"[\W\w", r"[\d\D", r"[\D\d", "(?s", "(?is", "(?ms", "(?ims")
GENERAL: Final = "SECRET_TOKEN"
_GENERIC: Final = "generic"
_CONFIDENCE: Final[Mapping[str, float]] = {"format": 0.95, "context": 0.85, _GENERIC: 0.6}
_WEAK: Final = "weak"
_WEAK_CONFIDENCE: Final = 0.25
_UNGRADED: Final = 0.8
# A name alone is worth more the more random the value is.
MOST_MORE: Final = 0.2


@dataclass(frozen=True)
class Allowlist:
    """What is no secret after all.

    Attributes:
        description: Why.
        all_of: Whether every stated kind of evidence must hold, rather than one.
        paths, regexes, stopwords: The evidence; stopwords in lower case.
        target: What `regexes` look at.
        rules, tags: The rules that it is for, by id or by a tag they have; all when both are empty.
    """

    description: str = ""
    all_of: bool = False
    paths: Pattern | None = None
    regexes: Pattern | None = None
    stopwords: tuple[bytes, ...] = ()
    target: Target = "secret"
    rules: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()

    def concerns(self, rule: "SecretRule") -> bool:
        """Whether it is for this rule."""
        everyone = not self.rules and not self.tags
        return everyone or rule.id in self.rules or not self.tags.isdisjoint(rule.tags)

    def allows(self, path: bytes, texts: Mapping[Target, bytes]) -> bool:
        """Whether the secret in `texts` is no finding."""
        evidence = []
        if self.paths:
            evidence.append(self.paths.search(path) is not None)
        if self.regexes:
            evidence.append(self.regexes.search(texts[self.target]) is not None)
        if self.stopwords:
            lowered = texts["secret"].lower()
            evidence.append(any(word in lowered for word in self.stopwords))
        return all(evidence) if self.all_of else any(evidence)


@dataclass(frozen=True)
class SecretRule:
    """One rule; the members are those of the gitleaks format, `source`, `gate` and `infoType`.

    Attributes:
        info_type: What the secret is, in the taxonomy.
        source: The vendor's page that documents the format.
        regex: What the secret and its surroundings look like; none for a rule about paths alone.
        secret_group: The group that is the secret; 0 for the first group that took part, or the whole match.
        entropy: Shannon entropy in bits per byte that the secret must exceed.
        keywords: One of them must be near, in lower case; without any, and without a gate, the regex is
            always tried.
        gate: In place of keywords that are everywhere: a cheap pattern that must match near, in any case. A
            member of ours; gitleaks tries such a rule always.
        path: Which files it is for.
        tags: `format`, `context` or `generic` grade what a match says, `weak` says that it is little; others
            are the author's.
    """

    id: str
    info_type: str = GENERAL
    description: str = ""
    source: str = ""
    regex: Pattern | None = None
    regex_text: str = ""
    secret_group: int = 0
    entropy: float = 0.0
    keywords: tuple[bytes, ...] = ()
    gate: str = ""
    path: Pattern | None = None
    tags: tuple[str, ...] = ()
    allowlists: tuple[Allowlist, ...] = ()

    @cached_property
    def confidence(self) -> float:
        """What a match is worth before its value is weighed."""
        if _WEAK in self.tags:
            return _WEAK_CONFIDENCE
        return max((_CONFIDENCE[tag] for tag in self.tags if tag in _CONFIDENCE), default=_UNGRADED)

    @property
    def most(self) -> float:
        """What a match can be worth at most."""
        return self.confidence + MOST_MORE * self.generic

    @property
    def generic(self) -> bool:
        """Whether the name beside the value is all the evidence, and the value must be plausible."""
        return _GENERIC in self.tags

    @cached_property
    def wide(self) -> bool:
        """Whether a match may span any number of lines."""
        return any(sign in self.regex_text for sign in _WIDE)

    def secret_span(self, spans: list[tuple[int, int]]) -> tuple[int, int]:
        """Which part of a match is the secret."""
        if self.secret_group:
            return spans[self.secret_group]
        return next((span for span in spans[1:] if span[0] < span[1]), spans[0])


@dataclass(frozen=True)
class RuleSet:
    """Rules by id, and what is no secret for all of them."""

    rules: Mapping[str, SecretRule] = field(default_factory=dict)
    allowlists: tuple[Allowlist, ...] = ()
