"""What a contract asks of a column's protection: a transform, or a condition between two, and a waiver.

Only the shape is checked here; whether a transform fits the column is decided when the plan is compiled.
"""

from collections.abc import Mapping
from datetime import date
from types import MappingProxyType
from typing import Any, Final

from secure_platform import canonical
from secure_platform.contract.conditions import COMPARISONS, read_conditions
from secure_platform.contract.model import Protect, Scalar, Waiver
from secure_platform.contract.place import Place, suggestion
from secure_platform.contract.rules import BOUND_SHAPES
from secure_platform.taxonomy.info_types import TRANSFORMS

CONDITIONAL: Final = "conditional"
"""The transform that asks a condition of each row."""
PARTS: Final = ("then", "otherwise")


def read_protect(value: str | Mapping[str, Any] | None, place: Place) -> Protect | None:
    """Read the custom property `protect`: a transform's name, or one with parameters.

    Raises:
        ContractError: If the transform is unknown, or a parameter or condition is not understood.
    """
    if value is None:
        return None
    asked = {"transform": value} if isinstance(value, str) else dict(value)
    transform = asked.pop("transform", None)
    if transform not in TRANSFORMS:
        raise place.refusal("asks for an unknown transform", suggestion(transform, TRANSFORMS))
    if transform == CONDITIONAL:
        return _conditional(asked, place)
    if not all(isinstance(param, Scalar) for param in asked.values()):
        raise place.refusal(
            "has a transform parameter that is not a plain value", "Write text, a number or a boolean."
        )
    return Protect(transform, MappingProxyType(asked))


def _conditional(asked: Mapping[str, Any], place: Place) -> Protect:
    parts = {name: read_protect(asked.get(name), place) for name in PARTS}
    given = {name: part for name, part in parts.items() if part is not None}
    try:
        read_conditions(asked.get("when"))
        understood = asked.keys() == {"when", *given}
    except ValueError:
        understood = False
    if not understood or len(given) != len(PARTS):
        raise place.refusal(
            "has a condition that is not understood",
            "Write `when: {column: country, one_of: [DE]}`, `then:` and `otherwise:`; "
            f"the comparisons are {', '.join(COMPARISONS)}.",
        )
    when = asked["when"] if isinstance(asked["when"], list) else [asked["when"]]
    return Protect(
        CONDITIONAL, MappingProxyType({"when": canonical.dumps(when).decode()}), MappingProxyType(given)
    )


def read_waiver(value: Mapping[str, Any] | None, place: Place) -> Waiver | None:
    """Read the custom property `waiver`.

    Raises:
        ContractError: If it lacks its reason, its approver or the day it expires.
    """
    if value is None:
        return None
    texts = {name: value.get(name) for name in ("reason", "approver", "expires")}
    given = all(isinstance(text, str) and text.strip() for text in texts.values())
    if not given or value.keys() != texts.keys() or not BOUND_SHAPES["date"].fullmatch(value["expires"]):
        raise place.refusal(
            "has a waiver without reason, approver or the day it expires",
            "Write all three as texts: `waiver: {reason: ..., approver: ..., expires: '2027-01-31'}`.",
        )
    try:
        return Waiver(value["reason"], value["approver"], date.fromisoformat(value["expires"]))
    except ValueError:
        raise place.refusal("has a waiver that expires on no day", "Write a day, '2027-01-31'.") from None
