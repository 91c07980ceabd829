"""Every refusal of a document says in which file and where in it, and what to write instead."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

from secure_platform.errors import ContractError

_SHOWN_PARTS: Final = 3
_SHOWN_LENGTH: Final = 60


@dataclass(frozen=True)
class Place:
    """A file and, where known, the part of it that is being read."""

    file: str
    part: str = ""

    @classmethod
    def of(cls, path: Path) -> Self:
        """The place of a whole file, by the end of its path: enough to find it, no home directory in logs."""
        return cls("/".join(path.parts[-_SHOWN_PARTS:]).lstrip("/"))

    def at(self, part: str) -> Self:
        """The same file, at the named part."""
        return replace(self, part=part)

    def refusal(self, what: str, fix: str) -> ContractError:
        """An error for this place.

        Args:
            what: What is wrong, as the rest of a sentence that begins with the place.
            fix: What to do about it, as an imperative sentence.
        """
        return ContractError(f"{self.file}{', ' if self.part else ''}{self.part}: {what}", fix)


def shown(name: object) -> str:
    """A name from a document as it is shown in an error: quoted, on one line, cut."""
    text = ascii(name) if not isinstance(name, str) or not name.isprintable() else f"`{name}`"
    return text if len(text) <= _SHOWN_LENGTH else f"{text[:_SHOWN_LENGTH]}…"


def suggestion(name: object, known: Iterable[str], *, listed: str = "") -> str:
    """The known name that was probably meant, else all of them, as an imperative sentence.

    Args:
        name: What was written.
        known: What could have been.
        listed: The document that lists them, if they are too many for an error.
    """
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1)
    if near:
        return f"Did you mean {shown(near[0])}?"
    return f"Use one of those in {listed}." if listed else f"Use one of: {', '.join(names)}."
