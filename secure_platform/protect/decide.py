"""One column's transform: the profile's strictest rule, or what the contract asks for if that is no weaker.

A foreign key follows the key it references, or leaves the data altogether. A column that conditions go by is
judged as if it were kept: which part a value went through tells what it said. What cannot be decided safely
is refused; nothing falls back to `keep`.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import Final

from secure_platform.contract.model import Column, Contract, Protect
from secure_platform.contract.product import Product
from secure_platform.errors import PlanRefusedError
from secure_platform.protect.conditions import gone_by
from secure_platform.protect.fake import FAKE
from secure_platform.protect.members import MEMBERS, ROOT
from secure_platform.protect.profile import Profile, Rule
from secure_platform.protect.strength import DONE, full_name, strengths
from secure_platform.protect.transforms import DROP, KEEP, TRANSFORMS
from secure_platform.taxonomy.classification import Classification

_KEPT: Final = Protect(KEEP)
_DROPPED: Final = Protect(DROP)
_NOT_TWICE: Final = frozenset({DROP, "redact", "replace", KEEP, MEMBERS})
"""What is the same whether a value was protected before or not."""
_BY_VALUE: Final = "Every value in it has its own transform, and what is not described is left out"
_NO_RULE: Final = "No rule of the profile applies: it is no identifier, no date and not restricted"


@dataclass(frozen=True)
class Place:
    """A column in its dataset."""

    contract: Contract
    column: Column

    def __str__(self) -> str:
        return f"{self.contract.dataset}.{self.column.name}"


@dataclass(frozen=True)
class Decision:
    """What is done to a column, and why.

    Attributes:
        root: The key that a foreign key leads to, the column itself otherwise; it names the token domain.
        info_type: The column's own, or that of the root.
        waived: By whom, why and how long it may be weaker than the profile requires.
    """

    protect: Protect
    reason: str
    root: Place
    info_type: str | None
    waived: str = ""


class Decider:
    """Decides for the columns of one product under one profile.

    Args:
        product: Its contracts; every reference resolves.
        profile: What binds them.
        today: Waivers that expired before this day do not count; without a day, none counts.
    """

    def __init__(self, product: Product, profile: Profile, today: date = date.max) -> None:
        self._today = today
        self._contracts = product.contracts
        self._profile = profile
        self._referenced = {
            (column.reference.dataset, column.reference.column)
            for contract in product.contracts.values()
            for column in contract.columns
            if column.reference
        }

    def decide(self, contract: Contract, column: Column) -> Decision:
        """Decide for one column.

        Raises:
            PlanRefusedError: If what the contract asks for is weaker than the profile, unknown or not
                applicable; if a restricted column would be kept, a key lose its values, or a foreign key
                differ from its key.
        """
        place = Place(contract, column)
        root = self.root(place)
        rules = self._rules(place)
        if column.protect:
            _check_parameters(place, column.protect)
        if root == place:
            protect, reason = self._own(place, rules)
        else:
            protect, reason = self._inherited(place, root)
        self._check(place, protect, rules)
        return Decision(
            protect, reason, root, column.info_type or root.column.info_type, str(column.waiver or "")
        )

    def root(self, place: Place) -> Place:
        """The key that a foreign key leads to; the column itself if it is none."""
        for last in self._chain(place):
            place = last
        return place

    def told_of(self, contract: Contract, names: Collection[str]) -> Iterator[Place]:
        """The columns that conditions go by, with what is inside them or they refer to.

        A name that is no column of the contract is left out: it refuses the plan when it is resolved.
        """
        for column in contract.columns:
            if column.name in names:
                yield from (Place(contract, each) for each in (column, *column.members))
                yield from self._chain(Place(contract, column))

    def hidden(self, contract: Contract, names: Collection[str]) -> list[Place]:
        """Those of `told_of` that may not be kept as they are."""
        return [
            place
            for place in self.told_of(contract, names)
            if place.column.classification is Classification.RESTRICTED
            or not all(rule.allows(_KEPT) for rule in self._rules(place))
        ]

    def _chain(self, place: Place) -> Iterator[Place]:
        seen = set()
        while (reference := place.column.reference) is not None:
            seen.add(str(place))
            contract = self._contracts[reference.dataset]
            place = Place(contract, contract.column(reference.column))
            if str(place) in seen:
                raise PlanRefusedError(f"{place} references itself in a circle", "Remove one relationship.")
            yield place

    def _rules(self, place: Place) -> tuple[Rule, ...]:
        info_type = place.column.info_type or self.root(place).column.info_type
        is_key = place.contract.is_key(place.column)
        return self._profile.rules(place.column, info_type=info_type, is_key=is_key)

    def _own(self, place: Place, rules: Sequence[Rule]) -> tuple[Protect, str]:
        asked = place.column.protect
        least, why = _strictest(rules, unique=place.column.unique)
        if asked is None and place.column.members:
            parts = {path: self.decide(*each).protect for path, each in members(place).items()}
            return Protect(MEMBERS, parts=MappingProxyType(parts)), _BY_VALUE
        if asked is None:
            return least, why
        if asked.transform == "hash" and place.column.token_domain:
            raise PlanRefusedError(
                f"{place} asks for hash and names a token domain, but a hash matches in no other column",
                "Use tokenize, or remove the token domain.",
            )
        protect = _completed(asked, rules)
        floor = f"; the profile requires at least {full_name(least)}: {why}" if rules else ""
        return protect, f"The contract asks for {full_name(protect)}{floor}"

    def _inherited(self, place: Place, root: Place) -> tuple[Protect, str]:
        asked, domain = place.column.protect, place.column.token_domain
        if asked == _DROPPED:
            return asked, f"The contract drops this foreign key to {root}"
        key = self.decide(root.contract, root.column)
        if asked is not None and _completed(asked, [Rule(key.protect, key.reason)]) != key.protect:
            raise PlanRefusedError(
                f"{place} asks for {asked.transform}, but its key {root} is {DONE[key.protect.transform]}",
                "Remove the foreign key's own transform, or drop the column.",
            )
        if domain is not None and domain != root.column.token_domain:
            raise PlanRefusedError(
                f"{place} names another token domain than {root}, which it references",
                "Remove the foreign key's token domain; it follows its key.",
            )
        return key.protect, f"Foreign key to {root}, which is {DONE[key.protect.transform]}. {key.reason}"

    def _check(self, place: Place, protect: Protect, rules: Sequence[Rule]) -> None:
        unstored = self._profile.never_stored.get(place.column.info_type or "")
        if unstored and place.column.required:
            raise PlanRefusedError(
                f"{place} is required, but {self._profile.name} never lets it be stored: {unstored}",
                "Remove `required`: its values are left out when the source is read.",
            )
        self._check_floors(place, protect, rules)
        again = sorted(end.transform for end in ends(protect) if end.transform not in _NOT_TWICE)
        if place.column.protected and again:
            raise PlanRefusedError(
                f"{place} was already protected when it arrived, and {again[0]} would be applied on top",
                "Drop or keep it; where the profile requires more than keep, with a waiver.",
            )
        if protect.transform != MEMBERS:
            _check_restricted(place, protect)
            _check_types(place, protect)
        if place.column.unique and any(end.transform == FAKE for end in ends(protect)):
            raise PlanRefusedError(
                f"{place} is unique, and two values may get the same made-up one",
                "Remove `protect:` or use tokenize, which keeps them apart; or remove `unique: true`.",
            )
        is_key = place.column.primary_key or (place.contract.dataset, place.column.name) in self._referenced
        if is_key and not strengths().of(protect).keeps_keys:
            raise PlanRefusedError(
                f"{place} is a key, and {full_name(protect)} would make different keys equal",
                "Use a record id as the key (info type RECORD_ID), which is tokenized.",
            )

    def _check_floors(self, place: Place, protect: Protect, rules: Sequence[Rule]) -> None:
        for rule in rules:
            self._check_refused(place, protect, rule)
        waiver, told = place.column.waiver, self._told(place, protect)
        if waiver is None:
            for rule in rules:
                self._check_floor(place, protect, rule)
            self._check_told(place, told)
        elif all(rule.allows(protect) for rule in rules) and not told:
            raise PlanRefusedError(
                f"{place} has a waiver, and nothing that the profile requires is waived",
                "Remove the waiver.",
            )
        elif waiver.expires < self._today:
            raise PlanRefusedError(
                f"The waiver for {place} by {waiver.approver} expired on {waiver.expires}",
                "Remove it and `protect:`, or have it approved anew.",
            )

    def _check_refused(self, place: Place, protect: Protect, rule: Rule) -> None:
        for end in ends(protect):
            refused = self._profile.refused.get(end.transform)
            if refused is not None:
                raise PlanRefusedError(
                    f"{place} asks for {end.transform}, which {self._profile.name} refuses: {refused}",
                    f"Use {full_name(rule.protect)} or a stronger transform.",
                )

    def _told(self, place: Place, protect: Protect) -> list[tuple[Place, Rule]]:
        """What the conditions tell of that the profile lets nobody keep, and the rule that says so."""
        told = list(self.told_of(place.contract, gone_by(protect)))
        for asked in told:
            if asked.column.classification is Classification.RESTRICTED:
                raise PlanRefusedError(
                    f"{place} goes by conditions on {asked}, which is restricted, and would tell of it",
                    "Let the conditions go by another column.",
                )
        return [(asked, rule) for asked in told for rule in self._rules(asked) if not rule.allows(_KEPT)]

    def _check_told(self, place: Place, told: Sequence[tuple[Place, Rule]]) -> None:
        for asked, rule in told:
            raise PlanRefusedError(
                f"{place} goes by conditions on {asked} and would tell what they say: it is weaker than "
                f"{full_name(rule.protect)}, which {self._profile.name} requires of that ({rule.reason})",
                "Let the conditions go by a column that may be kept, or have it waived (docs/protection.md).",
            )

    def _check_floor(self, place: Place, protect: Protect, rule: Rule) -> None:
        if not rule.allows(protect):
            raise PlanRefusedError(
                f"{place}: {full_name(protect)} is weaker than {full_name(rule.protect)}, which "
                f"{self._profile.name} requires ({rule.reason})",
                f"Remove `protect:`, or use {full_name(rule.protect)} or a stronger transform.",
            )


def members(place: Place) -> Mapping[str, tuple[Contract, Column]]:
    """The values in a column of JSON, by their path in it."""
    start = len(place.column.name)
    return {f"{ROOT}{each.name[start:]}": (place.contract, each) for each in place.column.members}


def _check_restricted(place: Place, protect: Protect) -> None:
    if place.column.classification is Classification.RESTRICTED and _KEPT in ends(protect):
        raise PlanRefusedError(
            f"{place} is restricted and would be kept as it is",
            "Add `protect:` with a transform, or an info type.",
        )


def _strictest(rules: Sequence[Rule], *, unique: bool) -> tuple[Protect, str]:
    """What satisfies all of the rules; if nothing that they name does, the column is dropped."""
    if not rules:
        return _KEPT, _NO_RULE
    for rule in rules:
        for protect in (rule.protect, *rule.instead):
            meets = not (unique and protect.transform == FAKE)
            if meets and all(other.allows(protect) for other in rules):
                return protect, rule.reason
    return _DROPPED, "; ".join(rule.reason for rule in rules)


def ends(protect: Protect) -> Iterator[Protect]:
    """The transforms of which exactly one is applied to each value."""
    if not protect.parts:
        yield protect
    for part in protect.parts.values():
        yield from ends(part)


def _completed(asked: Protect, rules: Sequence[Rule]) -> Protect:
    """What the contract asks for; parameters that it leaves out come from the profile."""
    if asked.parts:
        parts = {name: _completed(part, rules) for name, part in asked.parts.items()}
        return Protect(asked.transform, asked.params, MappingProxyType(parts))
    known = strengths().of(asked).params
    params = {
        name: value
        for rule in reversed(rules)
        for name, value in rule.protect.params.items()
        if name in known
    }
    return Protect(asked.transform, MappingProxyType(params | dict(asked.params)))


def _check_types(place: Place, protect: Protect) -> None:
    outputs = set()
    for name in map(full_name, ends(protect)):
        if name == DROP and not protect.parts:
            return
        if name == DROP:
            raise PlanRefusedError(
                f"{place} would be dropped in some rows only", "Use redact, which makes the value null."
            )
        if place.column.dtype not in TRANSFORMS[name].outputs:
            raise PlanRefusedError(
                f"{place} is a {place.column.logical_type}, and {name} does not apply to that",
                "Correct the logical or info type, or add `protect: drop`.",
            )
        outputs.add(TRANSFORMS[name].outputs[place.column.dtype])
    if len(outputs) > 1:
        raise PlanRefusedError(
            f"{place} would have two types, one in some rows and one in the others",
            "Use two transforms that give the same type; docs/protection.md lists the types.",
        )


def _check_parameters(place: Place, asked: Protect) -> None:
    problem = strengths().problem(asked)
    if problem:
        raise PlanRefusedError(
            f"{place} {problem}",
            f"Use one of: {', '.join(sorted(strengths().names - {MEMBERS}))} (docs/protection.md).",
        )
