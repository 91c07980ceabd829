"""What OCSF 1.5 says of a Data Security Finding, as far as our events use it.

Written down from https://schema.ocsf.io/1.5.0/classes/data_security_finding: members, which of them are
required, and their types. A member that is not here is an error: consumers drop what they do not know.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

_TEXT, _NUMBER, _FLAG, _TEXTS = (str,), (int,), (bool,), (list,)
_REQUIRED: Final = frozenset(
    {
        *("activity_id", "category_uid", "class_uid", "finding_info", "metadata", "severity_id", "time"),
        *("type_uid", "metadata.version", "metadata.product", "metadata.product.vendor_name"),
        "finding_info.uid",
    }
)
_MEMBERS: Final[Mapping[str, tuple[type, ...]]] = {
    **dict.fromkeys(("activity_name", "category_name", "class_name", "type_name", "message"), _TEXT),
    **dict.fromkeys(("severity", "status", "confidence"), _TEXT),
    **dict.fromkeys(("activity_id", "category_uid", "class_uid", "type_uid", "time", "severity_id"), _NUMBER),
    **dict.fromkeys(("status_id", "confidence_id", "confidence_score"), _NUMBER),
    "is_alert": _FLAG,
    **dict.fromkeys(("metadata", "metadata.product", "finding_info", "table", "data_security"), (dict,)),
    **dict.fromkeys(("metadata.version", "metadata.uid", "metadata.log_name"), _TEXT),
    "metadata.sequence": _NUMBER,
    **dict.fromkeys((f"metadata.product.{name}" for name in ("name", "vendor_name", "version")), _TEXT),
    **dict.fromkeys(("finding_info.uid", "finding_info.title"), _TEXT),
    "finding_info.types": _TEXTS,
    "finding_info.created_time": _NUMBER,
    **dict.fromkeys(("table.name", "table.uid"), _TEXT),
    "resources": _TEXTS,
    **dict.fromkeys(
        (
            f"data_security.{name}"
            for name in ("category", "confidentiality", "data_lifecycle_state", "status")
        ),
        _TEXT,
    ),
    **dict.fromkeys(
        (
            f"data_security.{name}"
            for name in ("category_id", "confidentiality_id", "data_lifecycle_state_id", "status_id", "total")
        ),
        _NUMBER,
    ),
}
_RESOURCE: Final = frozenset({"name", "type", "uid"})
_VALUES: Final[Mapping[str, frozenset[int]]] = {
    "activity_id": frozenset({0, 1, 2, 3, 99}),
    "category_uid": frozenset({2}),
    "class_uid": frozenset({2006}),
    "severity_id": frozenset({0, 1, 2, 3, 4, 5, 6, 99}),
    "status_id": frozenset({0, 1, 2, 3, 4, 5, 6, 99}),
    "confidence_id": frozenset({0, 1, 2, 3, 99}),
    "data_security.category_id": frozenset({0, 1, 2, 3, 4, 5, 6, 99}),
    "data_security.confidentiality_id": frozenset({0, 1, 2, 3, 4, 5, 6, 99}),
    "data_security.data_lifecycle_state_id": frozenset({0, 1, 2, 3, 99}),
    "data_security.status_id": frozenset({0, 1, 2, 3, 99}),
}


def problems(event: Mapping[str, Any]) -> list[str]:
    """What is wrong with an event."""
    members = dict(_members(event, ""))
    wrong = [f"{name} is missing" for name in sorted(_REQUIRED - members.keys())]
    wrong += [f"{name} is unknown" for name in members if name not in _MEMBERS]
    wrong += [
        f"{name} has another type"
        for name, value in members.items()
        if name in _MEMBERS and type(value) not in _MEMBERS[name]
    ]
    wrong += [
        f"{name} has no such value" for name, known in _VALUES.items() if members.get(name) not in known
    ]
    wrong += [f"{each} is no resource" for each in event["resources"] if not each.keys() <= _RESOURCE]
    if members["type_uid"] != members["class_uid"] * 100 + members["activity_id"]:
        wrong.append("type_uid is another")
    return wrong


def _members(part: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in part.items():
        yield f"{prefix}{name}", value
        if isinstance(value, dict):
            yield from _members(value, f"{prefix}{name}.")
