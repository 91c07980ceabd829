"""Which rows a contract keeps in the raw zone: by condition, by sampling, or because they stand out."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from secure_platform import canonical
from secure_platform.contract.conditions import COMPARISONS, read_conditions
from secure_platform.contract.model import Column, Suppress
from secure_platform.contract.place import Place, suggestion

_NAMES: Final = frozenset({"when", "sample", "k", "l", "sensitive", "atMost"})
_MOST: Final = 1_000_000


def read_suppress(body: Mapping[str, Any], columns: Sequence[Column], place: Place) -> Suppress | None:
    """Read the custom property `suppressRows`.

    Raises:
        ContractError: If anything in it is not understood.
    """
    if not body:
        return None
    for name in body:
        if name not in _NAMES:
            raise place.refusal("has an unknown member", suggestion(name, _NAMES))
    k, l_ = (_whole(body.get(name, 1), name, place) for name in ("k", "l"))
    sensitive = _columns(body.get("sensitive", []), columns, place)
    if (l_ > 1) != bool(sensitive):
        raise place.refusal(
            "has l without sensitive columns, or these without l", "Write both or none of them."
        )
    return Suppress(
        when=_when(body.get("when"), place),
        sample=_share(body.get("sample", 1), "sample", place),
        k=k,
        l=l_,
        sensitive=sensitive,
        at_most=_share(body.get("atMost", 1), "atMost", place),
    )


def _when(body: Any, place: Place) -> str:
    if body is None:
        return ""
    try:
        read_conditions(body)
    except ValueError:
        raise place.refusal(
            "has a condition that is not understood",
            f"Write `when: {{column: country, one_of: [DE]}}`; the comparisons are {', '.join(COMPARISONS)}.",
        ) from None
    return canonical.dumps(body if isinstance(body, list) else [body]).decode()


def _whole(value: Any, name: str, place: Place) -> int:
    if type(value) is not int or not 1 <= value <= _MOST:
        raise place.refusal(f"has a {name} that is no whole number from 1 on", "Write one, such as 5.")
    return value


def _share(value: Any, name: str, place: Place) -> float:
    if type(value) not in {int, float} or not 0 < value <= 1:
        raise place.refusal(f"has a {name} that is no share of the rows", "Write a number above 0, up to 1.")
    return float(value)


def _columns(names: Any, columns: Sequence[Column], place: Place) -> tuple[str, ...]:
    known = {column.name for column in columns}
    if not isinstance(names, list) or not set(names) <= known or len(set(names)) != len(names):
        raise place.refusal(
            "names sensitive columns that are none", "List columns of the contract, each once."
        )
    return tuple(names)
