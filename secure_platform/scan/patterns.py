"""What is looked for in cells: the taxonomy's patterns, joined so that one pass decides most columns.

The union of everything that is evidence without a header is the prefilter; a column in which it matches
nowhere and whose name means nothing is never read again. Tokens of this platform, UUIDs, object identifiers
and long fractions are runs of digits by construction and are taken out before numbers are searched.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import polars as pl

from secure_platform.taxonomy.info_types import InfoType
from secure_platform.taxonomy.validators import VALIDATORS, Validator

_UUID: Final = r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}"
_TOKEN: Final = r"(?:(?:[th][0-9]+|v)_(?:[0-9a-f]{32}|[A-Z2-7]{26})|e[0-9]+_[A-Za-z0-9+/]{22,}={0,2})"  # noqa: S105
"""Tokens, and encrypted cells."""
_OBJECT_IDENTIFIER: Final = r"[0-9]+(?:\.[0-9]+){4,}"
_FRACTION: Final = r"[0-9]+\.[0-9]{11,}"

# Parts of text that look like identifiers and are none.
NOISE: Final = (
    rf"(?-u:\b)(?:{_UUID}|{_TOKEN}|{_OBJECT_IDENTIFIER}|{_FRACTION})(?-u:\b)"
    r"|(?:^|[\s=:,;(\[])-[0-9]{9,}(?-u:\b)"  # negative numbers
)

_BLANK: Final = r"[^\p{L}\p{N}]*"
_MASK: Final = r"[*#\x{2022}\x{2588}]"
_PLACEHOLDER: Final = r"\{\{[^{}]*\}\}|\$\{[^{}]*\}|<[A-Z][A-Z_ ]*>|%\([A-Za-z_]+\)s"
_WORDS: Final = (
    "redacted|masked|removed|suppressed|withheld|hidden|deleted|anonymi[sz]ed|unknown|none|null|nan|n/a"
)
_DOCUMENT: Final = r'(?s:\s*(?:\{\s*"|\[\s*[\[{"0-9-]).*[}\]]\s*)'
_REPLACED: Final = (
    _TOKEN,
    rf"{_BLANK}{_MASK}{_BLANK}{_MASK}{_BLANK}.{{0,4}}",  # masked up to the last four characters
    rf"(?:(?:{_PLACEHOLDER}){_BLANK})+",
    r"[xX][xX -]*",
    r"\[[A-Z][A-Z0-9_]+\]",  # replaced by its info type
    rf"(?i)[\[<({{]?(?:{_WORDS})(?:_[a-z_]+)?[\]>)}}]?",
)
_SAYS_NOTHING: Final = (
    *_REPLACED,
    _DOCUMENT,
    _UUID,
    "[0-9a-f]{32,128}",  # digests
    r"[-+0-9.,%]+",  # years, ages, ZIP3, counts
    r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+){2,}",  # hosts and packages
    r"[a-z][a-z0-9+.-]*:[^\s]+",  # URLs, URNs, ARNs
    r"[^\s@]+@[^\s@]+\.[A-Za-z]{2,}",  # e-mail addresses
    r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}[:/][0-9]{1,5}",  # IPv4 addresses with their port or network
    r"\[?(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f.]{0,15}\]?(?::[0-9]{1,5})?",  # IPv6 and hardware addresses
    r"(?:[0-9A-Fa-f]{2}-){5}[0-9A-Fa-f]{2}",
    _BLANK,
)


def _any_whole(forms: Iterable[str]) -> str:
    return f"^(?:{'|'.join(f'(?:{form})' for form in forms)})$"


# A whole cell that is a JSON object or array.
DOCUMENT: Final = _any_whole([_DOCUMENT])
# Cells that protection has replaced, and documents, which fit every name and are looked at inside: no
# evidence under a header, whatever its format.
LEFT_BEHIND: Final = _any_whole([*_REPLACED, _DOCUMENT])
# Cells that are no evidence under a header alone.
OPAQUE: Final = _any_whole(_SAYS_NOTHING)


# Cells that are keys made up by a system.
KEY: Final = _any_whole([_UUID, "[0-9a-fA-F]{24,}"])


# Whole cells that are digests of 128, 160, 256 or 512 bits, in one case.
DIGEST: Final = "^(?:(?:[0-9a-f]{8}){4,5}|(?:[0-9A-F]{8}){4,5}|(?:[0-9a-f]{64}){1,2}|(?:[0-9A-F]{64}){1,2})$"


@dataclass(frozen=True)
class TypePatterns:
    """One info type's patterns, joined and anchored; padding and quotes around a cell do not hide it.

    Attributes:
        kind: The info type, with the patterns as they were written.
    """

    kind: InfoType

    @cached_property
    def cell(self) -> str | None:
        """Formats and words of a whole cell that are evidence by themselves."""
        return _whole((*self.kind.value_patterns, *_words(self.kind.words)))

    @cached_property
    def named_cell(self) -> str | None:
        """Formats of a whole cell under a header that means the type; includes `cell`."""
        words = _words(self.kind.words)
        return _whole((*self.kind.value_patterns, *self.kind.header_patterns, *words))

    @cached_property
    def allowed(self) -> str | None:
        """Whole values that are no evidence."""
        return _whole(self.kind.allowed)

    @property
    def closed(self) -> bool:
        """Whether a whole cell of the format has no room for anything else."""
        return self.cell is not None and ".*" not in self.cell

    @property
    def text(self) -> str | None:
        """Format inside free text."""
        return self.kind.text_pattern

    @property
    def context(self) -> str | None:
        """Keyword and value inside free text."""
        return self.kind.context_pattern

    @property
    def by_value(self) -> bool:
        """Whether values alone can be evidence."""
        return any((self.cell, self.text, self.context))

    @property
    def by_header_only(self) -> bool:
        """Whether the type has no format: its header is the evidence and any plain cell counts."""
        return bool(self.kind.header_words) and not self.named_cell and not self.by_value

    @property
    def validator(self) -> Validator | None:
        """The number rule that cells and text must keep."""
        return VALIDATORS[self.kind.validator] if self.kind.validator else None


def compile_types(types: Mapping[str, InfoType]) -> tuple[TypePatterns, ...]:
    """The types that a scan can find, in the order of the taxonomy."""
    patterns = (TypePatterns(kind) for kind in types.values())
    return tuple(each for each in patterns if each.by_value or each.kind.header_words)


def union(patterns: Iterable[TypePatterns]) -> str:
    """One pattern that matches wherever a value can be evidence without a header."""
    return "|".join(f"(?:{part})" for part in parts(patterns)) or "[^\\s\\S]"


def parts(patterns: Iterable[TypePatterns]) -> list[str]:
    """What the union joins."""
    return [part for each in patterns for part in (each.cell, each.text, each.context) if part]


def matches(text: pl.Expr, pattern: str | None) -> pl.Expr:
    """Whether the pattern matches; false for null and where there is no pattern."""
    return text.str.contains(pattern).fill_null(False) if pattern else pl.lit(False)


def candidates(text: pl.Expr, pattern: str) -> pl.Expr:
    """Whether the union matches; digests, of which a share does by chance, are none."""
    return matches(text, pattern) & ~matches(text, DIGEST)


def _words(words: Iterable[str]) -> list[str]:
    """One pattern for all of them; the engine searches alternatives of letters at once."""
    either = "|".join(re.escape(word) for word in words)
    return [f"^(?i:{either})$"] if either else []


def _whole(patterns: Iterable[str]) -> str | None:
    bodies = "|".join(f"(?:{pattern[1:-1]})" for pattern in patterns)
    padding = r"""[ \t\r\n"']*"""
    return f"^{padding}(?:{bodies}){padding}$" if bodies else None
