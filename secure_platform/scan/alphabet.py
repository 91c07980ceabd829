"""What a text must contain for a pattern to match: certain characters, and a minimum number of them.

A pattern in Rust's regex syntax is read as a sequence of character sets. The sets may be too large and the
matches too short, never the reverse: all characters outside ASCII count as one, positions take up nothing,
and nothing at all is claimed about a pattern that contains anything not understood here.
"""

import re
import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from math import inf
from operator import or_
from typing import Final, Protocol

ASCII: Final = 128


def mask(characters: Iterable[int]) -> int:
    """A set of bytes of ASCII as the bits of a number."""
    return reduce(or_, (1 << character for character in characters), 0)


OTHERS: Final = 1 << ASCII
"""Every character outside ASCII."""
EVERY: Final = (OTHERS << 1) - 1
DIGITS: Final = mask(string.digits.encode())
UPPER: Final = mask(string.ascii_uppercase.encode())
LOWER: Final = mask(string.ascii_lowercase.encode())
WORD: Final = DIGITS | UPPER | LOWER | mask(b"_")
_CLASSES: Final = {"d": DIGITS, "w": WORD, "s": mask(b"\t\n\v\f\r ")}
_CONTROLS: Final = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v", "a": "\a"}
_REPEATED: Final = re.compile(r"(?:[*?+]|\{([0-9]+)(?:,[0-9]*)?\})\??")
_FLAGS: Final = re.compile(r"\(\?([imsu]*(?:-[imsu]+)?)([:)])")
_NAME: Final = re.compile(r"\(\?P?<[A-Za-z_][A-Za-z0-9_]*>")
_BY_NUMBER: Final = re.compile(r"\\(?:x\{([0-9A-Fa-f]+)\}|x([0-9A-Fa-f]{2}))")
_BY_NAME: Final = re.compile(r"\\[pP](?:\{\^?[A-Za-z_=]+\}|[A-Z])")
_TWO_SETS: Final = ("&&", "--", "~~")
_DEEPEST: Final = 40
MOST_PATTERNS: Final = 2048
"""How many are kept read: every scanner of a process has those of the platform, some 450."""
_CASES: Final = ord("a") - ord("A")


class Needs(Protocol):
    """What a pattern, or a part of one, needs; alphabets are masks of characters."""

    def shortest(self, alphabet: int) -> float:
        """A lower bound of the characters of a match that has no others; infinite if there is none."""
        ...

    def bound(self, alphabet: int) -> bool:
        """Whether every match begins at an end of a word."""
        ...


@lru_cache(maxsize=MOST_PATTERNS)
def needs(pattern: str) -> Needs | None:
    """What a match of a pattern needs, or nothing if the pattern has anything that is not understood."""
    reader = _Reader(pattern)
    try:
        read = reader.either(fold=False)
    except _NotUnderstoodError:
        return None
    return read if reader.done else None


class _NotUnderstoodError(Exception):
    """The pattern is searched for everywhere."""


@dataclass(frozen=True)
class _One:
    """One character of a set."""

    of: int

    def shortest(self, alphabet: int) -> float:
        return 1 if self.of & alphabet else inf

    def bound(self, alphabet: int) -> bool:
        return not self.of & alphabet


@dataclass(frozen=True)
class _Place:
    """A place between characters; nothing is said of where it is but that it is an end of a word."""

    end: bool

    def shortest(self, alphabet: int) -> float:  # noqa: ARG002 - of the protocol
        return 0

    def bound(self, alphabet: int) -> bool:  # noqa: ARG002 - of the protocol
        return self.end


@dataclass(frozen=True)
class _Row:
    """One after the other."""

    parts: Sequence[Needs]

    def shortest(self, alphabet: int) -> float:
        return sum(part.shortest(alphabet) for part in self.parts)

    def bound(self, alphabet: int) -> bool:
        return self.shortest(alphabet) == inf or (bool(self.parts) and self.parts[0].bound(alphabet))


@dataclass(frozen=True)
class _Either:
    """One of several."""

    branches: Sequence[Needs]

    def shortest(self, alphabet: int) -> float:
        return min(branch.shortest(alphabet) for branch in self.branches)

    def bound(self, alphabet: int) -> bool:
        return all(branch.bound(alphabet) for branch in self.branches)


@dataclass(frozen=True)
class _Repeated:
    """The same several times."""

    part: Needs
    least: int

    def shortest(self, alphabet: int) -> float:
        return self.least * self.part.shortest(alphabet) if self.least else 0

    def bound(self, alphabet: int) -> bool:
        return self.least > 0 and self.part.bound(alphabet)


class _Reader:
    """Reads a pattern from left to right."""

    def __init__(self, pattern: str) -> None:
        self._text, self._at, self._depth = pattern, 0, 0

    @property
    def done(self) -> bool:
        return self._at == len(self._text)

    def either(self, *, fold: bool) -> Needs:
        """Alternatives, up to the end or a closing bracket; flags in the middle hold for the rest."""
        branches: list[Needs] = []
        row: list[Needs] = []
        while not self.done and not self._sees(")"):
            flags = _FLAGS.match(self._text, self._at)
            if self._takes("|"):
                branches.append(_Row(row))
                row = []
            elif flags and flags[2] == ")":
                self._at = flags.end()
                fold = _folds(flags[1], fold=fold)
            else:
                row.append(self._repeated(fold=fold))
        return _Either([*branches, _Row(row)])

    def _repeated(self, *, fold: bool) -> Needs:
        part = self._part(fold=fold)
        while found := _REPEATED.match(self._text, self._at):
            self._at = found.end()
            least = int(found[1]) if found[1] else int(found[0][0] == "+")
            part = _Repeated(part, least)
        return part

    def _part(self, *, fold: bool) -> Needs:
        if self._sees("("):
            return self._group(fold=fold)
        if self._takes("["):
            return _One(self._class(fold=fold))
        if self._takes("."):
            return _One(EVERY)
        if self._takes("^") or self._takes("$"):
            return _Place(end=True)
        for place, end in ((r"\b", True), (r"\A", True), (r"\z", True), (r"\B", False)):
            if self._takes(place):
                self._refuse_if(self._sees("{"))
                return _Place(end)
        self._refuse_if(self._text[self._at] in "*+?{")
        return _One(self._character(fold=fold)[0])

    def _group(self, *, fold: bool) -> Needs:
        flags, name = (form.match(self._text, self._at) for form in (_FLAGS, _NAME))
        if flags:
            self._at = flags.end()
            fold = _folds(flags[1], fold=fold)
        elif name:
            self._at = name.end()
        else:
            self._takes("(")
            self._refuse_if(self._sees("?"))
        self._depth += 1
        self._refuse_if(self._depth > _DEEPEST)
        read = self.either(fold=fold)
        self._depth -= 1
        self._refuse_if(not self._takes(")"))
        return read

    def _class(self, *, fold: bool) -> int:
        """The set; of one that is turned round, what is surely in it is taken from all."""
        turned = self._takes("^")
        found = sure = 0
        first = True
        while first or not self._sees("]"):
            self._refuse_if(self.done or self._sees("["))
            begin, exact, code = self._member(fold=fold)
            self._refuse_if(self._text.startswith(_TWO_SETS, self._at))
            if code is not None and self._sees("-") and not self._text.startswith("-]", self._at):
                self._takes("-")
                self._refuse_if(self._sees("["))
                *_, last = self._member(fold=fold)
                self._refuse_if(last is None)
                begin, exact = _range(code, last or 0, fold=fold)
            found, sure, first = found | begin, sure | exact, False
        self._takes("]")
        return EVERY & ~sure if turned else found

    def _member(self, *, fold: bool) -> tuple[int, int, int | None]:
        """A character or class at most, at least, and the character's number."""
        self._refuse_if(self.done)
        found, code = self._character(fold=fold)
        sure = found & ~OTHERS if code is None else _range(code, code, fold=False)[1]
        return found, 0 if found == EVERY else sure, code

    def _character(self, *, fold: bool) -> tuple[int, int | None]:
        """The set that a character or an escaped class stands for, and the character's number."""
        for letter, members in _CLASSES.items():
            if self._takes(rf"\{letter}"):
                return members | OTHERS, None
            if self._takes(rf"\{letter.upper()}"):
                return EVERY, None
        if found := _BY_NAME.match(self._text, self._at):
            self._at = found.end()
            return EVERY, None
        code = self._code()
        return _range(code, code, fold=fold)[0], code

    def _code(self) -> int:
        if found := _BY_NUMBER.match(self._text, self._at):
            self._at = found.end()
            return int(found[1] or found[2], 16)
        escaped = self._takes("\\")
        self._refuse_if(self.done)
        character = self._text[self._at]
        self._at += 1
        if escaped and character in _CONTROLS:
            return ord(_CONTROLS[character])
        self._refuse_if(escaped and (character.isalnum() or character in "<>" or ord(character) >= ASCII))
        return ord(character)

    def _sees(self, text: str) -> bool:
        return self._text.startswith(text, self._at)

    def _takes(self, text: str) -> bool:
        seen = self._sees(text)
        self._at += len(text) * seen
        return seen

    def _refuse_if(self, condition: object) -> None:
        if condition:
            raise _NotUnderstoodError


def _folds(flags: str, *, fold: bool) -> bool:
    on, _, off = flags.partition("-")
    return "i" in on or (fold and "i" not in off)


def _range(first: int, last: int, *, fold: bool) -> tuple[int, int]:
    """The characters from one to another at most and at least; letters also have forms outside ASCII."""
    sure = mask(range(first, min(last, ASCII - 1) + 1))
    found = sure | (OTHERS if last >= ASCII else 0)
    if fold:
        lower, upper = found & LOWER, found & UPPER
        found |= lower >> _CASES | upper << _CASES
        found |= OTHERS if lower or upper or last >= ASCII else 0
        # Some forms outside ASCII are those of letters of ASCII.
        found |= UPPER | LOWER if last >= ASCII else 0
    return found, sure
