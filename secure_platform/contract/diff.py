"""What a change of contract means to those who rely on it.

breaking
    Data that was accepted may be refused; a reader may meet another type, a null where there was
    none, other tokens or no column; or protection becomes weaker: column removed, or added as
    required or as a foreign key; logical type changed; requirement, uniqueness or key added or
    dropped; limits, lengths or enum narrowed; pattern added or changed; classification lowered;
    info type changed or removed; transform, token domain or reference changed; quasi-identifier or
    subject mark removed; source file changed; invalid rows or extra columns no longer accepted;
    fewer invalid rows allowed, or more rows demanded; freshness relaxed; retention changed.
additive
    Everything that was accepted still is, and readers lose nothing: optional column added; limits
    widened or removed; classification raised; info type or mark added; more tolerance of the
    source; freshness tightened.
none
    Words only: version, descriptions, owner, order of columns.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from secure_platform.contract.model import Column, Contract, Protect, Reference
from secure_platform.taxonomy.classification import Classification

Kind = Literal["breaking", "additive", "none"]
Rule = Callable[[Any, Any], Kind]


@dataclass(frozen=True)
class Change:
    """One difference.

    Attributes:
        column: The column, or None for the contract as a whole.
        what: The difference in words, for example `classification lowered from restricted to internal`.
    """

    kind: Kind
    column: str | None
    what: str


def diff(old: Contract, new: Contract) -> list[Change]:
    """Every difference: the contract as a whole first, then columns in the new order, then removed ones."""
    return [*_of_contract(old, new), *_of_columns(old, new)]


def _of_contract(old: Contract, new: Contract) -> Iterator[Change]:
    yield from _of_fields(old, new, CONTRACT_RULES, None)
    names = [column.name for column in new.columns]
    before = [column.name for column in old.columns if column.name in names]
    if before != [name for name in names if name in before]:
        yield Change("none", None, "order of columns changed")


def _of_columns(old: Contract, new: Contract) -> Iterator[Change]:
    before = {column.name: column for column in old.columns}
    after = {column.name: column for column in new.columns}
    for name, column in after.items():
        if name not in before:
            demanding = column.required or column.reference is not None
            yield Change("breaking" if demanding else "additive", name, f"{_required(column)} column added")
        else:
            yield from _of_fields(before[name], column, COLUMN_RULES, name)
    for name in before:
        if name not in after:
            yield Change("breaking", name, "column removed")


def _of_fields(old: Any, new: Any, rules: Mapping[str, Rule], column: str | None) -> Iterator[Change]:
    for name, rule in rules.items():
        was, now = getattr(old, name), getattr(new, name)
        if was != now:
            kind = rule(was, now) if _comparable(was, now) else "breaking"
            yield Change(kind, column, f"{name.replace('_', ' ')}: {_word(was)} → {_word(now)}")


def _comparable(old: Any, new: Any) -> bool:
    """Limits of a text date cannot be compared with those of the number it became."""
    return None in (old, new) or isinstance(old, str) == isinstance(new, str)


def _required(column: Column) -> str:
    return "required" if column.required else "optional"


def _word(value: Any) -> str:
    if isinstance(value, Classification):
        return value.label
    if isinstance(value, Protect):
        params = ", ".join(f"{name}={param}" for name, param in sorted(value.params.items()))
        return f"{value.transform}({params})"
    if isinstance(value, Reference):
        return f"{value.dataset}.{value.column}"
    if isinstance(value, tuple):
        return ", ".join(value)
    return "none" if value is None else str(value)


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


def _info_type(old: str | None, _new: str | None) -> Kind:
    return "additive" if old is None else "breaking"


def _strictness(_old: str, new: str) -> Kind:
    return "breaking" if new == "refuse" else "additive"


COLUMN_RULES: Final[Mapping[str, Rule]] = {
    "logical_type": _always("breaking"),
    "description": _always("none"),
    "classification": _rising("additive", "breaking"),
    "info_type": _info_type,
    "protect": _always("breaking"),
    "token_domain": _always("breaking"),
    "quasi_identifier": _rising("additive", "breaking"),
    "subject_id": _rising("additive", "breaking"),
    "required": _always("breaking"),
    "unique": _always("breaking"),
    "primary_key": _always("breaking"),
    "minimum": _rising("breaking", "additive"),
    "maximum": _upper,
    "min_length": _rising("breaking", "additive"),
    "max_length": _upper,
    "pattern": _pattern,
    "enum": _enum,
    "reference": _always("breaking"),
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
}
