"""What a `.gitignore` leaves out, by git's documented rules; the globs become linear-time patterns.

git itself is not asked: it would run what a repository's own configuration names.
"""

import re
from dataclasses import dataclass
from typing import Final, Self

from secure_platform.errors import UsageError
from secure_platform.scan.secrets.linear import Pattern, compile_pattern

_LONGEST_LINE: Final = 1000


@dataclass(frozen=True)
class _Glob:
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
    globs: tuple[_Glob, ...]

    @classmethod
    def parse(cls, folder: str, text: str) -> Self:
        """Read a `.gitignore`; a line that is no pattern ignores nothing."""
        globs = (_glob(line) for line in text.splitlines() if len(line) <= _LONGEST_LINE)
        return cls(folder, tuple(glob for glob in globs if glob is not None))

    def decision(self, path: str, *, is_folder: bool) -> bool | None:
        """True or false where a pattern decides about a path relative to the root, else nothing."""
        inner = path.removeprefix(self.folder).encode(errors="surrogateescape")
        for glob in reversed(self.globs):
            if (is_folder or not glob.folders_only) and glob.pattern.fullmatch(inner):
                return glob.ignores
        return None


def _glob(line: str) -> _Glob | None:
    text = re.sub(r"(?<!\\) +$", "", line)
    ignores = not text.startswith("!")
    text = text[not ignores :]
    if not text or (ignores and text.startswith("#")):
        return None
    folders_only = text.endswith("/")
    body = text.rstrip("/")
    anchored = "/" in body
    try:
        pattern = compile_pattern(
            ("" if anchored else "(?:.*/)?") + _regex(body.lstrip("/")), "an ignored path"
        )
    except UsageError:
        return None
    return _Glob(pattern, ignores, folders_only)


_PIECES: Final = re.compile(r"\*\*/|/\*\*$|\*+|\?|\[!?\]?[^\]/]*\]|\\.|.", re.DOTALL)


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
