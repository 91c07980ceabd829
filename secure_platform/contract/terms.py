"""The terms of a contract: its owner, its source, what happens to invalid rows, what is promised.

A term that the platform does not carry out is refused rather than ignored.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Final, get_args

from secure_platform.contract.dependencies import read_dependencies
from secure_platform.contract.honoured import only, read_custom
from secure_platform.contract.model import Column, ExtraColumns, OnInvalid, Role
from secure_platform.contract.monitor import read_monitor
from secure_platform.contract.place import Place, shown, suggestion
from secure_platform.contract.suppress import read_suppress

OWNER: Final = re.compile(
    r"team:[a-z0-9][a-z0-9_.\-]{0,62}|[A-Za-z0-9._%+\-]{1,64}@(?:[A-Za-z0-9\-]{1,63}\.){1,8}[A-Za-z]{2,24}"
)
_VERSION: Final = re.compile(r"(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*)){2}")
_TOP: Final = frozenset(
    {
        *("version", "kind", "apiVersion", "id", "name", "tenant", "domain", "status", "tags", "description"),
        *(
            "servers",
            "schema",
            "team",
            "roles",
            "slaProperties",
            "support",
            "price",
            "authoritativeDefinitions",
        ),
        *("contractCreatedTs", "customProperties"),
    }
)
_SERVER: Final = frozenset(
    {"id", "server", "type", "description", "environment", "path", "format", "encoding"}
)
_ROLE: Final = frozenset(
    {"id", "role", "description", "access", "firstLevelApprovers", "secondLevelApprovers"}
)
_LEVELS: Final = ("firstLevelApprovers", "secondLevelApprovers")
_ACCESS: Final = frozenset({"read", "write"})
_GROUP: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_SLA: Final = frozenset(
    {"id", "property", "value", "unit", "element", "driver", "description", "authoritativeDefinitions"}
)
_SLA_NAMES: Final = {
    "latency": "freshness",
    "ly": "freshness",
    "freshness": "freshness",
    "retention": "retention",
    "re": "retention",
}
_HOURS: Final = {"h": 1, "hour": 1, "hours": 1, "d": 24, "day": 24, "days": 24}
_CUSTOM: Final[Mapping[str, tuple[type, ...]]] = {
    "onInvalid": (str,),
    "maxInvalidRatio": (int, float),
    "extraColumns": (str,),
    "minimumRows": (int,),
    "monitor": (dict,),
    "suppressRows": (dict,),
    "dependencies": (list,),
}


def read_terms(document: Mapping[str, Any], columns: Sequence[Column], place: Place) -> dict[str, Any]:
    """Everything of a contract but its dataset and columns, as arguments of `Contract`.

    Raises:
        ContractError: If a term is missing, not understood or contradicts another.
    """
    only(document, _TOP, place)
    if not _VERSION.fullmatch(document["version"]):
        raise place.at("version").refusal("is not a version number", "Write three numbers, such as 1.0.0.")
    if document.get("status", "active") != "active":
        raise place.at("status").refusal("is not active", "Write `status: active`, or move the file away.")
    return {
        "version": document["version"],
        "owner": _owner(document.get("team"), place.at("team")),
        "source_file": _source(document.get("servers", ()), place.at("servers")),
        "roles": read_roles(document.get("roles", ()), place.at("roles")),
        **_handling(document.get("customProperties", ()), columns, place),
        **_service(document.get("slaProperties", ()), columns, place.at("slaProperties")),
    }


def read_roles(entries: Sequence[Mapping[str, Any]], place: Place) -> tuple[Role, ...]:
    """The roles of a contract.

    Raises:
        ContractError: If one is not understood, or there is a second level of approvers without a first.
    """
    roles = []
    for entry in entries:
        only(entry, _ROLE, place)
        access = str(entry.get("access", "read")).lower()
        first, second = (_groups(entry.get(level), place) for level in _LEVELS)
        if access not in _ACCESS:
            raise place.refusal(f"gives the unknown access {shown(access)}", suggestion(access, _ACCESS))
        if second and not first:
            raise place.refusal(
                "has second-level approvers only", "Write `firstLevelApprovers`, or move them there."
            )
        roles.append(Role(entry["role"], access, first, second))
    return tuple(roles)


def _groups(names: str | None, place: Place) -> tuple[str, ...]:
    groups = tuple(name.strip() for name in names.split(",")) if names is not None else ()
    for group in groups:
        if not _GROUP.fullmatch(group):
            raise place.refusal(
                f"names the approver group {shown(group)}, which is not a name",
                "Write lower-case letters, digits and . _ -, several with commas between them.",
            )
    return tuple(sorted(set(groups)))


def _owner(team: Any, place: Place) -> str:
    members: Sequence[Mapping[str, Any]] = ()
    if isinstance(team, dict):
        members = team.get("members", ())
        if "name" in team and OWNER.fullmatch(f"team:{team['name']}"):
            return f"team:{team['name']}"
    owners = [str(member["username"]) for member in members if str(member.get("role")).lower() == "owner"]
    if len(owners) == 1 and "@" in owners[0] and OWNER.fullmatch(owners[0]):
        return owners[0]
    raise place.refusal(
        "names no owner",
        "Write `team: {name: clinical-data}` in lower case, or one member with role owner and an e-mail.",
    )


def _source(servers: Sequence[Mapping[str, Any]], place: Place) -> str:
    if len(servers) != 1 or servers[0]["type"] != "local" or servers[0].get("format") != "csv":
        raise place.refusal(
            "is not one local CSV file", "Write one server with `type: local` and `format: csv`."
        )
    server = servers[0]
    only(server, _SERVER, place)
    if str(server.get("encoding", "UTF-8")).upper() != "UTF-8":
        raise place.refusal("promises another encoding than UTF-8", "Convert the source to UTF-8.")
    path = PurePosixPath(server["path"])
    plain = not path.is_absolute() and ".." not in path.parts and "\\" not in server["path"]
    if not plain or path.suffix != ".csv" or not server["path"].isprintable():
        raise place.refusal(
            "has a path that is not a .csv file below the source directory",
            "Write a relative path, such as a.csv.",
        )
    return str(path)


def _handling(
    entries: Sequence[Mapping[str, Any]], columns: Sequence[Column], place: Place
) -> dict[str, Any]:
    custom = read_custom(entries, _CUSTOM, place)
    on_invalid = custom.get("onInvalid", "refuse")
    extra_columns = custom.get("extraColumns", "refuse")
    ratio = custom.get("maxInvalidRatio", 0.0)
    minimum_rows = custom.get("minimumRows", 1)
    for name, word, words in (
        ("onInvalid", on_invalid, get_args(OnInvalid)),
        ("extraColumns", extra_columns, get_args(ExtraColumns)),
    ):
        if word not in words:
            raise place.at(name).refusal(f"has the unknown word {shown(word)}", suggestion(word, words))
    if not 0 <= ratio < 1:
        raise place.at("maxInvalidRatio").refusal(
            "is not a share of rows", "Write a number from 0 to below 1."
        )
    if ratio and on_invalid == "refuse":
        raise place.at("maxInvalidRatio").refusal(
            "allows invalid rows that onInvalid refuses",
            "Write `onInvalid: quarantine`, or remove the ratio.",
        )
    if minimum_rows < 0:
        raise place.at("minimumRows").refusal("is negative", "Write the least number of rows, 0 or more.")
    return {
        "on_invalid": on_invalid,
        "max_invalid_ratio": float(ratio),
        "extra_columns": extra_columns,
        "minimum_rows": minimum_rows,
        "monitor": read_monitor(custom.get("monitor", {}), columns, place.at("monitor")),
        "dependencies": read_dependencies(custom.get("dependencies", []), columns, place.at("dependencies")),
        "suppress": read_suppress(custom.get("suppressRows", {}), columns, place.at("suppressRows")),
    }


def _service(entries: Sequence[Mapping[str, Any]], columns: Sequence[Column], place: Place) -> dict[str, Any]:
    terms: dict[str, Any] = {}
    for entry in entries:
        only(entry, _SLA, place)
        name = _SLA_NAMES.get(entry["property"].lower())
        if name is None:
            raise place.refusal(
                f"{shown(entry['property'])} is not carried out", "Use latency or retention, or remove it."
            )
        hours = _hours(entry, place.at(f"slaProperties {entry['property']}"))
        key, value = ("freshness_hours", hours) if name == "freshness" else ("retention_days", hours / 24)
        if key in terms:
            raise place.refusal(f"promises {name} twice", "Keep one of the two.")
        if key == "retention_days" and not value.is_integer():
            raise place.refusal("retains for a part of a day", "Write whole days, `unit: d`.")
        terms[key] = int(value) if key == "retention_days" else value
        _check_element(entry.get("element"), columns, place)
    return terms


def _hours(entry: Mapping[str, Any], place: Place) -> float:
    value, unit = entry["value"], entry.get("unit")
    if unit not in _HOURS:
        raise place.refusal("has no supported unit", "Write `unit: h` or `unit: d`.")
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise place.refusal("has no positive number as its value", "Write a number of hours or days.")
    return float(value) * _HOURS[unit]


def _check_element(element: str | None, columns: Sequence[Column], place: Place) -> None:
    known = {column.name for column in columns}
    for name in (element or "").split(",") if element is not None else ():
        if name.strip().rpartition(".")[2] not in known:
            raise place.refusal(f"names the unknown element {shown(name.strip())}", suggestion(name, known))
