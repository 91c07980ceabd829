"""Info types are data: one YAML file, read once and refused whole when anything in it is not understood.

Unknown keys, duplicate keys, patterns that the Polars regex engine cannot compile, validators and types that
do not exist are all errors at load, because a type that silently detects nothing is a hole in the scan.
"""

import re
import unicodedata
from collections.abc import Container, Hashable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import polars as pl
import yaml

from secure_platform.errors import ContractError
from secure_platform.taxonomy.classification import Classification
from secure_platform.taxonomy.validators import VALIDATORS

DOCUMENT: Final = Path(__file__).with_name("info_types.yaml")
TRANSFORMS: Final = frozenset(
    {"drop", "redact", "mask", "hash", "tokenize", "generalize", "shift_date", "keep"}
)
HIPAA_IDENTIFIERS: Final = frozenset("ABCDEFGHIJKLMNOPQR")
_ID: Final = re.compile(r"[A-Z][A-Z0-9_]{1,40}")
_WORD: Final = re.compile(r"[A-Z]{2,}s(?![a-z])|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_KEYS: Final = frozenset(
    {
        "title",
        "classification",
        "hipaa",
        "gdpr",
        "pci",
        "headers",
        "weak_headers",
        "weak_beside",
        "header_vetoes",
    }
    | {"value_patterns", "header_patterns", "text_pattern", "context_pattern", "validator", "distinctive"}
    | {"numeric", "supersedes", "default_transform"}
)
_FIX: Final = "Correct info_types.yaml; its head comment lists the keys."


@dataclass(frozen=True)
class InfoType:
    """What a value is, how it is recognised and how it is handled; the YAML file's head explains each field.

    Attributes:
        hipaa: Letter "A".."R" of the identifier in 45 CFR 164.514(b)(2)(i).
        header_words: Token sequences as `header_tokens` makes them, with `^` and `$` where a phrase is tied.
        value_patterns, header_patterns: Rust regexes anchored to the whole cell.
    """

    id: str
    title: str
    classification: Classification
    value_patterns: tuple[str, ...] = ()
    header_patterns: tuple[str, ...] = ()
    text_pattern: str | None = None
    context_pattern: str | None = None
    header_words: tuple[tuple[str, ...], ...] = ()
    weak_headers: tuple[tuple[str, ...], ...] = ()
    weak_beside: tuple[tuple[str, ...], ...] = ()
    header_vetoes: tuple[tuple[str, ...], ...] = ()
    validator: str | None = None
    distinctive: bool = False
    numeric: bool = False
    supersedes: tuple[str, ...] = ()
    hipaa: str | None = None
    gdpr: bool = False
    pci: bool = False
    default_transform: str = field(kw_only=True)


@cache
def info_types() -> Mapping[str, InfoType]:
    """Every info type by its id, in the order of the file."""
    return load_info_types(DOCUMENT)


def load_info_types(path: Path) -> Mapping[str, InfoType]:
    """Read and check a taxonomy document.

    Raises:
        ContractError: If the document has anything that is not understood; names the type and the key.
    """
    try:
        document = _parse(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError):
        raise ContractError(f"{path.name} is not strict YAML", _FIX) from None
    if not isinstance(document, dict) or not document:
        raise ContractError(f"{path.name} is not a mapping of info types", _FIX)
    types = {name: _info_type(name, body) for name, body in document.items()}
    for kind in types.values():
        for other in kind.supersedes:
            _require(other in types and other != kind.id, kind.id, "supersedes")
    return MappingProxyType(types)


def header_tokens(name: str) -> tuple[str, ...]:
    """Split a column name into lower-case words at separators, case changes and digits.

    `patientSSN_2` becomes `patient`, `ssn`, `2`; `acid` stays one word and so never means `cid`.
    """
    decomposed = unicodedata.normalize("NFKD", name)
    plain = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    return tuple(word.lower() for word in _WORD.findall(plain))


def _info_type(name: Any, body: Any) -> InfoType:
    culprit = name if isinstance(name, str) and _ID.fullmatch(name) else "an info type"
    _require(culprit == name, culprit, "id")
    _require(isinstance(body, dict), culprit, "body")
    _require(body.keys() <= _KEYS, culprit, "unknown key")
    text = _Reader(culprit, body)
    kind = InfoType(
        id=culprit,
        title=text.required("title"),
        classification=Classification.parse(text.required("classification")),
        value_patterns=text.patterns("value_patterns", anchored=True),
        header_patterns=text.patterns("header_patterns", anchored=True),
        text_pattern=text.pattern("text_pattern"),
        context_pattern=text.pattern("context_pattern"),
        header_words=text.phrases("headers"),
        weak_headers=text.phrases("weak_headers"),
        weak_beside=text.phrases("weak_beside"),
        header_vetoes=text.phrases("header_vetoes"),
        validator=text.optional("validator", VALIDATORS),
        distinctive=text.flag("distinctive"),
        numeric=text.flag("numeric"),
        supersedes=text.strings("supersedes"),
        hipaa=text.optional("hipaa", HIPAA_IDENTIFIERS),
        gdpr=text.flag("gdpr"),
        pci=text.flag("pci"),
        default_transform=text.required("default_transform"),
    )
    _require(kind.default_transform in TRANSFORMS, culprit, "default_transform")
    return kind


class _Reader:
    """Takes one type's fields out of the document, each with its type checked."""

    def __init__(self, culprit: str, body: Mapping[Any, Any]) -> None:
        self._culprit = culprit
        self._body = body

    def required(self, key: str) -> str:
        value = self._body.get(key)
        _require(isinstance(value, str) and bool(value), self._culprit, key)
        return str(value)

    def optional(self, key: str, allowed: Container[str]) -> str | None:
        value = self._body.get(key)
        _require(value is None or (isinstance(value, str) and value in allowed), self._culprit, key)
        return value

    def flag(self, key: str) -> bool:
        value = self._body.get(key, False)
        _require(isinstance(value, bool), self._culprit, key)
        return bool(value)

    def strings(self, key: str) -> tuple[str, ...]:
        value = self._body.get(key, [])
        well_formed = isinstance(value, list) and all(isinstance(item, str) and item for item in value)
        _require(well_formed and len(set(value)) == len(value), self._culprit, key)
        return tuple(value)

    def phrases(self, key: str) -> tuple[tuple[str, ...], ...]:
        return tuple(self._phrase(key, phrase) for phrase in self.strings(key))

    def patterns(self, key: str, *, anchored: bool) -> tuple[str, ...]:
        patterns = self.strings(key)
        for pattern in patterns:
            _require(not anchored or (pattern[0] == "^" and pattern[-1] == "$"), self._culprit, key)
            _require(_compiles(pattern), self._culprit, key)
        return patterns

    def pattern(self, key: str) -> str | None:
        if key not in self._body:
            return None
        pattern = self.required(key)
        _require(_compiles(pattern), self._culprit, key)
        return pattern

    def _phrase(self, key: str, phrase: str) -> tuple[str, ...]:
        words = header_tokens(phrase)
        _require(bool(words), self._culprit, key)
        return ("^",) * phrase.startswith("^") + words + ("$",) * phrase.endswith("$")


def _compiles(pattern: str) -> bool:
    try:
        matches = pl.Series([""]).str.contains(pattern)
    except pl.exceptions.ComputeError:
        return False
    # A pattern that matches nothing at all would make every cell a candidate.
    return not matches.item()


def _require(condition: bool, culprit: str, key: str) -> None:  # noqa: FBT001 - a guard, read as a sentence
    if not condition:
        raise ContractError(f"Info type {culprit}: {key} is not acceptable", _FIX)


def _parse(text: str) -> Any:
    """One strict YAML document: an alias or a key given twice would silently stand for something else."""
    events = yaml.parse(text, Loader=yaml.CSafeLoader)
    if any(isinstance(event, yaml.AliasEvent) for event in events):
        raise yaml.YAMLError
    return yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506 - derived from the safe loader


class _UniqueKeyLoader(yaml.CSafeLoader):
    """The safe loader, refusing a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 - the base class's signature
        keys = [str(key.value) for key, _ in node.value]
        if len(set(keys)) != len(keys):
            raise yaml.YAMLError
        return super().construct_mapping(node, deep)
