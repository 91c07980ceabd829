"""Principals, references and times in Cedar's JSON; a question can be stored without anybody's name."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from secure_platform.access.principals import ANONYMOUS, Principal
from secure_platform.access.situation import Held

Entity: TypeAlias = Mapping[str, Any]

PRINCIPAL: Final = "Principal"


@dataclass(frozen=True)
class Question:
    """What the policies are asked.

    Attributes:
        request: Principal, action, resource and context.
        entities: Of the principal and the resource.
    """

    request: Mapping[str, Any]
    entities: Sequence[Entity]

    def without_names(self, identify: Callable[[str], str]) -> dict[str, Any]:
        """The same question about pseudonyms, as it can be kept and asked again.

        The address is left out, and a purpose that the product does not have: it is free text.
        """
        context = {name: value for name, value in self.request["context"].items() if name != "source_ip"}
        purposes = self.entities[-1]["attrs"].get("purposes", ())
        if context.get("purpose") not in purposes:
            context.pop("purpose", None)
        asked = {**self.request, "context": context}
        return {"request": _renamed(asked, identify), "entities": _renamed(list(self.entities), identify)}


def kept_question(kept: Mapping[str, Any]) -> Question:
    """What `without_names` wrote."""
    return Question(kept["request"], kept["entities"])


def uid(kind: str, name: str) -> dict[str, str]:
    """A reference to an entity in a request."""
    return {"type": kind, "id": name}


def reference(kind: str, name: str) -> dict[str, dict[str, str]]:
    """A reference to an entity in an attribute."""
    return {"__entity": uid(kind, name)}


def references(kind: str, names: Collection[str]) -> list[dict[str, dict[str, str]]]:
    """A set of references to entities in an attribute."""
    return [reference(kind, name) for name in sorted(names)]


def principal_entity(principal: Principal, held: Held) -> Entity:
    """Somebody with all that they have on the product in question."""
    roles = (uid("Role", role) for role in sorted(principal.roles | held.roles))
    groups = (uid("Group", group) for group in sorted(principal.groups | held.groups))
    return {
        "uid": uid(PRINCIPAL, principal.name),
        "attrs": {
            "kind": principal.kind,
            "active": principal.active,
            "delegators": references(PRINCIPAL, held.delegators),
            "emergency": held.emergency,
            "review_overdue": held.review_overdue,
        },
        "parents": [*roles, *groups],
    }


def text(entities: Sequence[Entity]) -> str:
    """Entities as Cedar reads them."""
    return json.dumps(list(entities))


def _renamed(part: Any, identify: Callable[[str], str]) -> Any:
    if isinstance(part, list):
        return [_renamed(item, identify) for item in part]
    if not isinstance(part, dict):
        return part
    if part.get("type") == PRINCIPAL and part["id"] != ANONYMOUS.name:
        return uid(PRINCIPAL, identify(part["id"]))
    return {name: _renamed(item, identify) for name, item in part.items()}
