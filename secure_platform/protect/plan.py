"""A plan says, before any data are read, what happens to every column; anything else stays in the raw zone.

It is data: compiled from contracts and a protection profile, identified by the digest of its canonical JSON,
shown to the steward, stored in the release, and executed as it stands. It names keys by domain and version,
and contains none.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from types import MappingProxyType
from typing import Any, Final, Self

from secure_platform import canonical
from secure_platform.contract.model import Protect, Reference, Scalar
from secure_platform.errors import ContractError, IntegrityError
from secure_platform.protect.members import MEMBERS
from secure_platform.protect.strength import full_name
from secure_platform.protect.suppression import Suppression
from secure_platform.protect.transforms import DROP, KEEP
from secure_platform.taxonomy.classification import Classification

FORMAT: Final = 1
SUPPRESSION: Final = "suppression"
"""Where a plan says which rows stay behind, by dataset."""
SHOWN: Final = frozenset({KEEP, "scrub", MEMBERS})
"""Transforms that let whole values out: all, and texts in which nothing was found or that hold nothing."""


@dataclass(frozen=True)
class ColumnPlan:
    """What happens to one column.

    Attributes:
        params: Resolved: nothing in them depends on when or where the plan is executed.
        reason: Contract, rule of the profile with its legal source, or foreign key.
        input_type: Polars type in the typed frame.
        output_type: Polars type in the protected frame; None when dropped.
        info_type: Its own, or that of the key it references.
        classification: Of the output; public when dropped, so that it never raises that of the dataset.
        token_domain: Which key is used, for keyed transforms.
        token_version: Which version of it.
        reference: The key it points at, unless dropped.
        parts: The transforms that this one is made of, as plans of the same column.
        waived: By whom, why and how long it may be weaker than the profile requires.
    """

    column: str
    transform: str
    params: Mapping[str, Scalar] = field(hash=False)
    reason: str
    input_type: str
    output_type: str | None
    info_type: str | None
    input_classification: Classification
    classification: Classification
    token_domain: str | None
    token_version: int | None
    reference: Reference | None
    parts: Mapping[str, "ColumnPlan"] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    waived: str = ""

    @property
    def full_name(self) -> str:
        """The transform with its kind, for example `generalize.year`."""
        return full_name(Protect(self.transform, self.params))

    @property
    def shows_values(self) -> bool:
        """Whether values of the column come out as they were, on purpose."""
        return any(column.transform in SHOWN for column in self.every())

    def every(self) -> Iterator["ColumnPlan"]:
        """This plan and those of all its parts."""
        yield self
        for part in self.parts.values():
            yield from part.every()

    def to_json(self) -> dict[str, Any]:
        """As canonical JSON."""
        reference = self.reference
        parts = {name: part.to_json() for name, part in self.parts.items()}
        return {
            "column": self.column,
            "transform": self.transform,
            "params": dict(self.params),
            "reason": self.reason,
            "input_type": self.input_type,
            "output_type": self.output_type,
            "info_type": self.info_type,
            "input_classification": self.input_classification.label,
            "classification": self.classification.label,
            "token_domain": self.token_domain,
            "token_version": self.token_version,
            "reference": {"dataset": reference.dataset, "column": reference.column} if reference else None,
            **({"parts": parts} if parts else {}),
            **({"waived": self.waived} if self.waived else {}),
        }

    def treatment(self) -> dict[str, Any]:
        """Everything that decides the output values except the key version; as canonical JSON."""
        parts = {name: part.treatment() for name, part in self.parts.items()}
        return {
            "column": self.column,
            "transform": self.transform,
            "params": dict(self.params),
            "output_type": self.output_type,
            "parts": parts,
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """The reverse of `to_json`."""
        special = {
            "params": MappingProxyType(dict(body["params"])),
            "input_classification": Classification.parse(body["input_classification"]),
            "classification": Classification.parse(body["classification"]),
            "reference": Reference(**body["reference"]) if body["reference"] else None,
            "parts": MappingProxyType(
                {name: cls.from_json(part) for name, part in body.get("parts", {}).items()}
            ),
        }
        return cls(**{**body, **special})


@dataclass(frozen=True)
class DatasetPlan:
    """What happens to one dataset: every column of its contract in the contract's order, and its rows."""

    dataset: str
    columns: tuple[ColumnPlan, ...]
    suppression: Suppression | None = None

    @property
    def outputs(self) -> tuple[ColumnPlan, ...]:
        """The columns that the protected frame has."""
        return tuple(column for column in self.columns if column.transform != DROP)

    @property
    def treatment(self) -> list[dict[str, Any]]:
        """What is done to the columns, and which rows stay behind: not why, nor by which version of a key."""
        rows = [{**self.suppression.to_json(), "token_version": None}] if self.suppression else []
        return [*(column.treatment() for column in self.columns), *rows]


@dataclass(frozen=True)
class Plan:
    """What happens to a product.

    Attributes:
        profile_digest: Of the profile's rules and of the strengths of transforms.
        as_of: The date at which ages are calculated.
    """

    product: str
    profile: str
    profile_digest: str
    as_of: date
    datasets: Mapping[str, DatasetPlan] = field(hash=False)

    @property
    def token_versions(self) -> dict[str, int]:
        """Token domain → version of its key, the same in every column of the domain."""
        keyed: list[ColumnPlan | Suppression] = [
            column
            for dataset in self.datasets.values()
            for whole in dataset.columns
            for column in whole.every()
        ]
        keyed += [each.suppression for each in self.datasets.values() if each.suppression]
        return {
            each.token_domain: each.token_version
            for each in keyed
            if each.token_domain is not None and each.token_version is not None
        }

    @property
    def digest(self) -> str:
        """`sha256:<hex>` of the plan's canonical JSON without the digest itself."""
        return canonical.sha256(canonical.dumps(self._body()))

    def to_json(self) -> dict[str, Any]:
        """The whole plan and its digest, as plain JSON values."""
        return {**self._body(), "digest": self.digest}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote.

        Raises:
            IntegrityError: If it is no plan of this format, or its digest is another.
        """
        error = IntegrityError("A stored protection plan is not what was written", "Compile the plan again.")
        try:
            plan = cls(
                product=document["product"],
                profile=document["profile"],
                profile_digest=document["profile_digest"],
                as_of=date.fromisoformat(document["as_of"]),
                datasets=MappingProxyType(
                    {
                        name: _dataset(name, columns, document.get(SUPPRESSION, {}).get(name))
                        for name, columns in document["datasets"].items()
                    }
                ),
            )
            same = plan.to_json() == document and not mixed_domains(document["datasets"].values())
        except (KeyError, TypeError, ValueError, AttributeError, ContractError):
            raise error from None
        if not same:
            raise error
        return plan

    def _body(self) -> dict[str, Any]:
        datasets = {name: [c.to_json() for c in plan.columns] for name, plan in self.datasets.items()}
        rows = {n: plan.suppression.to_json() for n, plan in self.datasets.items() if plan.suppression}
        return {
            "format": FORMAT,
            "product": self.product,
            "profile": self.profile,
            "profile_digest": self.profile_digest,
            "token_versions": self.token_versions,
            "as_of": self.as_of.isoformat(),
            "datasets": datasets,
            **({SUPPRESSION: rows} if rows else {}),
        }


def mixed_domains(datasets: Iterable[Iterable[Mapping[str, Any]]]) -> list[str]:
    """Token domains that have two key versions: their tokens would not match.

    Args:
        datasets: Columns of every dataset, as `ColumnPlan.to_json` writes them.
    """
    found = {
        (column["token_domain"], column["token_version"])
        for columns in datasets
        for whole in columns
        for column in _every(whole)
        if column["token_domain"] is not None
    }
    counts = Counter(domain for domain, _ in found)
    return sorted(domain for domain, versions in counts.items() if versions > 1)


def _every(column: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield column
    for part in column.get("parts", {}).values():
        yield from _every(part)


def _dataset(name: str, columns: Sequence[Mapping[str, Any]], rows: Mapping[str, Any] | None) -> DatasetPlan:
    suppression = Suppression.from_json(rows) if rows else None
    return DatasetPlan(name, tuple(ColumnPlan.from_json(column) for column in columns), suppression)
