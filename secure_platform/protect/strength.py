"""What each transform promises, and which may stand in for which: data of `transforms.yaml`, not code.

A transform of several kinds is named with its kind, `generalize.year`; the kind is a parameter of a contract.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
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
KIND: Final = "to"
KINDS: Final[Mapping[str, str]] = MappingProxyType({"generalize": KIND, "encrypt": "mode"})
"""Transform of several kinds → the parameter that says which."""
DONE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "drop": "dropped",
        "redact": "redacted",
        "replace": "replaced",
        "hash": "hashed",
        "tokenize": "tokenized",
        "encrypt": "encrypted",
        "fpe": "encrypted in its format",
        "vault": "replaced by a stored token",
        "mask": "masked",
        "shift_date": "shifted by subject",
        "noise": "noised",
        "shuffle": "shuffled",
        "generalize": "generalized",
        "scrub": "scrubbed",
        "fake": "made up",
        "members": "treated value by value",
        "conditional": "treated by a condition",
        "keep": "kept",
    }
)
"""The transforms as participles, for sentences."""
MADE_OF_PARTS: Final = frozenset({"conditional", "members"})
"""Transforms that others are done by."""
_PROMISES: Final = frozenset({"stronger_than", "uniqueness", "deterministic", "reversible", "leaves"})
_UNIQUENESS: Final = frozenset({"preserved", "not_guaranteed", "lossy"})


@dataclass(frozen=True)
class Parameter:
    """One parameter of a transform, and which direction of it is stricter.

    Attributes:
        minimum, maximum: Of a number, or of the length of a text.
        choices: Of a choice.
        default: What it is when it is not given, where that means anything.
    """

    kind: Literal["integer", "number", "text", "choice"]
    required: bool
    stricter: Literal["lower", "higher", "multiple", "same", "none"]
    minimum: float = 0
    maximum: float = 0
    choices: Sequence[str] = ()
    default: Scalar | None = None

    def accepts(self, value: Scalar) -> bool:
        """Whether the value is of the kind and within the limits."""
        if self.kind == "choice":
            return isinstance(value, str) and value in self.choices
        if self.kind == "text":
            return isinstance(value, str) and self.minimum <= len(value) <= self.maximum
        kinds = (int,) if self.kind == "integer" else (int, float)
        return type(value) in kinds and self.minimum <= float(value) <= self.maximum

    def at_least(self, value: Scalar | None, floor: Scalar) -> bool:
        """Whether `value` is as strict as `floor`; a value that is not given is never strict."""
        match self.stricter:
            case "none":
                return True
            case "same":
                return value == floor
        if value is None:
            return False
        match self.stricter:
            case "lower":
                return float(value) <= float(floor)
            case "higher":
                return float(value) >= float(floor)
        # 1 is a multiple of 0.01, which as a float it is not.
        return Fraction(str(value)) % Fraction(str(floor)) == 0


@dataclass(frozen=True)
class Strength:
    """What is known of one transform.

    Attributes:
        stands_for: All transforms it may stand in for, itself included.
        uniqueness: Whether different values stay different.
        deterministic: Equal values become equal, in every row, table and run.
        reversible: The value can be made again with the key.
        leaves: The highest classification of its output.
    """

    name: str
    stands_for: frozenset[str]
    uniqueness: Literal["preserved", "not_guaranteed", "lossy"]
    deterministic: bool
    reversible: bool
    leaves: Classification
    params: Mapping[str, Parameter]

    @property
    def keeps_keys(self) -> bool:
        """Whether it may be used on keys and on what others reference."""
        return self.uniqueness == "preserved" and self.deterministic


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
        """All transforms, with their kind where there are several."""
        return frozenset(self._by_name)

    def of(self, protect: Protect) -> Strength:
        """What is known of this transform, which `problem` found nothing wrong with."""
        return self.named(full_name(protect))

    def named(self, name: str) -> Strength:
        """What is known of a transform by its full name."""
        return self._by_name[name]

    def leaves(self, protect: Protect) -> Classification:
        """The highest classification of what comes out: of one that is made of others, of any of these."""
        return max((self.leaves(part) for part in protect.parts.values()), default=self.of(protect).leaves)

    def problem(self, protect: Protect) -> str | None:
        """What is wrong with a transform and its parameters, as the rest of a sentence; None if nothing."""
        problems = (self.problem(part) for part in protect.parts.values())
        return next(filter(None, problems), None) or self._own_problem(protect)

    def _own_problem(self, protect: Protect) -> str | None:
        strength = self._by_name.get(full_name(protect))
        if strength is None:
            return self._unknown(protect.transform)
        kind = KINDS.get(protect.transform)
        if protect.transform in MADE_OF_PARTS and not protect.parts:
            return f"asks for {protect.transform} without what it is made of"
        given = {name: value for name, value in protect.params.items() if name != kind}
        for name, value in given.items():
            if name not in strength.params:
                return f"gives {strength.name} a parameter that it does not have"
            if not strength.params[name].accepts(value):
                return f"gives {strength.name} a {name} outside its limits"
        missing = [name for name, rule in strength.params.items() if rule.required and name not in given]
        return f"asks for {strength.name} without `{missing[0]}`" if missing else None

    def stands_for(self, choice: Protect, floor: Protect) -> bool:
        """Whether `choice` reveals no more than `floor`, so that it may be used where `floor` is required."""
        if choice.parts and choice.params == floor.params and choice.parts.keys() == floor.parts.keys():
            return all(self.stands_for(part, floor.parts[name]) for name, part in choice.parts.items())
        if choice.parts:
            return all(self.stands_for(part, floor) for part in choice.parts.values())
        if floor.parts:
            return all(self.stands_for(choice, part) for part in floor.parts.values())
        strength, below = self.of(choice), self.of(floor)
        return below.name in strength.stands_for and all(
            rule.at_least(_value(choice, name, strength), required)
            for name, rule in strength.params.items()
            if (required := _value(floor, name, below)) is not None
        )

    def _unknown(self, transform: str) -> str:
        if transform not in KINDS:
            return "asks for an unknown transform"
        kinds = sorted(name.partition(".")[2] for name in self.names if name.startswith(f"{transform}."))
        return f"asks to {transform} without a known `{KINDS[transform]}` ({', '.join(kinds)})"


@cache
def strengths() -> Strengths:
    """The preorder that the platform uses."""
    return Strengths.load(DOCUMENT)


def full_name(protect: Protect) -> str:
    """The transform with its kind, for example `generalize.year`."""
    if protect.transform in KINDS:
        return f"{protect.transform}.{protect.params.get(KINDS[protect.transform])}"
    return protect.transform


def _value(protect: Protect, name: str, strength: Strength) -> Scalar | None:
    """A parameter as it is given, or what it is when it is not."""
    rule = strength.params.get(name)
    return protect.params.get(name, rule.default if rule else None)


def _reachable(start: str, direct: Mapping[str, tuple[str, ...]]) -> frozenset[str]:
    found, open_ends = {start}, [start]
    while open_ends:
        new = set(direct[open_ends.pop()]) - found
        found |= new
        open_ends.extend(new)
    return frozenset(found)


def _strength(name: str, body: Mapping[str, Any], stands_for: frozenset[str]) -> Strength:
    if not body.keys() <= _PROMISES | {"params"} or body["uniqueness"] not in _UNIQUENESS:
        raise ValueError
    if not all(type(body[name]) is bool for name in ("deterministic", "reversible")):
        raise TypeError
    params = {parameter: Parameter(**rule) for parameter, rule in body.get("params", {}).items()}
    return Strength(
        name=name,
        stands_for=stands_for,
        uniqueness=body["uniqueness"],
        deterministic=body["deterministic"],
        reversible=body["reversible"],
        leaves=Classification.parse(body["leaves"]),
        params=MappingProxyType(params),
    )
