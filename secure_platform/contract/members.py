"""A JSON column is described as ODCS describes objects and lists, and each value in it like a column.

The column itself is text. A value that is not described stays in the raw zone, as a column does. All items of
a list count as one value. A promise about a value that is not checked inside JSON is refused.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from typing import Any, Final

from secure_platform.contract.columns import read_column
from secure_platform.contract.honoured import only
from secure_platform.contract.model import Column
from secure_platform.contract.place import Place

_ARRAY: Final = "array"
_NESTED: Final = frozenset({"object", _ARRAY})
_SHAPE: Final = frozenset(
    {"name", "logicalType", "properties", "items", "description", "businessName", "tags"}
)
_CHECKED: Final = frozenset(
    {
        "name",
        "logical_type",
        "description",
        "classification",
        "info_type",
        "protect",
        "token_domain",
        "waiver",
        "protected",
        "pattern",
    }
)


def read_property(body: Mapping[str, Any], place: Place) -> Column:
    """Read one property of a dataset: a column, or a column of JSON with what is in it.

    Raises:
        ContractError: If anything in it is not understood, or contradicts itself.
    """
    if body.get("logicalType") not in _NESTED:
        return read_column(body, place)
    own = {name: value for name, value in body.items() if name not in {"properties", "items"}}
    column = read_column({**own, "logicalType": "string"}, place)
    place = place.at(f"column {column.name}")
    members = tuple(_members(column.name, body, place))
    twice = [name for name, count in Counter(member.name for member in members).items() if count > 1]
    if not members or twice:
        raise place.refusal(
            "describes nothing in it, or something twice",
            "List what is in it under `properties`, what is in a list under `items`.",
        )
    if column.classification < max(member.classification for member in members):
        raise place.refusal(
            "is classified lower than something in it", "Classify it as the highest of its values."
        )
    return replace(column, members=members)


def readers(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The parts of a property whose custom properties are read: itself, and the values in it."""
    yield body
    for each in _inner(body):
        yield from (part for part in readers(each) if part.get("logicalType") not in _NESTED)


def _inner(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if body.get("logicalType") == _ARRAY:
        yield body.get("items", {})
    yield from body.get("properties", ())


def _members(path: str, body: Mapping[str, Any], place: Place) -> Iterator[Column]:
    if body["logicalType"] == _ARRAY:
        yield from _member(path, {"name": "item", **body.get("items", {})}, place)
    for each in body.get("properties", ()):
        yield from _member(f"{path}.{each['name']}", each, place)


def _member(path: str, body: Mapping[str, Any], place: Place) -> Iterator[Column]:
    if body.get("logicalType") in _NESTED:
        only(body, _SHAPE, place.at(path))
        yield from _members(path, body, place)
        return
    member = replace(read_column(body, place.at(path)), name=path)
    plain = Column(path, member.logical_type, member.description, member.classification)
    for each in fields(Column):
        if each.name not in _CHECKED and getattr(member, each.name) != getattr(plain, each.name):
            raise place.at(path).refusal(
                f"promises {each.name.replace('_', ' ')}, which is not checked inside JSON",
                "Remove it, or make the value a column of its own.",
            )
    yield member
