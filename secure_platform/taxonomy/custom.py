"""A product may have info types of its own and more words for the platform's: `info_types.yaml`.

It can only widen what a scan finds, with one exception: the values that it allows by name or by pattern. An
allowed pattern that would allow nearly everything is refused, because that would switch the type off.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import polars as pl

from secure_platform.taxonomy.info_types import InfoType, info_types, read_types, taxonomy, wider
from secure_platform.taxonomy.reading import Entry, compiles, read_document

FILE: Final = "info_types.yaml"
_MEMBERS: Final = ("types", "extend", "allow")
# A pattern that matches one of these matches by its shape alone, not by what the values are.
_ANYTHING: Final = ("x", "7", "Qz4vR9kT2mX8", "90417263558014", "qv.zkw@jx.example", "Ezra Quill Vane")


def info_types_of(folder: Path) -> Mapping[str, InfoType]:
    """The info types for the data of one product: the platform's, with what its folder says.

    Args:
        folder: The product's folder, which may have an `info_types.yaml`.

    Raises:
        ContractError: If the file has anything that is not understood; names the type and the key.
    """
    path = folder / FILE
    return read_custom(path) if path.exists() else info_types()


def read_custom(path: Path) -> Mapping[str, InfoType]:
    """The platform's info types with those of one document.

    Raises:
        ContractError: If the document has anything that is not understood.
    """
    return custom_types(read_document(path, _MEMBERS))


def custom_document(folder: Path) -> Mapping[str, Any]:
    """What `custom_types` is given for the data of one product; empty if its folder says nothing.

    Raises:
        ContractError: If it is not a mapping of what is known here.
    """
    path = folder / FILE
    return read_document(path, _MEMBERS) if path.exists() else {}


def custom_types(document: Mapping[str, Any]) -> Mapping[str, InfoType]:
    """The platform's info types with those of one document that was read.

    Raises:
        ContractError: If the document has anything that is not understood.
    """
    types = dict(info_types())
    if "types" in document:
        types |= read_types(document["types"], taxonomy().families, types)
    for name, body in _of_types(document, "extend", types).items():
        types[name] = wider(types[name], body)
    for name, values in _of_types(document, "allow", types).items():
        allowed = (*types[name].allowed, *_allowed(name, values))
        types[name] = replace(types[name], allowed=allowed)
    return MappingProxyType(types)


def _of_types(document: Mapping[str, Any], member: str, types: Mapping[str, InfoType]) -> Mapping[str, Any]:
    body = document.get(member, {})
    entry = Entry("Info types", member, body, body if isinstance(body, dict) else ())
    entry.require(body.keys() <= types.keys(), "ids")
    return dict(body)


def _allowed(name: str, values: Any) -> tuple[str, ...]:
    """Patterns as they are, anything else as the value that it is."""
    entry = Entry("Info type", name, {"allow": values}, ["allow"])
    written = entry.strings("allow")
    patterns = [value for value in written if value[0] + value[-1] == "^$"]
    for pattern in patterns:
        entry.require(compiles(pattern), "allow")
        entry.require(not pl.Series(_ANYTHING).str.contains(pattern).any(), "allow")
    return tuple(value if value in patterns else f"^{re.escape(value)}$" for value in written)
