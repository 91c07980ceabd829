"""What a `.gitignore` leaves out, by git's documented rules; the globs become linear-time patterns.

git itself is not asked: it would run what a repository's own configuration names.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Self

from secure_platform.errors import UsageError
from secure_platform.scan.secrets.linear import Pattern, compile_pattern

_LONGEST_LINE: Final = 1000
_MOST_LINES: Final = 10_000
_TOGETHER: Final = 200


@dataclass(frozen=True)
class _Globs:
    """Globs that follow each other and say the same."""

    pattern: Pattern
    ignores: bool
    folders_only: bool


@dataclass(frozen=True)
class Ignored:
    """The patterns of one file; the last that matches decides.

    Attributes:
        folder: Of the file, relative to the root, with a `/` at its end; empty for the root.
    """

    folder: str
    globs: tuple[_Globs, ...]

    @classmethod
    def parse(cls, folder: str, text: str) -> Self:
        """Read a `.gitignore`; a line that is no pattern, or one of too many, ignores nothing."""
        lines = (line for line in text.splitlines()[:_MOST_LINES] if len(line) <= _LONGEST_LINE)
        globs = [glob for glob in map(_glob, lines) if glob is not None]
        return cls(folder, tuple(_together(globs)))

    def decision(self, path: str, *, is_folder: bool) -> bool | None:
        """True or false where a pattern decides about a path relative to the root, else nothing."""
        inner = path.removeprefix(self.folder).encode(errors="surrogateescape")
        for globs in reversed(self.globs):
            if (is_folder or not globs.folders_only) and globs.pattern.fullmatch(inner):
                return globs.ignores
        return None


_Glob = tuple[str, bool, bool]


def _glob(line: str) -> _Glob | None:
    """The pattern of a line, whether it ignores, and whether it is for folders only."""
    text = re.sub(r"(?<!\\) +$", "", line)
    ignores = not text.startswith("!")
    text = text[not ignores :]
    if not text or (ignores and text.startswith("#")):
        return None
    body = text.rstrip("/")
    anchored = "/" in body
    return ("" if anchored else "(?:.*/)?") + _regex(body.lstrip("/")), ignores, text.endswith("/")


def _together(globs: Sequence[_Glob]) -> Iterator[_Globs]:
    """As few patterns as may be: one of many costs little more than one of a single glob."""
    for (ignores, folders_only), same in groupby(globs, key=lambda glob: glob[1:]):
        texts = [text for text, _, _ in same]
        for start in range(0, len(texts), _TOGETHER):
            for pattern in _compiled(texts[start : start + _TOGETHER]):
                yield _Globs(pattern, ignores, folders_only)


def _compiled(texts: Sequence[str]) -> Iterator[Pattern]:
    """One pattern for all of the texts, or some if one of them is none."""
    try:
        yield compile_pattern("|".join(f"(?:{text})" for text in texts), "an ignored path")
    except UsageError:
        half = len(texts) // 2
        for part in (texts[:half], texts[half:]) if half else ():
            yield from _compiled(part)


_PIECES: Final = re.compile(r"\*\*/|/\*\*$|\*+|\?|\[!?\]?(?:\\.|[^\]\\/])*\]|\\.|.", re.DOTALL)


def _regex(glob: str) -> str:
    return "".join(_piece(match[0]) for match in _PIECES.finditer(glob))


def _piece(piece: str) -> str:
    match piece:
        case "**/":
            return "(?:.*/)?"
        case "/**":
            return "/.*"
        case "?":
            return "[^/]"
        case _ if piece[0] == "*":
            return "[^/]*"
        case _ if piece[0] == "[" and len(piece) > 1:
            negated = piece[1] == "!"
            return f"[{'^' * negated}{piece[1 + negated : -1].replace('[', chr(92) + '[')}]"
        case _:
            return re.escape(piece[-1])
