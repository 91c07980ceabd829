"""A protection profile says what each column needs at least, as data, with the legal reason for every rule.

All rules that apply to a column are binding. A profile covers every info type, so that one added to the
taxonomy is protected before anybody thinks of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from secure_platform import canonical
from secure_platform.contract.load import load_document
from secure_platform.contract.model import DTYPES, Column, Contract, Protect
from secure_platform.contract.names import IDENTIFIER
from secure_platform.errors import ContractError
from secure_platform.protect.strength import strengths
from secure_platform.taxonomy.classification import Classification
from secure_platform.taxonomy.info_types import GROUPS, HIPAA_IDENTIFIERS, info_types

PROFILES: Final = Path(__file__).with_name("profiles")
SAFE_HARBOR: Final = "hipaa_safe_harbor"
_REQUIRED: Final = frozenset({"profile", "title", "source", "info_types", "other_info_types"})
_OPTIONAL: Final = frozenset(
    {"identifiers", "groups", "logical_types", "keys", "restricted", "refused", "never_stored", "least_k"}
)


@dataclass(frozen=True)
class Rule:
    """The least that a column needs, and why.

    Attributes:
        instead: An equally acceptable transform, though neither of the two is stronger.
    """

    protect: Protect
    reason: str
    instead: tuple[Protect, ...] = ()

    def allows(self, protect: Protect) -> bool:
        """Whether a transform is at least as strong as what is needed."""
        return any(strengths().stands_for(protect, each) for each in (self.protect, *self.instead))


@dataclass(frozen=True)
class Profile:
    """A named rule set.

    Attributes:
        identifiers: HIPAA letter → rule, for info types without a rule of their own.
        groups: Group of the taxonomy → rule, for info types that have none by now.
        logical_types: Rules for whole logical types, whatever the info type.
        keys: The rule for columns that are unique, or name the subject, and are not public.
        restricted: The rule for restricted columns that no other kind of rule describes.
        refused: Transform → why it is never allowed on a column that has a rule.
        never_stored: Info type → why its values may not even be stored encrypted.
        least_k: The fewest subjects that share their quasi-identifiers, in every dataset that has any.
        digest: `sha256:<hex>` of the profile and of the strengths it is judged by.
    """

    name: str
    title: str
    source: str
    identifiers: Mapping[str, Rule]
    info_types: Mapping[str, Rule]
    groups: Mapping[str, Rule]
    other_info_types: Rule
    logical_types: Mapping[str, Rule]
    keys: Rule | None
    restricted: Rule | None
    refused: Mapping[str, str]
    never_stored: Mapping[str, str]
    least_k: int
    digest: str

    def rules(self, column: Column, *, info_type: str | None, is_key: bool) -> tuple[Rule, ...]:
        """Every rule that binds a column.

        Args:
            column: The column.
            info_type: What its values are; a foreign key's come from the key it references.
            is_key: Whether its values are unique.
        """
        described = [self._by_info_type(info_type), self.logical_types.get(column.logical_type)]
        found = [rule for rule in described if rule is not None]
        restricted = column.classification is Classification.RESTRICTED
        if restricted and not found and not column.members and self.restricted is not None:
            found.append(self.restricted)
        identifies = (is_key or column.subject_id) and column.classification is not Classification.PUBLIC
        if identifies and self.keys is not None:
            found.append(self.keys)
        return tuple(found)

    def _by_info_type(self, name: str | None) -> Rule | None:
        if name is None:
            return None
        if name in self.info_types:
            return self.info_types[name]
        kind = info_types().get(name)
        if kind is None:
            return self.other_info_types
        by_letter = self.identifiers.get(kind.hipaa or "")
        return by_letter or self.groups.get(kind.group, self.other_info_types)

    def unstored(self, contract: Contract) -> tuple[str, ...]:
        """The columns of a contract whose values may not be stored."""
        return tuple(column.name for column in contract.columns if column.info_type in self.never_stored)


@cache
def load_profile(name: str) -> Profile:
    """Read a profile of the platform.

    Raises:
        ContractError: If there is no such profile, or its document holds anything that is not understood.
    """
    known = sorted(path.stem for path in PROFILES.glob("*.yaml"))
    if name not in known:
        raise ContractError("The protection profile is unknown", f"Use one of: {', '.join(known)}.")
    return read_profile(PROFILES / f"{name}.yaml")


def read_profile(path: Path) -> Profile:
    """Read a profile document.

    Raises:
        ContractError: If it holds anything that is not understood; names the file and the key.
    """
    document = load_document(path)
    _require(_REQUIRED <= document.keys() <= _REQUIRED | _OPTIONAL, path, "keys")
    _require(document["profile"] == path.stem and bool(IDENTIFIER.fullmatch(path.stem)), path, "profile")
    identifiers = _rules(document, "identifiers", path)
    _require(not identifiers or identifiers.keys() == HIPAA_IDENTIFIERS, path, "identifiers")
    by_info_type = _rules(document, "info_types", path)
    _require(by_info_type.keys() <= info_types().keys(), path, "info_types")
    logical_types = _rules(document, "logical_types", path)
    _require(logical_types.keys() <= DTYPES.keys(), path, "logical_types")
    groups = _rules(document, "groups", path)
    _require(groups.keys() <= set(GROUPS), path, "groups")
    never_stored = document.get("never_stored", {})
    _require(never_stored.keys() <= info_types().keys(), path, "never_stored")
    least_k = document.get("least_k", 1)
    _require(type(least_k) is int and least_k > 0, path, "least_k")
    refused = document.get("refused", {})
    _require(refused.keys() <= {name.partition(".")[0] for name in strengths().names}, path, "refused")
    digest = canonical.sha256(canonical.dumps({"profile": document, "strengths": strengths().digest}))
    return Profile(
        name=path.stem,
        title=_text(document, "title", path),
        source=_text(document, "source", path),
        identifiers=identifiers,
        info_types=by_info_type,
        groups=groups,
        other_info_types=_rule(document["other_info_types"], path, "other_info_types"),
        logical_types=logical_types,
        keys=_rule(document["keys"], path, "keys") if "keys" in document else None,
        restricted=_rule(document["restricted"], path, "restricted") if "restricted" in document else None,
        refused=MappingProxyType({key: _text(refused, key, path) for key in refused}),
        never_stored=MappingProxyType({key: _text(never_stored, key, path) for key in never_stored}),
        least_k=least_k,
        digest=digest,
    )


def _rules(document: Mapping[str, Any], section: str, path: Path) -> Mapping[str, Rule]:
    bodies = document.get(section, {})
    _require(isinstance(bodies, dict), path, section)
    return MappingProxyType({name: _rule(body, path, f"{section}.{name}") for name, body in bodies.items()})


def _rule(body: Any, path: Path, key: str) -> Rule:
    _require(isinstance(body, dict) and {"transform", "reason"} <= body.keys(), path, key)
    instead = body.get("or", [])
    _require(isinstance(instead, list), path, key)
    others = tuple(_protect(each, path, key) for each in instead)
    return Rule(_protect(body, path, key), _text(body, "reason", path), others)


def _protect(body: Any, path: Path, key: str) -> Protect:
    _require(isinstance(body, dict) and "transform" in body, path, key)
    params = {name: value for name, value in body.items() if name not in {"transform", "reason", "or"}}
    protect = Protect(_text(body, "transform", path), MappingProxyType(params))
    _require(strengths().problem(protect) is None, path, key)
    return protect


def _text(body: Mapping[str, Any], key: str, path: Path) -> str:
    value = body[key]
    _require(isinstance(value, str) and bool(value), path, key)
    return str(value)


def _require(condition: bool, path: Path, key: str) -> None:  # noqa: FBT001 - a guard, read as a sentence
    if not condition:
        raise ContractError(
            f"Protection profile {path.name}: {key} is not acceptable", "Correct the profile."
        )
