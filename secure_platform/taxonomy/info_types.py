"""Info types are data: one YAML file, read once and refused whole when anything in it is not understood.

Unknown keys, duplicate keys, patterns that the Polars regex engine cannot compile, validators and types that
do not exist are all errors at load, because a type that silently detects nothing is a hole in the scan.
Families hold what types have in common; what a type says itself comes first.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, cast

from secure_platform.taxonomy.classification import Classification
from secure_platform.taxonomy.reading import Entry, Usable, compiles, read_document
from secure_platform.taxonomy.validators import VALIDATORS

Group = Literal["identifier", "secret", "attribute", "plain"]

DOCUMENT: Final = Path(__file__).with_name("info_types.yaml")
TRANSFORMS: Final = frozenset(
    {
        *("drop", "redact", "replace", "mask", "hash", "tokenize", "vault", "encrypt", "fpe", "generalize"),
        *("shift_date", "noise", "shuffle", "scrub", "fake", "conditional", "keep"),
    }
)
HIPAA_IDENTIFIERS: Final = frozenset("ABCDEFGHIJKLMNOPQR")
GROUPS: Final = ("identifier", "secret", "attribute", "plain")
GDPR_ARTICLES: Final = frozenset({"4(1)", "9(1)", "10", "87"})
PCI_DATA: Final = frozenset({"CHD", "SAD"})
OCSF_CATEGORIES: Final = frozenset({"Personal", "Governmental", "Financial", "Business", "Security"})
_CATEGORY: Final = re.compile(r"(?:user|system)(?:\.[a-z_]+)+")
_COUNTRY: Final = re.compile(r"[A-Z]{2}")
_HANDLING: Final = frozenset(
    {
        *("title", "group", "classification", "category", "hipaa", "gdpr", "pci", "ocsf"),
        "default_transform",
    }
)
_RECOGNITION: Final = frozenset(
    {
        *(
            "family",
            "country",
            "headers",
            "key_headers",
            "weak_headers",
            "weak_beside",
            "header_vetoes",
            "value_patterns",
        ),
        *("header_patterns", "text_pattern", "context_words", "context_form", "context_pattern", "validator"),
        *("distinctive", "numeric", "supersedes", "words", "allowed"),
    }
)
# More ways to recognise a type that is there already; never fewer.
_WIDER: Final = frozenset({"headers", "value_patterns", "header_patterns", "words"})


@dataclass(frozen=True)
class InfoType:
    """What a value is, how it is recognised and how it is handled; the YAML file's head explains each field.

    Attributes:
        hipaa: Letter "A".."R" of the identifier in 45 CFR 164.514(b)(2)(i).
        gdpr: Article that makes it matter.
        pci: `CHD` or `SAD`.
        header_words: Token sequences as `header_tokens` makes them, with `^` and `$` where a phrase is tied.
        value_patterns, header_patterns: Rust regexes anchored to the whole cell.
        context_pattern: A keyword and a value shortly behind it.
        words: Whole cells that are evidence without a header, whatever their case.
        allowed: Rust regexes of whole values that are no evidence.
    """

    id: str
    title: str
    family: str
    group: Group
    classification: Classification
    category: str
    ocsf: str
    country: str | None = None
    hipaa: str | None = None
    gdpr: str | None = None
    pci: str | None = None
    value_patterns: tuple[str, ...] = ()
    header_patterns: tuple[str, ...] = ()
    text_pattern: str | None = None
    context_words: tuple[str, ...] = ()
    context_pattern: str | None = None
    header_words: tuple[tuple[str, ...], ...] = ()
    key_headers: tuple[tuple[str, ...], ...] = ()
    weak_headers: tuple[tuple[str, ...], ...] = ()
    weak_beside: tuple[tuple[str, ...], ...] = ()
    header_vetoes: tuple[tuple[str, ...], ...] = ()
    validator: str | None = None
    distinctive: bool = False
    numeric: bool = False
    supersedes: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    default_transform: str = field(kw_only=True)

    @property
    def sensitive(self) -> bool:
        """Whether values identify or open something, so that they must not be where nobody expects them."""
        return self.group in {"identifier", "secret"} and self.classification >= Classification.CONFIDENTIAL


@dataclass(frozen=True)
class Family:
    """What several types have in common; `handling` are the keys that they share."""

    id: str
    title: str
    handling: Mapping[str, Any]


@dataclass(frozen=True)
class Taxonomy:
    """Families and info types by their id, in the order of the document."""

    families: Mapping[str, Family]
    types: Mapping[str, InfoType]


def info_types() -> Mapping[str, InfoType]:
    """Every info type of the platform by its id, in the order of the file."""
    return taxonomy().types


@cache
def taxonomy() -> Taxonomy:
    """The platform's own families and types.

    Their patterns are compiled when they are needed, for a test has compiled all of them.
    """
    return load_taxonomy(DOCUMENT, usable=lambda _: True)


def load_taxonomy(path: Path, *, usable: Usable = compiles) -> Taxonomy:
    """Read and check a taxonomy document.

    Args:
        path: The document.
        usable: Whether a pattern may stand in it.

    Raises:
        ContractError: If the document has anything that is not understood; names the type and the key.
    """
    document = read_document(path, {"families", "types"})
    families = read_families(document.get("families"))
    types = read_types(document.get("types"), families, MappingProxyType({}), usable=usable)
    return Taxonomy(families, types)


def read_families(document: Any) -> Mapping[str, Family]:
    """The families of a document.

    Raises:
        ContractError: If anything in it is not understood.
    """
    bodies = document if isinstance(document, dict) else {}
    entries = {name: Entry("Family", name, body, _HANDLING) for name, body in bodies.items()}
    return MappingProxyType(
        {name: Family(name, entry.text("title"), bodies[name]) for name, entry in entries.items()}
    )


def read_types(
    document: Any,
    families: Mapping[str, Family],
    others: Mapping[str, InfoType],
    *,
    usable: Usable = compiles,
) -> Mapping[str, InfoType]:
    """The types of a document.

    Args:
        document: Bodies by id.
        families: The families that they may name.
        others: Types beside which they stand: not to be defined again, but to be superseded.
        usable: Whether a pattern may stand in it.

    Raises:
        ContractError: If anything in it is not understood.
    """
    entry = Entry("Info types", "types", document, document if isinstance(document, dict) else ())
    types = {name: _info_type(name, body, families, usable) for name, body in document.items()}
    entry.require(types and not types.keys() & others.keys(), "ids")
    for kind in types.values():
        for other in kind.supersedes:
            entry.require(other in {*types, *others} - {kind.id}, f"{kind.id} supersedes")
    return MappingProxyType(types)


def _info_type(name: Any, body: Any, families: Mapping[str, Family], usable: Usable) -> InfoType:
    entry = Entry("Info type", name, body, _HANDLING | _RECOGNITION, usable=usable)
    entry.require(name == name.upper(), "id")
    family = families[entry.choice("family", families)]
    entry.text("title")
    merged = Entry("Info type", name, {**family.handling, **body}, _HANDLING | _RECOGNITION)
    kind = InfoType(id=name, **_handling(merged), **_recognition(entry))
    merged.require(_CATEGORY.fullmatch(kind.category), "category")
    return kind


def _handling(entry: Entry) -> dict[str, Any]:
    return {
        "title": entry.text("title"),
        "family": entry.text("family"),
        "group": cast("Group", entry.choice("group", GROUPS)),
        "classification": Classification.parse(entry.text("classification")),
        "category": entry.text("category"),
        "ocsf": entry.choice("ocsf", OCSF_CATEGORIES),
        "hipaa": entry.optional("hipaa", HIPAA_IDENTIFIERS),
        "gdpr": entry.optional("gdpr", GDPR_ARTICLES),
        "pci": entry.optional("pci", PCI_DATA),
        "default_transform": entry.choice("default_transform", TRANSFORMS),
    }


def _recognition(entry: Entry) -> dict[str, Any]:
    words = entry.strings("context_words")
    form = entry.pattern("context_form")
    entry.require(bool(words) == bool(form), "context_form")
    return {
        "country": entry.matching("country", _COUNTRY),
        "value_patterns": entry.cell_patterns("value_patterns"),
        "header_patterns": entry.cell_patterns("header_patterns"),
        "text_pattern": entry.pattern("text_pattern"),
        "context_words": words,
        "context_pattern": _context(words, form) if form else entry.pattern("context_pattern"),
        "header_words": entry.phrases("headers"),
        "key_headers": entry.phrases("key_headers"),
        "weak_headers": entry.phrases("weak_headers"),
        "weak_beside": entry.phrases("weak_beside"),
        "header_vetoes": entry.phrases("header_vetoes"),
        "validator": entry.optional("validator", VALIDATORS),
        "distinctive": entry.flag("distinctive"),
        "numeric": entry.flag("numeric"),
        "supersedes": entry.strings("supersedes"),
        "words": _words(entry),
        "allowed": entry.cell_patterns("allowed"),
    }


def _words(entry: Entry) -> tuple[str, ...]:
    words = entry.strings("words")
    entry.require(all(word.strip() == word for word in words), "words")
    return words


def wider(kind: InfoType, body: Any) -> InfoType:
    """The type, recognised by what the body adds.

    Raises:
        ContractError: If anything in the body is not understood.
    """
    entry = Entry("Info type", kind.id, body, _WIDER)
    return replace(
        kind,
        header_words=(*kind.header_words, *entry.phrases("headers")),
        value_patterns=(*kind.value_patterns, *entry.cell_patterns("value_patterns")),
        header_patterns=(*kind.header_patterns, *entry.cell_patterns("header_patterns")),
        words=(*kind.words, *_words(entry)),
    )


def _context(words: tuple[str, ...], form: str) -> str:
    """One of the words, at most twenty characters that are no digits, and the value."""
    either = "|".join(re.escape(word) for word in words)
    return rf"(?i:(?-u:\b)(?:{either}))s?(?-u:\b)[^0-9\n]{{0,20}}(?-u:\b)(?:{form})(?-u:\b)"
