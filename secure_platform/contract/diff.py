"""What a change of contract means to those who rely on it.

breaking
    Data that was accepted may be refused; a reader may meet another type, a null where there was
    none, other tokens or no column; or protection becomes weaker: column removed, or added as
    required or as a foreign key; logical type changed; requirement, uniqueness or key added or
    dropped; limits, lengths or enum narrowed; pattern added or changed; dependency added; spelling changed;
    classification lowered, raised from public or to restricted; info type or subject mark added, changed or
    removed, because the rules of a profile go by them, to stronger and to weaker; transform, token domain or
    reference changed; quasi-identifier mark removed; source file changed; invalid rows or extra columns no
    longer accepted; fewer invalid rows allowed, or more rows demanded; freshness relaxed; retention changed;
    a control total or a metric of its own added or changed, which tell of cells;
    who has to do with the data or approves its releases changed. Of a product: dataset or mart removed;
    protection profile, target or name changed; purposes added, which lets more people read, or removed;
    privacy budget or aggregate declared, changed or removed;
    the protection plan weaker, or not to be compiled.
additive
    Everything that was accepted still is, and readers lose nothing: optional column added; limits
    widened or removed; dependency removed; classification raised to confidential; quasi-identifier mark
    added; more tolerance of the source; freshness tightened; monitoring changed otherwise. Of a product:
    dataset or mart added, also an aggregate of the same budget.
none
    Words only: version, descriptions, owner, schedule, times of deployment, order of columns.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from secure_platform.contract.aggregates import Aggregates
from secure_platform.contract.model import Column, Contract, Dependency, Monitor, Protect, Reference, Role
from secure_platform.contract.product import Product
from secure_platform.taxonomy.classification import Classification

Kind = Literal["breaking", "additive", "none"]
Rule = Callable[[Any, Any], Kind]


KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
"""The gravest first."""


@dataclass(frozen=True)
class Change:
    """One difference.

    Attributes:
        dataset: The dataset, or None for the product as a whole.
        column: The column, or None for the contract as a whole.
        what: The difference in words, for example `classification: restricted → internal`.
    """

    kind: Kind
    dataset: str | None
    column: str | None
    what: str

    def __str__(self) -> str:
        place = ".".join(name for name in (self.dataset, self.column) if name)
        return f"{place or 'product'}: {self.what}"


@dataclass(frozen=True)
class ContractDiff:
    """Every difference, the gravest first, and what is to be said about versions."""

    changes: tuple[Change, ...]
    notes: tuple[str, ...]

    @property
    def verdict(self) -> Kind:
        """The gravest kind of all changes."""
        return self.changes[0].kind if self.changes else "none"

    def of_kind(self, kind: Kind) -> tuple[Change, ...]:
        """The changes of one kind."""
        return tuple(change for change in self.changes if change.kind == kind)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        changes = [
            {"kind": change.kind, "dataset": change.dataset, "column": change.column, "what": change.what}
            for change in self.changes
        ]
        return {"verdict": self.verdict, "changes": changes, "notes": list(self.notes)}


def diff_products(old: Product, new: Product) -> ContractDiff:
    """Compare two versions of a product."""
    return _whole([*_of_fields(old, new, PRODUCT_RULES, None, None)], old.contracts, new.contracts)


def diff_datasets(old: Mapping[str, Contract | None], new: Mapping[str, Contract | None]) -> ContractDiff:
    """Compare datasets by name.

    Args:
        old: None for a contract that cannot be read any more.
        new: The same.
    """
    return _whole([], old, new)


def diff(old: Contract, new: Contract) -> list[Change]:
    """Every difference: the contract as a whole first, then columns in the new order, then removed ones."""
    changes = [*_of_contract(old, new), *_of_columns(old, new)]
    if not changes and old.digest != new.digest:
        return [Change("none", new.dataset, None, "remarks changed that nothing here reads")]
    return changes


def _whole(
    changes: list[Change], old: Mapping[str, Contract | None], new: Mapping[str, Contract | None]
) -> ContractDiff:
    notes: list[str] = []
    for name in [*new, *(name for name in old if name not in new)]:
        before, after = old.get(name), new.get(name)
        if name not in old:
            changes.append(Change("additive", name, None, "dataset added"))
        elif name not in new:
            changes.append(Change("breaking", name, None, "dataset removed"))
        elif before is None or after is None:
            changes.append(Change("breaking", name, None, "cannot be compared: one side is not valid here"))
        else:
            found = diff(before, after)
            changes += found
            notes += _version_note(before, after, min(found, key=_gravity).kind) if found else []
    return ContractDiff(tuple(sorted(changes, key=_gravity)), tuple(notes))


def _gravity(change: Change) -> int:
    return KINDS.index(change.kind)


def _version_note(old: Contract, new: Contract, kind: Kind) -> list[str]:
    """Breaking changes raise the first of three numbers, additive ones the second; below 1.0.0 both do."""
    major, minor, patch = _version(old)
    due = {
        "breaking": (major + 1, 0, 0) if major else (0, minor + 1, 0),
        "additive": (major, minor + 1, 0),
        "none": (major, minor, patch),
    }[kind]
    if _version(new) >= due:
        return []
    needed = ".".join(map(str, due))
    said = f"{new.dataset}: the version is {new.version} after {old.version}"
    return [f"{said}; these changes need {needed} or higher."]


def _version(contract: Contract) -> tuple[int, ...]:
    return tuple(map(int, contract.version.split(".")))


def _of_contract(old: Contract, new: Contract) -> Iterator[Change]:
    yield from _of_fields(old, new, CONTRACT_RULES, new.dataset, None)
    names = [column.name for column in new.columns]
    before = [column.name for column in old.columns if column.name in names]
    if before != [name for name in names if name in before]:
        yield Change("none", new.dataset, None, "order of columns changed")


def _of_columns(old: Contract, new: Contract) -> Iterator[Change]:
    before = {column.name: column for column in old.columns}
    after = {column.name: column for column in new.columns}
    for name, column in after.items():
        if name not in before:
            demanding = column.required or column.reference is not None
            kind: Kind = "breaking" if demanding else "additive"
            yield Change(kind, new.dataset, name, f"{_required(column)} column added")
        else:
            yield from _of_fields(before[name], column, COLUMN_RULES, new.dataset, name)
    for name in before:
        if name not in after:
            yield Change("breaking", new.dataset, name, "column removed")


def _of_fields(
    old: Any, new: Any, rules: Mapping[str, Rule], dataset: str | None, column: str | None
) -> Iterator[Change]:
    for name, rule in rules.items():
        was, now = getattr(old, name), getattr(new, name)
        if was != now:
            kind = rule(was, now) if _comparable(was, now) else "breaking"
            yield Change(kind, dataset, column, f"{name.replace('_', ' ')}: {_word(was)} → {_word(now)}")


def _comparable(old: Any, new: Any) -> bool:
    """Limits of a text date cannot be compared with those of the number it became."""
    return None in (old, new) or isinstance(old, str) == isinstance(new, str)


def _required(column: Column) -> str:
    return "required" if column.required else "optional"


def _word(value: Any) -> str:
    if isinstance(value, Protect):
        named = {**value.params, **{name: _word(part) for name, part in value.parts.items()}}
        params = ", ".join(f"{name}={param}" for name, param in sorted(named.items()))
        return f"{value.transform}({params})"
    if isinstance(value, Reference):
        return f"{value.dataset}.{value.column}"
    if isinstance(value, Role):
        levels = " and ".join(", ".join(level) for level in (value.first_level, value.second_level) if level)
        return f"{value.name} ({value.access}{f', approved by {levels}' if levels else ''})"
    if isinstance(value, Column):
        return f"{value.name} ({value.logical_type}, {value.classification.label}, {_word(value.protect)})"
    if isinstance(value, tuple):
        return ", ".join(map(_word, value))
    return "none" if value is None else value.label if isinstance(value, Classification) else str(value)


def _always(kind: Kind) -> Rule:
    return lambda _old, _new: kind


def _rising(kind: Kind, otherwise: Kind) -> Rule:
    """`kind` when the value rises; a missing value is the lowest."""
    return lambda old, new: kind if (old is not None, old) < (new is not None, new) else otherwise


def _upper(old: Any, new: Any) -> Kind:
    """An upper limit: a missing one is the widest."""
    return "additive" if new is None or (old is not None and new > old) else "breaking"


def _freshness(old: float | None, new: float | None) -> Kind:
    """A promise to readers: a higher limit takes from them."""
    return "breaking" if _upper(old, new) == "additive" else "additive"


def _pattern(_old: str | None, new: str | None) -> Kind:
    """Whether one pattern accepts all that another does is not decided here."""
    return "additive" if new is None else "breaking"


def _enum(old: tuple[str, ...] | None, new: tuple[str, ...] | None) -> Kind:
    if old is not None and new is not None and set(old) == set(new):
        return "none"
    return "additive" if new is None or (old is not None and set(old) <= set(new)) else "breaking"


def _names(old: tuple[str, ...], new: tuple[str, ...]) -> Kind:
    return "none" if set(old) == set(new) else "breaking"


def _demands(old: tuple[Dependency, ...], new: tuple[Dependency, ...]) -> Kind:
    """What was demanded before may be left out; what is new may refuse data."""
    was, now = (
        {(frozenset(each.columns), name) for each in side for name in each.determined} for side in (old, new)
    )
    return "none" if was == now else "additive" if now < was else "breaking"


def _aggregates(old: Aggregates | None, new: Aggregates | None) -> Kind:
    """What is told of people: a table more of the same budget is one more mart."""
    if old is None or new is None or old.budget != new.budget:
        return "breaking"
    return "additive" if old.by_name.items() <= new.by_name.items() else "breaking"


def _monitor(old: Monitor, new: Monitor) -> Kind:
    """What is asked of cells anew tells of them; what is not asked any more does not."""
    asked = new.metrics.items() <= old.metrics.items() and new.reconcile.items() <= old.reconcile.items()
    return "additive" if asked else "breaking"


def _models(old: tuple[str, ...], new: tuple[str, ...]) -> Kind:
    if set(old) == set(new):
        return "none"
    return "additive" if set(old) < set(new) else "breaking"


def _classification(old: Classification, new: Classification) -> Kind:
    """Profiles have rules for what is restricted, and for keys that are not public."""
    return "additive" if Classification.PUBLIC < old < new < Classification.RESTRICTED else "breaking"


def _strictness(_old: str, new: str) -> Kind:
    return "breaking" if new == "refuse" else "additive"


COLUMN_RULES: Final[Mapping[str, Rule]] = {
    "logical_type": _always("breaking"),
    "description": _always("none"),
    "classification": _classification,
    "info_type": _always("breaking"),
    "protect": _always("breaking"),
    "token_domain": _always("breaking"),
    "quasi_identifier": _rising("additive", "breaking"),
    "subject_id": _always("breaking"),
    "required": _always("breaking"),
    "unique": _always("breaking"),
    "primary_key": _always("breaking"),
    "minimum": _rising("breaking", "additive"),
    "maximum": _upper,
    "min_length": _rising("breaking", "additive"),
    "max_length": _upper,
    "pattern": _pattern,
    "format": _always("breaking"),
    "enum": _enum,
    "reference": _always("breaking"),
    "protected": _always("breaking"),
    "waiver": _always("breaking"),
    "members": _always("breaking"),
}
CONTRACT_RULES: Final[Mapping[str, Rule]] = {
    "dataset": _always("breaking"),
    "version": _always("none"),
    "description": _always("none"),
    "owner": _always("none"),
    "source_file": _always("breaking"),
    "on_invalid": _strictness,
    "max_invalid_ratio": _rising("additive", "breaking"),
    "extra_columns": _strictness,
    "minimum_rows": _rising("breaking", "additive"),
    "freshness_hours": _freshness,
    "retention_days": _always("breaking"),
    "roles": _always("breaking"),
    "monitor": _monitor,
    "suppress": _always("breaking"),
    "dependencies": _demands,
}
PRODUCT_RULES: Final[Mapping[str, Rule]] = {
    "name": _always("breaking"),
    "owner": _always("none"),
    "description": _always("none"),
    "profile": _always("breaking"),
    "schedule": _always("none"),
    "models": _models,
    "target": _always("breaking"),
    "freshness_hours": _freshness,
    "purposes": _names,
    "aggregates": _aggregates,
    "deploy_windows": _always("none"),
    "maintenance_windows": _always("none"),
}
