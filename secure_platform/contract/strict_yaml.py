"""A YAML document is accepted only if no two readers can understand it differently.

One UTF-8 document of mappings, sequences and plain JSON values. Duplicate keys, anchors, aliases, merge keys,
tags, directives and further documents are refused, and so is every unquoted value that YAML 1.1 and 1.2 read
differently (`no`, `012`, `1:30`, `2024-01-31`). Without aliases a document cannot grow beyond its bytes; size
and depth are limited.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import yaml

from secure_platform.contract.place import Place, shown
from secure_platform.errors import ContractError

MAX_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 32
MAX_INTEGER: Final = 2**53 - 1
"""The largest integer that canonical JSON can carry (RFC 8785 §3.2.2.3)."""

_CONSTANTS: Final[Mapping[str, bool | None]] = {
    "true": True,
    "false": False,
    "null": None,
    "~": None,
    "": None,
}
_INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)")
_FLOAT: Final = re.compile(r"-?(?:0|[1-9][0-9]*)\.[0-9]+(?:[eE][-+][0-9]+)?")
_YAML_1_1: Final = yaml.SafeLoader.yaml_implicit_resolvers
_YAML_1_2_ALSO: Final = re.compile(
    r"[yYnN]|0o[0-7]+|0x[0-9a-fA-F]+|[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
)
_MISSING: Final = object()


def parse(data: bytes, place: Place) -> Any:
    """Read one document into dicts, lists, strings, numbers, booleans and None.

    Raises:
        ContractError: If the bytes are not one unambiguous document; names the line.
    """
    if len(data) > MAX_BYTES:
        raise place.refusal(
            f"is larger than {MAX_BYTES >> 10} KiB", "Split it, or remove what is not needed."
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise place.at(f"line {line}").refusal("is not UTF-8", "Save the file as UTF-8.") from None
    builder = _Builder(place)
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            builder.take(event)
    except yaml.YAMLError as error:
        raise _syntax_error(place, error) from None
    return builder.document()


def _syntax_error(place: Place, error: yaml.YAMLError) -> ContractError:
    problem, where = "it holds a control character", place
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        problem, where = str(error.problem), place.at(f"line {error.problem_mark.line + 1}")
    return where.refusal(f"is not YAML ({problem})", "Correct the line; check its indentation and quotes.")


class _Builder:
    """Builds the document from parser events; what is open is a stack, so depth costs no recursion."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._root: Any = _MISSING
        self._open: list[dict[str, Any] | list[Any]] = []
        self._keys: list[str | None] = []
        self._take: Final[Mapping[type, Callable[[Any], None]]] = {
            yaml.ScalarEvent: self._scalar,
            yaml.MappingStartEvent: self._mapping,
            yaml.SequenceStartEvent: self._sequence,
            yaml.MappingEndEvent: self._close,
            yaml.SequenceEndEvent: self._close,
            yaml.AliasEvent: self._alias,
            yaml.DocumentStartEvent: self._document,
        }

    def take(self, event: yaml.Event) -> None:
        """Add one event."""
        take = self._take.get(type(event))
        if take is not None:
            take(event)

    def document(self) -> Any:
        """The finished document."""
        if self._root is _MISSING:
            raise self._place.refusal("is empty", "Write the document, or remove the file.")
        return self._root

    def _refusal(self, event: yaml.Event, what: str, fix: str) -> ContractError:
        line = event.start_mark.line + 1 if event.start_mark else 0
        return self._place.at(f"line {line}").refusal(what, fix)

    def _document(self, event: yaml.DocumentStartEvent) -> None:
        if self._root is not _MISSING:
            raise self._refusal(event, "a second document begins", "Keep one document per file.")
        if event.version or event.tags:
            raise self._refusal(event, "has a YAML directive", "Remove the line that begins with %.")

    def _alias(self, event: yaml.AliasEvent) -> None:
        raise self._refusal(event, f"uses the alias *{event.anchor}", "Write the value out.")

    def _check(self, event: yaml.NodeEvent) -> None:
        if event.anchor is not None:
            raise self._refusal(event, f"has the anchor &{event.anchor}", "Remove it and write values out.")
        if getattr(event, "tag", None) is not None:
            raise self._refusal(event, "has a tag (a word that begins with !)", "Remove the tag.")

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        self._check(event)
        value = self._plain(event) if event.implicit[0] else event.value
        if self._expects_key():
            self._key(event, value)
        else:
            self._add(value)

    def _expects_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1], dict) and self._keys[-1] is None

    def _key(self, event: yaml.ScalarEvent, key: Any) -> None:
        if not isinstance(key, str):
            raise self._refusal(event, "has a key that is not text", "Put the key in quotes.")
        if key in self._open[-1]:
            raise self._refusal(event, f"the key {shown(key)} appears twice", "Keep one of the two.")
        self._keys[-1] = key

    def _mapping(self, event: yaml.MappingStartEvent) -> None:
        self._begin(event, {})

    def _sequence(self, event: yaml.SequenceStartEvent) -> None:
        self._begin(event, [])

    def _begin(self, event: yaml.NodeEvent, container: dict[str, Any] | list[Any]) -> None:
        self._check(event)
        if self._expects_key():
            raise self._refusal(event, "has a key that is not text", "Use a single word as the key.")
        if len(self._open) == MAX_DEPTH:
            raise self._refusal(event, f"is nested deeper than {MAX_DEPTH} levels", "Flatten the document.")
        self._add(container)
        self._open.append(container)
        self._keys.append(None)

    def _close(self, _: yaml.Event) -> None:
        self._open.pop()
        self._keys.pop()

    def _add(self, value: Any) -> None:
        if not self._open:
            self._root = value
            return
        container = self._open[-1]
        if isinstance(container, list):
            container.append(value)
            return
        container[str(self._keys[-1])] = value
        self._keys[-1] = None

    def _plain(self, event: yaml.ScalarEvent) -> bool | float | str | None:
        text: str = event.value
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if text[0] not in _YAML_1_1:
            return text
        number = _number(text)
        if number is not None:
            return number
        if _YAML_1_2_ALSO.fullmatch(text) or any(form.match(text) for _, form in _YAML_1_1[text[0]]):
            raise self._refusal(
                event, "holds an unquoted value that YAML readers understand differently", _QUOTE
            )
        return text


_QUOTE: Final = "Put the value in quotes, or write it as JSON would."


def _number(text: str) -> float | None:
    """The number that JSON and every YAML version read, or None."""
    if _INTEGER.fullmatch(text):
        integer = int(text) if len(text) <= len(str(-MAX_INTEGER)) else MAX_INTEGER + 1
        return integer if abs(integer) <= MAX_INTEGER else None
    if _FLOAT.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return None
