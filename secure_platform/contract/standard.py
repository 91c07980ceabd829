"""The Open Data Contract Standard's own JSON schema comes first: it refuses what a lenient reader would drop.

Names of columns and keys are shown in errors; values are not, because a contract may quote examples.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final

import jsonschema_rs

from secure_platform.contract.model import DTYPES
from secure_platform.contract.place import Place, shown, suggestion
from secure_platform.errors import ContractError

LONGEST_NAME: Final = 63
_UNKNOWN_KEY: Final = ("additionalProperties", "unevaluatedProperties")


def check_standard(document: Mapping[str, Any], place: Place) -> None:
    """Check a parsed document against the JSON schema of ODCS.

    Raises:
        ContractError: If the schema refuses it; names the part, the most specific problem and the fix.
    """
    validator, _ = _standard()
    errors = list(validator.iter_errors(document))
    if errors:
        raise _refusal(document, min(errors, key=_specific_first), place)


@cache
def _standard() -> tuple[jsonschema_rs.Draft201909Validator, frozenset[str]]:
    """The compiled schema, and every key it knows."""
    schema = json.loads(files("open_data_contract_standard").joinpath("schema.json").read_bytes())
    return jsonschema_rs.Draft201909Validator(schema, mask="…", offline=True), frozenset(_keys(schema))


def _keys(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        properties = schema.get("properties")
        if isinstance(properties, dict):
            yield from properties
        for part in schema.values():
            yield from _keys(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _keys(part)


def _specific_first(error: jsonschema_rs.ValidationError) -> tuple[int, bool, int]:
    """A failed part makes its surroundings fail too, which then also call good keys unknown."""
    unknown = error.kind.name in _UNKNOWN_KEY
    return -len(error.instance_path), unknown, len(error.kind.value) if unknown else 0


def _refusal(document: Any, error: jsonschema_rs.ValidationError, place: Place) -> ContractError:
    where = place.at(_part(document, error.instance_path))
    kind, detail = error.kind.name, error.kind.value
    untyped = isinstance(error.instance, dict) and "logicalType" not in error.instance
    if kind == "required" and "then" in error.schema_path and untyped:
        # Without a type every conditional rule of the schema applies, and asks for what no column needs.
        return where.refusal("has no logicalType", f"Write one of: {', '.join(DTYPES)}.")
    if kind in _UNKNOWN_KEY:
        return where.refusal(f"has the unknown key {shown(detail[0])}", _known_key(detail[0]))
    if kind == "required":
        return where.refusal(f"lacks {shown(detail)}", "Add it.")
    if kind == "enum":
        return where.refusal("is none of the allowed words", suggestion(error.instance, map(str, detail)))
    if kind == "type":
        return where.refusal("has the wrong type", f"Write {' or '.join(map(str, detail))} here.")
    return where.refusal(
        f"is not what ODCS allows here ({kind})", "Compare it with the Open Data Contract Standard 3.1."
    )


def _known_key(key: str) -> str:
    _, keys = _standard()
    near = suggestion(key, keys - {key})
    return near if near.startswith("Did") else "Remove it: ODCS has no such key here."


def _part(document: Any, path: Sequence[str | int]) -> str:
    """The path in words; columns by name."""
    words: list[str] = []
    for step in path:
        document = document[step]
        if words and words[-1] == "properties" and isinstance(step, int):
            name = document.get("name") if isinstance(document, dict) else None
            words = [f"column {_column(name, step)}"]
        else:
            words.append(str(step) if isinstance(step, str) else f"#{step + 1}")
    return " ".join(words)


def _column(name: Any, step: int) -> str:
    if not isinstance(name, str):
        return str(step + 1)
    return name if name.isidentifier() and len(name) <= LONGEST_NAME else shown(name)
