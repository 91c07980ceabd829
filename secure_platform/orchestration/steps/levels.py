"""Proposes generalization levels for a contract: it searches the source and writes nothing.

The hierarchies are those that the contract's quasi-identifiers name, at whatever level, and those that the
caller adds; k, l and the share that may stay behind come from the contract and the profile. A person decides.
The source is read as in a build, by somebody who may build the product, and the audit log records it. Only
the columns that k and l concern are protected, and nothing is stored: no token is drawn for a proposal.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import polars as pl

from secure_platform.access.principals import Principal
from secure_platform.access.resources import Action
from secure_platform.contract.model import Contract, Protect
from secure_platform.contract.product import Product
from secure_platform.errors import DataRefusedError, PlanRefusedError, UsageError
from secure_platform.orchestration.steps.protect import current_plan, product_resource
from secure_platform.protect.decide import Decider
from secure_platform.protect.execute import apply
from secure_platform.protect.hierarchies import read_levels
from secure_platform.protect.keyed import canonical_text
from secure_platform.protect.levels import Found, Lattice, Search, Wanted
from secure_platform.protect.plan import DatasetPlan
from secure_platform.protect.profile import load_profile
from secure_platform.protect.suppression import Suppression, chosen
from secure_platform.protect.transforms import KEEP
from secure_platform.protect.vault import VAULT
from secure_platform.services import Services
from secure_platform.source.dataset import open_source
from secure_platform.validate.rules import cast_typed

AUDITED: Final = "data.levels"
_HIERARCHY: Final = "generalize.hierarchy"


@dataclass(frozen=True)
class Proposal:
    """What was found.

    Attributes:
        files: Column → its hierarchy.
        now: Column → its level in the contract; 0 where it has none.
        reached: What these reach; None if it is not enough.
        rows: That were searched.
    """

    rule: Suppression
    files: Mapping[str, str]
    now: Mapping[str, int]
    reached: Found | None
    search: Search
    rows: int

    def to_json(self) -> dict[str, Any]:
        """For people and programs."""
        found = self.search.found
        return {
            "asked": {"k": self.rule.k, "l": self.rule.l, "at_most": self.rule.at_most},
            "rows": self.rows,
            "hierarchies": dict(self.files),
            "now": _said(self.reached, self.now),
            "proposed": _said(found, {name: found.levels[name] for name in self.files} if found else {}),
            "nodes": self.search.nodes,
            "looked_at": self.search.looked_at,
        }


def propose_levels(
    services: Services,
    product: Product,
    dataset: str,
    source: Path,
    added: Mapping[str, str],
    caller: Principal,
) -> Proposal:
    """Search the levels of one dataset.

    Args:
        services: Open the keys of columns that are protected by one.
        product: The data product.
        dataset: Its name.
        source: Folder, or zip file, of the source files.
        added: Column → file of a hierarchy, beside those that the contract names.
        caller: Who asks.

    Raises:
        AccessDeniedError: If the policy does not let the caller build the product.
        UsageError: If there is nothing to search.
        DataRefusedError: If the source is missing or has no rows.
        PlanRefusedError: If a hierarchy cannot be used, or there are too many levels.
    """
    services.policy.require(caller, Action.BUILD, product_resource(services, product))
    if dataset not in product.contracts:
        raise UsageError(
            f"{product.name} has no dataset {dataset[:64]!r}", f"It has: {', '.join(product.contracts)}."
        )
    plan, contract = current_plan(product, services.keys).datasets[dataset], product.contracts[dataset]
    rule = plan.suppression
    if rule is None or not rule.quasi:
        raise UsageError(
            f"{dataset} asks for neither k nor l",
            "Mark its quasi-identifiers, and say `suppressRows: {k: 5}` in its contract.",
        )
    files = _files(plan, rule, added)
    least = {name: _least(product, contract, name, file) for name, file in files.items()}
    searched = _searched(plan, rule)
    with services.audit.effect(AUDITED, actor=caller.name, subject=f"{product.name}/{dataset}") as outcome:
        typed, protected = _read(services, searched, rule, source, contract)
        outcome["rows"] = typed.height
    columns = {
        name: _levels(product, typed[name], files[name])[least[name] :]
        if name in files
        else [protected[name]]
        for name in rule.quasi
    }
    sensitive = [protected[name] for name in rule.sensitive]
    subject = protected[rule.subject] if rule.subject else None
    lattice = Lattice(columns, Wanted(rule.k, rule.l, rule.at_most), sensitive, subject)
    now = {name: level for name, (_, level) in _asked(plan).items() if name in files}
    now = {name: now.get(name, least[name]) for name in files}
    place = {name: now.get(name, 0) - least.get(name, 0) for name in rule.quasi}
    reached = lattice.at(tuple(min(max(0, at), len(columns[name]) - 1) for name, at in place.items()))
    return Proposal(rule, files, now, reached, _counted(lattice.best(), least), typed.height)


def _least(product: Product, contract: Contract, name: str, file: str) -> int:
    """The lowest level of a hierarchy with which the plan compiles: 1 if the value must not be kept.

    Raises:
        PlanRefusedError: If the profile requires what no level of a hierarchy stands for.
    """
    decider = Decider(product, load_profile(product.profile), datetime.now(UTC).date())
    column = contract.column(name)
    try:
        decider.decide(contract, replace(column, protect=Protect(KEEP)))
    except PlanRefusedError:
        raised = Protect("generalize", {"to": "hierarchy", "file": file, "level": 1})
        decider.decide(contract, replace(column, protect=raised))
        return 1
    return 0


def _counted(search: Search, least: Mapping[str, int]) -> Search:
    """The levels in the hierarchies' numbering; the search counts from the lowest that is allowed."""
    if search.found is None:
        return search
    levels = {name: level + least.get(name, 0) for name, level in search.found.levels.items()}
    return replace(search, found=replace(search.found, levels=levels))


def _searched(plan: DatasetPlan, rule: Suppression) -> DatasetPlan:
    """The plan, reduced to the columns that k and l concern.

    Raises:
        UsageError: If tokens would be drawn for one of them, and stored.
    """
    named = {*rule.quasi, *rule.sensitive, *filter(None, [rule.subject])}
    columns = tuple(column for column in plan.columns if column.column in named)
    for column in columns:
        if any(part.full_name == VAULT for part in column.every()):
            raise UsageError(
                f"{plan.dataset}.{column.column} has stored tokens, and a search draws none",
                "Look at the dataset with `tokenize` on it: the levels are the same.",
            )
    return replace(plan, columns=columns)


def _read(
    services: Services, plan: DatasetPlan, rule: Suppression, source: Path, contract: Contract
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows of the source that no condition or sample leaves behind, raw and protected."""
    typed = chosen(rule, cast_typed(contract, _text(source, contract)), services.keys).collect()
    if typed.is_empty():
        raise DataRefusedError(
            f"The source of {contract.dataset} has no rows", "Name another one with --source."
        )
    return typed, apply(plan, typed.lazy(), services.keys).collect()


def _files(plan: DatasetPlan, rule: Suppression, added: Mapping[str, str]) -> dict[str, str]:
    strangers = added.keys() - set(rule.quasi)
    if strangers:
        raise UsageError(
            f"{plan.dataset} has no quasi-identifier {', '.join(sorted(strangers))}",
            f"It has: {', '.join(rule.quasi)}.",
        )
    named = {name: file for name, (file, _) in _asked(plan).items()}
    files = {name: each for name in rule.quasi if (each := added.get(name, named.get(name)))}
    if not files:
        raise UsageError(
            f"No quasi-identifier of {plan.dataset} has a hierarchy",
            "Name one: --hierarchy COLUMN=FILE, a file in the product's folder hierarchies/.",
        )
    return files


def _asked(plan: DatasetPlan) -> dict[str, tuple[str, int]]:
    """The hierarchies and levels that the contract asks for."""
    return {
        column.column: (str(column.params["file"]), int(column.params["level"]))
        for column in plan.outputs
        if column.full_name == _HIERARCHY
    }


def _text(source: Path, contract: Contract) -> pl.LazyFrame:
    frames = [batch.frame for batch in open_source(source, contract).batches()]
    names = [column.name for column in contract.columns]
    return pl.concat(frames).lazy() if frames else pl.LazyFrame(schema=dict.fromkeys(names, pl.String()))


def _levels(product: Product, values: pl.Series, file: str) -> list[pl.Series]:
    """The values at each level; one that is on no line of the file is null above level 0."""
    frame = values.to_frame("value")
    text = frame.select(canonical_text(pl.col("value"), values.dtype))["value"]
    higher = [
        text.replace_strict(level, default=None, return_dtype=pl.String())
        for level in read_levels(product.directory, file)
    ]
    return [text, *higher]


def _said(found: Found | None, levels: Mapping[str, int]) -> dict[str, Any]:
    if found is None:
        return {"levels": dict(levels), "reached": False}
    lost = f"{found.information_lost:.4f}"
    return {"levels": dict(levels), "reached": True, "suppressed": found.suppressed, "information_lost": lost}
