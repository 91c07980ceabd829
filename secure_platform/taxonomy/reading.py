"""Taxonomy documents are strict YAML: an unknown, repeated or mistyped key refuses the whole document.

An error names the entry and the key, never the value.
"""

import re
import unicodedata
from collections.abc import Callable, Collection, Hashable, Mapping
from pathlib import Path
from typing import Any, Final

import polars as pl
import yaml

from secure_platform.errors import ContractError

Usable = Callable[[str], bool]
ID: Final = re.compile(r"[A-Z][A-Z0-9_]{1,40}")
_WORD: Final = re.compile(r"[A-Z]{2,}s(?![a-z])|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_]+")
# Letters that Unicode does not take apart into a base letter and a mark.
_LETTERS: Final = str.maketrans(
    {"ß": "ss", "ø": "o", "Ø": "O", "æ": "ae", "Æ": "AE", "œ": "oe", "ł": "l", "Ł": "L", "đ": "d", "ı": "i"}  # noqa: RUF001 - a letter of Turkish
)


def header_tokens(name: str) -> tuple[str, ...]:
    """Split a column name into lower-case words at separators, case changes and digits.

    `patientSSN_2` becomes `patient`, `ssn`, `2`; `acid` stays one word and so never means `cid`. Accents are
    taken off; a run of letters of a script without case is one word.
    """
    if name.isascii():
        return tuple(word.lower() for word in _WORD.findall(name))
    return tuple(word.lower() for word in _WORD.findall(plain_letters(name)))


def plain_letters(name: str) -> str:
    """The name without accents, and with the letters that stand for one of another alphabet."""
    decomposed = unicodedata.normalize("NFKD", name.translate(_LETTERS))
    plain = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    return unicodedata.normalize("NFC", plain)


def read_document(path: Path, keys: Collection[str]) -> Mapping[str, Any]:
    """A strict YAML mapping with at most these keys.

    Raises:
        ContractError: If it is anything else.
    """
    fix = f"Correct {path.name}; docs/info-types.md explains its keys."
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)  # noqa: S506 - a safe loader
    except (yaml.YAMLError, ValueError):
        raise ContractError(f"{path.name} is not strict YAML", fix) from None
    if not isinstance(document, dict) or not document or not document.keys() <= set(keys):
        raise ContractError(f"{path.name} is not a mapping of {', '.join(sorted(keys))}", fix)
    return document


def refuse_unless(condition: object, culprit: str, key: str) -> None:
    """Raise the error that names the entry and the key, unless the condition holds."""
    if not condition:
        raise ContractError(
            f"{culprit}: {key} is not acceptable",
            "Correct the document; docs/info-types.md explains its keys.",
        )


def compiles(pattern: str) -> bool:
    """Whether the engine that scans can use the pattern, and it does not match every cell."""
    try:
        matches = pl.Series([""]).str.contains(pattern)
    except pl.exceptions.ComputeError:
        return False
    return not matches.item()


class Entry:
    """Takes one entry's fields out of a document, each with its type checked.

    Args:
        kind: What the entry is, for errors.
        name: Its id.
        body: Its fields.
        keys: Those that it may have.
        usable: Whether a pattern may stand in it.
    """

    def __init__(
        self, kind: str, name: Any, body: Any, keys: Collection[str], *, usable: Usable = compiles
    ) -> None:
        self._usable = usable
        known = isinstance(name, str) and ID.fullmatch(name.upper())
        self.culprit = f"{kind} {name}" if known else kind
        refuse_unless(known, self.culprit, "id")
        refuse_unless(isinstance(body, dict), self.culprit, "body")
        refuse_unless(body.keys() <= set(keys), self.culprit, "unknown key")
        self._body: Mapping[str, Any] = body

    def require(self, condition: object, key: str) -> None:
        """Refuse the entry unless the condition holds."""
        refuse_unless(condition, self.culprit, key)

    def text(self, key: str) -> str:
        """A text that must be there."""
        value = self._body.get(key)
        self.require(isinstance(value, str) and bool(value), key)
        return str(value)

    def choice(self, key: str, allowed: Collection[str]) -> str:
        """One of some texts, which must be there."""
        value = self.text(key)
        self.require(value in allowed, key)
        return value

    def optional(self, key: str, allowed: Collection[str]) -> str | None:
        """One of some texts, or nothing."""
        return self.choice(key, allowed) if self._body.get(key) is not None else None

    def matching(self, key: str, form: re.Pattern[str]) -> str | None:
        """A text of this form, or nothing."""
        value = self._body.get(key)
        self.require(value is None or (isinstance(value, str) and form.fullmatch(value)), key)
        return value

    def flag(self, key: str) -> bool:
        """Yes or no; no when it is not there."""
        value = self._body.get(key, False)
        self.require(isinstance(value, bool), key)
        return bool(value)

    def strings(self, key: str) -> tuple[str, ...]:
        """A list of different texts."""
        value = self._body.get(key, [])
        well_formed = isinstance(value, list) and all(isinstance(item, str) and item for item in value)
        self.require(well_formed and len(set(value)) == len(value), key)
        return tuple(value)

    def phrases(self, key: str) -> tuple[tuple[str, ...], ...]:
        """Column names as words, with `^` and `$` where a phrase is tied to an end of the name."""
        return tuple(self._phrase(key, phrase) for phrase in self.strings(key))

    def cell_patterns(self, key: str) -> tuple[str, ...]:
        """Patterns that are anchored to the whole cell."""
        patterns = self.strings(key)
        for pattern in patterns:
            self.require(pattern[0] == "^" and pattern[-1] == "$", key)
            self.require(self._usable(pattern), key)
        return patterns

    def pattern(self, key: str) -> str | None:
        """A pattern that is searched in text."""
        if key not in self._body:
            return None
        pattern = self.text(key)
        self.require(self._usable(pattern), key)
        return pattern

    def _phrase(self, key: str, phrase: str) -> tuple[str, ...]:
        words = header_tokens(phrase)
        self.require(words, key)
        return ("^",) * phrase.startswith("^") + words + ("$",) * phrase.endswith("$")


class _StrictLoader(yaml.CSafeLoader):
    """The safe loader, refusing aliases and keys given twice: both silently stand for something else."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: FBT001, FBT002 - the base class's signature
        if node in self.constructed_objects:
            raise yaml.YAMLError
        return super().construct_object(node, deep)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 - the same
        keys = [str(key.value) for key, _ in node.value]
        if len(set(keys)) != len(keys):
            raise yaml.YAMLError
        return super().construct_mapping(node, deep)
