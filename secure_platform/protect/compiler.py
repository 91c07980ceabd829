"""Contracts and a profile become a plan: every column gets its transform, parameters and key version.

Everything that cannot be protected as the profile requires is collected, so that it is reported at once.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from functools import cache
from types import MappingProxyType
from typing import Final

from secure_platform.contract.model import Column, Contract, Protect, Scalar
from secure_platform.contract.product import Product
from secure_platform.contract.protection import CONDITIONAL
from secure_platform.errors import PlanRefusedError
from secure_platform.protect.aggregate_rules import require_aggregates
from secure_platform.protect.conditions import conditions_of, gone_by
from secure_platform.protect.countable import require_countable
from secure_platform.protect.decide import Decider, Decision, Place, ends, members
from secure_platform.protect.members import MEMBERS
from secure_platform.protect.person import subject_columns
from secure_platform.protect.plain_totals import require_plain
from secure_platform.protect.plan import ColumnPlan, DatasetPlan, Plan
from secure_platform.protect.profile import Profile, load_profile
from secure_platform.protect.quasi import require_quasi
from secure_platform.protect.resolve import Resolver
from secure_platform.protect.strength import full_name, strengths
from secure_platform.protect.suppression import Suppression, compile_suppression
from secure_platform.protect.transforms import DROP, TRANSFORMS

JOINED: Final = frozenset({"tokenize", "vault", "fpe", "fake"})
"""Transforms by whose output the columns of one domain are joined."""


def compile_plan(
    product: Product, token_version: Callable[[str], int], as_of: date, today: date | None = None
) -> Plan:
    """Decide for every column of a product.

    Args:
        product: Its contracts and the name of its profile.
        token_version: The version that tokens of a domain are made with. It is asked once for each domain: a
            rotation meanwhile gives all of its columns the old version or all the new one.
        as_of: Date at which ages are calculated; the first day of a year, so that a plan holds for a year.
        today: Waivers that expired before are none, and stored tokens end so many days from it; `as_of` when
            not given.

    Raises:
        PlanRefusedError: Naming every column that cannot be protected as the profile requires.
        ContractError: If the profile is unknown.
    """
    profile = load_profile(product.profile)
    compiler = _Compiler(product, profile, token_version, as_of, today or as_of)
    datasets = {name: compiler.dataset(contract) for name, contract in product.contracts.items()}
    compiler.refuse()
    require_plain(product.contracts)
    require_quasi(datasets, profile)
    require_aggregates(product, datasets)
    return Plan(product.name, profile.name, profile.digest, as_of, MappingProxyType(datasets))


class _Compiler:
    """Compiles the datasets of one product and collects all refusals, to report them at once."""

    def __init__(
        self,
        product: Product,
        profile: Profile,
        token_version: Callable[[str], int],
        as_of: date,
        today: date,
    ) -> None:
        self._product, self._profile = product, profile
        self._decider = Decider(product, profile, today)
        self._resolver = Resolver(product, self._decider, as_of, today)
        self._spelled: dict[str, tuple[Place, Mapping[str, Scalar]]] = {}
        self._token_version = cache(token_version)
        self._refusals: list[PlanRefusedError] = []

    def dataset(self, contract: Contract) -> DatasetPlan:
        columns = [self._attempt(contract, column) for column in contract.columns]
        found = tuple(column for column in columns if column is not None)
        plan = DatasetPlan(contract.dataset, found)
        if None not in columns:
            plan = replace(plan, suppression=self._suppression(contract, plan))
        if not plan.outputs and None not in columns:
            self._refusals.append(
                PlanRefusedError(
                    f"Nothing of {contract.dataset} would be left", "Leave the dataset out of the product."
                )
            )
        return plan

    def _suppression(self, contract: Contract, plan: DatasetPlan) -> Suppression | None:
        try:
            self._require_unlinked(contract)
            rule = compile_suppression(
                self._product.name,
                contract,
                plan.outputs,
                self._profile,
                self._token_version,
                lambda: subject_columns(self._product, contract),
            )
            if rule is not None:
                require_countable(plan, rule)
        except PlanRefusedError as refusal:
            self._refusals.append(refusal)
            return None
        return rule

    def _require_unlinked(self, contract: Contract) -> None:
        """How many rows stay behind is told: of whom one condition names, another would say something."""
        when = contract.suppress.when if contract.suppress else ""
        names = {each.column for each in conditions_of(when)} if when else set()
        hidden = self._decider.hidden(contract, names)
        if hidden and len(names) > 1:
            raise PlanRefusedError(
                f"{contract.dataset} leaves rows behind by several columns, and {hidden[0]} may not be kept: "
                "the number of rows would tell of it together with the others",
                "Let the conditions go by one column only, or by columns that may be kept.",
            )

    def _require_one_spelling(
        self, place: Place, name: str, domain: str, params: Mapping[str, Scalar]
    ) -> None:
        """Tokens of one domain in two formats would never match."""
        if name not in JOINED:
            return
        other, spelling = self._spelled.setdefault(domain, (place, params))
        if spelling != params:
            raise PlanRefusedError(
                f"{place} and {other} share a token domain and are not spelled alike",
                "Give both the same parameters and pattern, or one of them another token domain.",
            )

    def refuse(self) -> None:
        """Raise what was collected."""
        if len(self._refusals) == 1:
            raise self._refusals[0]
        if self._refusals:
            raise PlanRefusedError(
                "; ".join(dict.fromkeys(refusal.culprit for refusal in self._refusals)),
                " ".join(dict.fromkeys(refusal.fix for refusal in self._refusals)),
            )

    def _attempt(self, contract: Contract, column: Column) -> ColumnPlan | None:
        try:
            return self._column(contract, column)
        except PlanRefusedError as refusal:
            self._refusals.append(refusal)
            return None

    def _column(self, contract: Contract, column: Column) -> ColumnPlan:
        return self._planned(Place(contract, column), self._decider.decide(contract, column))

    def _parts(self, place: Place, decision: Decision) -> dict[str, ColumnPlan]:
        if decision.protect.transform == MEMBERS:
            return {
                path: self._planned(Place(*each), self._decider.decide(*each))
                for path, each in members(place).items()
            }
        return {
            part: self._planned(place, replace(decision, protect=protect, waived=""))
            for part, protect in decision.protect.parts.items()
        }

    def _planned(self, place: Place, decision: Decision) -> ColumnPlan:
        column, name = place.column, full_name(decision.protect)
        kept = name != DROP
        params, domain = self._resolver.resolve(place, decision)
        keyed = kept and TRANSFORMS[name].key is not None
        if keyed:
            self._require_one_spelling(place, name, domain, params)
        parts = self._parts(place, decision)
        left = strengths().leaves(decision.protect)
        if name == MEMBERS:
            left = max(part.classification for part in parts.values())
        told = self._decider.told_of(place.contract, gone_by(decision.protect))
        return ColumnPlan(
            column=column.name,
            transform=decision.protect.transform,
            params=params,
            reason=decision.reason,
            input_type=str(column.dtype),
            output_type=_output_type(place, decision.protect) if kept else None,
            info_type=decision.info_type,
            input_classification=column.classification,
            classification=max(
                [min(column.classification, left), *(each.column.classification for each in told)]
            ),
            token_domain=domain if keyed else None,
            token_version=self._token_version(domain) if keyed else None,
            reference=column.reference if kept else None,
            parts=MappingProxyType(parts),
            waived=decision.waived,
        )


def _output_type(place: Place, protect: Protect) -> str:
    last = next(ends(protect)) if protect.transform == CONDITIONAL else protect
    return str(TRANSFORMS[full_name(last)].outputs[place.column.dtype])
