"""A draft becomes an ODCS file that the strict loader reads, with a `# ?` line above all that is uncertain.

Every text is quoted unless no reader could mistake it for something else; a comment is one printable line.
Descriptions consist of types and shares.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

from secure_platform.contract.load import API_VERSION
from secure_platform.contract.model import Dependency, Protect
from secure_platform.scan.draft.columns import ColumnDraft, TableDraft
from secure_platform.scan.draft.tables import MALFORMED
from secure_platform.taxonomy.info_types import info_types

_PLAIN: Final = re.compile(r"(?!(?i:yes|no|on|off|true|false|null)$)[A-Za-z_][A-Za-z0-9_]+")
_WIDTH: Final = 110
_OPTIONS: Final = ("minimum", "maximum", "pattern", "format")
_EMPTY: Final = "  properties: []\n"


class _Dumper(yaml.SafeDumper):
    """Quotes every text that is not a plain word, and writes no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        """Always: the loader refuses them."""
        del data
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None if _PLAIN.fullmatch(text) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def contract_text(draft: TableDraft, owner: str) -> str:
    """The contract as YAML.

    Args:
        draft: The table.
        owner: Name of the team that owns it.
    """
    told = f"Drafted from {draft.rows:,} rows. Look at every line that begins with `# ?`, then remove it."
    notes = [f"# {told}", *(f"# ? {_remark(doubt)}" for doubt in draft.doubts)]
    head = _dump(_head(draft, owner)).removesuffix(_EMPTY)
    properties = "".join(map(_property_text, draft.columns))
    return "\n".join(notes) + f"\n{head}  properties:\n{properties}"


def _head(draft: TableDraft, owner: str) -> dict[str, Any]:
    custom = {
        **({"onInvalid": "quarantine", "maxInvalidRatio": MALFORMED} if draft.malformed else {}),
        **({"extraColumns": "keep_raw"} if draft.left_out else {}),
        **({"minimumRows": 0} if not draft.rows else {}),
        **({"dependencies": [*map(_dependency, draft.dependencies)]} if draft.dependencies else {}),
    }
    return {
        "version": "1.0.0",
        "apiVersion": API_VERSION,
        "kind": "DataContract",
        "id": f"{owner}-{draft.dataset}",
        "name": draft.dataset,
        "status": "active",
        "description": {"purpose": f"Say what {draft.dataset} is for."},
        "team": {"name": owner},
        "servers": [{"server": "source", "type": "local", "path": draft.source_file, "format": "csv"}],
        **({"customProperties": _custom(custom)} if custom else {}),
        "schema": [
            {"name": draft.dataset, "logicalType": "object", "physicalType": "file", "properties": []}
        ],
    }


def _property_text(column: ColumnDraft) -> str:
    lines = [f"# ? {_remark(doubt)}" for doubt in column.doubts]
    lines += _dump([dict(_property(column))]).splitlines()
    return "".join(f"  {line}\n" for line in lines)


def _property(column: ColumnDraft) -> Iterator[tuple[str, Any]]:
    """The members of a property that say something, in the order in which they are read."""
    yield "name", column.name
    yield "description", _description(column)
    yield "logicalType", column.logical_type
    options = {name: getattr(column, name) for name in _OPTIONS}
    if any(value is not None for value in options.values()):
        yield "logicalTypeOptions", {name: value for name, value in options.items() if value is not None}
    for name, said in (("primaryKey", column.primary_key), ("unique", column.unique)):
        if said:
            yield name, True
    if column.required or column.primary_key:
        yield "required", True
    if column.enum:
        yield "quality", [_listed(column.enum)]
    if column.reference:
        to = f"{column.reference.dataset}.{column.reference.column}"
        yield "relationships", [{"type": "foreignKey", "to": to}]
    yield "classification", column.classification.label
    custom = {
        "infoType": column.info_type,
        "protect": column.protect and _protect(column.protect),
        "subjectId": column.subject_id or None,
        "quasiIdentifier": column.quasi_identifier or None,
    }
    if any(custom.values()):
        yield "customProperties", _custom({name: value for name, value in custom.items() if value})


def _description(column: ColumnDraft) -> str:
    known = column.info_type and info_types()[column.info_type].title
    return f"{known}." if known else "Say what it is."


def _listed(values: tuple[str, ...]) -> dict[str, Any]:
    return {"metric": "invalidValues", "arguments": {"validValues": list(values)}, "mustBe": 0}


def _dependency(each: Dependency) -> dict[str, list[str]]:
    return {"columns": list(each.columns), "determine": list(each.determined)}


def _protect(protect: Protect) -> str | dict[str, Any]:
    return {"transform": protect.transform, **protect.params} if protect.params else protect.transform


def _custom(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"property": name, "value": value} for name, value in values.items()]


def _remark(text: str) -> str:
    """One line that no reader of YAML takes for anything but a comment."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _dump(value: Any) -> str:
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH))
