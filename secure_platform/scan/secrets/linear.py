"""Regular expressions that cost time linear in the text, whoever wrote them: RE2, over bytes.

Python's `re` backtracks: one careless rule and one hostile line stop a scan for hours. RE2 has no look-around
and no back-references; a pattern that needs them, or more memory than is granted, is refused when it is read.
"""

from collections.abc import Iterable
from functools import cached_property, lru_cache
from typing import Any, Final, Protocol

import re2

from secure_platform.errors import UsageError

MOST_PATTERNS: Final = 2048
"""How many stay compiled: each scanner of a process has those of the platform; RE2 itself keeps 128."""
_MEMORY: Final = 16 << 20
_SET_MEMORY: Final = 64 << 20


class Match(Protocol):
    """Where a pattern matched."""

    def span(self, group: int = 0, /) -> tuple[int, int]:
        """Start and end of a group; (-1, -1) for one that took no part."""
        ...


class Pattern(Protocol):
    """A compiled pattern."""

    @property
    def groups(self) -> int:
        """How many groups capture."""
        ...

    def search(self, text: bytes, pos: int | None = None, endpos: int | None = None, /) -> Match | None:
        """The first match."""
        ...

    def finditer(self, text: bytes, pos: int | None = None, endpos: int | None = None, /) -> Any:
        """All matches that do not overlap."""
        ...

    def fullmatch(self, text: bytes, /) -> Match | None:
        """A match of the whole text."""
        ...


def compile_pattern(pattern: str, of: str) -> Pattern:
    """Compile a pattern over UTF-8 bytes.

    Args:
        pattern: RE2 syntax.
        of: Whose pattern it is, for the error.

    Raises:
        UsageError: If RE2 cannot run it.
    """
    return _compiled(pattern, of, longest=False)


class Deferred:
    """A pattern that is compiled when it is first asked: most of many are asked nothing.

    Args:
        pattern: RE2 syntax, known to be right.
        of: Whose pattern it is.
    """

    def __init__(self, pattern: str, of: str) -> None:
        self._text, self._of = pattern, of

    @cached_property
    def _pattern(self) -> Pattern:
        return compile_pattern(self._text, self._of)

    @property
    def groups(self) -> int:
        """How many groups capture."""
        return self._pattern.groups

    def search(self, text: bytes, pos: int | None = None, endpos: int | None = None, /) -> Match | None:
        """The first match."""
        return self._pattern.search(text, pos, endpos)

    def finditer(self, text: bytes, pos: int | None = None, endpos: int | None = None, /) -> Any:
        """All matches that do not overlap."""
        return self._pattern.finditer(text, pos, endpos)

    def fullmatch(self, text: bytes, /) -> Match | None:
        """A match of the whole text."""
        return self._pattern.fullmatch(text)


class PatternSet:
    """Patterns that are searched at once.

    Args:
        patterns: Each is one that `compile_pattern` takes.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        self._patterns = re2.Set.SearchSet(_options(longest=False, memory=_SET_MEMORY))
        for pattern in patterns:
            self._patterns.Add(pattern.encode())
        self._patterns.Compile()

    def matching(self, text: bytes) -> list[int]:
        """The places of those that match somewhere."""
        return self._patterns.Match(text) or []


def any_of(words: Iterable[bytes], patterns: Iterable[str] = ()) -> Pattern:
    """A pattern for whichever of some words and patterns is there, in any case; at one place the longest."""
    quoted = [str(re2.escape(word.decode())) for word in sorted(words)]
    parts = [*quoted, *(f"(?:{pattern})" for pattern in patterns)]
    return _compiled(f"(?i){'|'.join(parts)}", "the keywords", longest=True)


def _compiled(pattern: str, of: str, *, longest: bool) -> Pattern:
    try:
        return _kept(pattern, longest=longest)
    except (re2.error, UnicodeEncodeError):
        raise UsageError(
            f"The pattern of {of} is not one that runs in linear time",
            "Write it in RE2 syntax: no look-around, no back-references, repetitions up to 1000.",
        ) from None


@lru_cache(maxsize=MOST_PATTERNS)
def _kept(pattern: str, *, longest: bool) -> Pattern:
    compiled: Pattern = re2.compile(pattern.encode(), _options(longest=longest))
    return compiled


def _options(*, longest: bool, memory: int = _MEMORY) -> Any:
    options = re2.Options()
    options.log_errors, options.max_mem, options.longest_match = False, memory, longest
    return options
