"""What a contract says and the platform does not honour is refused: a reader would rely on it."""

from collections.abc import Mapping, Sequence
from typing import Any

from secure_platform.contract.place import Place, shown, suggestion


def only(body: Mapping[str, Any], known: frozenset[str], place: Place) -> None:
    """Refuse keys that the standard allows here and the platform does not honour.

    Raises:
        ContractError: At the first such key.
    """
    for key in body:
        if key not in known:
            raise place.refusal(
                f"{shown(key)} is not honoured here",
                "Remove it; a promise that nobody keeps misleads readers.",
            )


def read_custom(
    entries: Sequence[Mapping[str, Any]], known: Mapping[str, tuple[type, ...]], place: Place
) -> dict[str, Any]:
    """Read customProperties as a mapping.

    Raises:
        ContractError: If a name is unknown or appears twice, or a value has another type.
    """
    values: dict[str, Any] = {}
    for entry in entries:
        name, value = entry["property"], entry["value"]
        if name not in known:
            raise place.refusal(f"the custom property {shown(name)} is unknown", suggestion(name, known))
        if name in values:
            raise place.refusal(f"the custom property {shown(name)} appears twice", "Keep one of the two.")
        if type(value) not in known[name]:
            words = " or ".join(kind.__name__ for kind in known[name])
            raise place.refusal(
                f"the custom property {shown(name)} has the wrong type", f"Write a {words} value."
            )
        values[name] = value
    return values
