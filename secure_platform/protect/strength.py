"""Which transform may stand in for which: a preorder read from `transforms.yaml`, not decided by code.

A generalization is named with its kind, `generalize.year`; the kind is the parameter `to` of a contract.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, Self

from secure_platform import canonical
from secure_platform.contract.load import load_document
from secure_platform.contract.model import Protect, Scalar
from secure_platform.errors import ContractError
from secure_platform.taxonomy.classification import Classification

DOCUMENT: Final = Path(__file__).with_name("transforms.yaml")
GENERALIZE: Final = "generalize"
KIND: Final = "to"
DONE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "drop": "dropped",
        "redact": "redacted",
        "hash": "hashed",
        "tokenize": "tokenized",
        "mask": "masked",
        "shift_date": "shifted by subject",
        "generalize": "generalized",
        "keep": "kept",
    }
)
"""The transforms as participles, for sentences."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a transform: a number between two limits, of which one direction is stricter."""

    kind: Literal["integer", "number"]
    minimum: float
    maximum: float
    required: bool
    stricter: Literal["lower", "multiple"]

    def accepts(self, value: Scalar) -> bool:
        """Whether the value is of the kind and within the limits."""
        kinds = (int,) if self.kind == "integer" else (int, float)
        return type(value) in kinds and self.minimum <= float(value) <= self.maximum

    def at_least(self, value: Scalar | None, floor: Scalar) -> bool:
        """Whether `value` is as strict as `floor`; a value that is not given is never strict."""
        if value is None:
            return False
        if self.stricter == "lower":
            return float(value) <= float(floor)
        return float(value) % float(floor) == 0


@dataclass(frozen=True)
class Strength:
    """What is known of one transform.

    Attributes:
        stands_for: All transforms it may stand in for, itself included.
        keeps_keys: Distinct values stay distinct.
        leaves: The highest classification of its output.
    """

    name: str
    stands_for: frozenset[str]
    keeps_keys: bool
    leaves: Classification
    params: Mapping[str, Parameter]


class Strengths:
    """The preorder of transforms.

    Attributes:
        digest: `sha256:<hex>` of the document.
        suppressed_zip3: Three-digit ZIP prefixes that become 000.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        direct = {name: tuple(body["stronger_than"]) for name, body in document["transforms"].items()}
        self._by_name = {
            name: _strength(name, body, _reachable(name, direct))
            for name, body in document["transforms"].items()
        }
        prefixes = {prefix for group in document["suppressed_zip3"].values() for prefix in group}
        self.suppressed_zip3: tuple[str, ...] = tuple(sorted(prefixes))
        self.digest = canonical.sha256(canonical.dumps(document))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a document of this form.

        Raises:
            ContractError: If it lacks something or holds something that is not understood.
        """
        try:
            return cls(load_document(path))
        except (KeyError, TypeError, AttributeError, ValueError):
            raise ContractError(
                f"{path.name} is not understood", "Correct it; its head comment lists the keys."
            ) from None

    @property
    def names(self) -> frozenset[str]:
        """All transforms, generalizations with their kind."""
        return frozenset(self._by_name)

    def of(self, protect: Protect) -> Strength:
        """What is known of this transform, which `problem` found nothing wrong with."""
        return self._by_name[full_name(protect)]

    def problem(self, protect: Protect) -> str | None:
        """What is wrong with a transform and its parameters, as the rest of a sentence; None if nothing."""
        strength = self._by_name.get(full_name(protect))
        if strength is None:
            kinds = ", ".join(sorted(n.partition(".")[2] for n in self.names if n.startswith(GENERALIZE)))
            if protect.transform == GENERALIZE:
                return f"asks to generalize without a known `{KIND}` ({kinds})"
            return "asks for an unknown transform"
        given = {name: value for name, value in protect.params.items() if name != KIND}
        if KIND in protect.params and protect.transform != GENERALIZE:
            given[KIND] = protect.params[KIND]
        for name, value in given.items():
            if name not in strength.params:
                return f"gives {strength.name} a parameter that it does not have"
            if not strength.params[name].accepts(value):
                return f"gives {strength.name} a {name} outside its limits"
        missing = [name for name, rule in strength.params.items() if rule.required and name not in given]
        return f"asks for {strength.name} without `{missing[0]}`" if missing else None

    def stands_for(self, choice: Protect, floor: Protect) -> bool:
        """Whether `choice` reveals no more than `floor`, so that it may be used where `floor` is required."""
        strength = self.of(choice)
        return full_name(floor) in strength.stands_for and all(
            rule.at_least(choice.params.get(name), floor.params[name])
            for name, rule in strength.params.items()
            if name in floor.params
        )


@cache
def strengths() -> Strengths:
    """The preorder that the platform uses."""
    return Strengths.load(DOCUMENT)


def full_name(protect: Protect) -> str:
    """The transform with its kind, for example `generalize.year`."""
    if protect.transform == GENERALIZE:
        return f"{GENERALIZE}.{protect.params.get(KIND)}"
    return protect.transform


def _reachable(start: str, direct: Mapping[str, tuple[str, ...]]) -> frozenset[str]:
    found, open_ends = {start}, [start]
    while open_ends:
        new = set(direct[open_ends.pop()]) - found
        found |= new
        open_ends.extend(new)
    return frozenset(found)


def _strength(name: str, body: Mapping[str, Any], stands_for: frozenset[str]) -> Strength:
    if not body.keys() <= {"stronger_than", "keeps_keys", "leaves", "params"}:
        raise ValueError
    if type(body["keeps_keys"]) is not bool:
        raise TypeError
    params = {parameter: Parameter(**rule) for parameter, rule in body.get("params", {}).items()}
    leaves = Classification.parse(body["leaves"])
    return Strength(name, stands_for, body["keeps_keys"], leaves, MappingProxyType(params))
