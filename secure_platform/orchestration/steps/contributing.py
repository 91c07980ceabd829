"""The rows that an aggregate counts, read from exactly the snapshots that its source was made of.

The newest snapshots may differ: a row that is there because of somebody's row in an older snapshot would be
counted because of a newer one. Each of them must be made under today's contracts and plan, because these
decided that the aggregate can be published.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import polars as pl

from secure_platform.errors import DataRefusedError
from secure_platform.orchestration.steps.context import StepContext, require_contract
from secure_platform.orchestration.steps.erase import still_there
from secure_platform.orchestration.steps.protect import VERDICTS, plan_digest
from secure_platform.protect.aggregate_rules import subject_of
from secure_platform.protect.own_rows import (
    Made,
    follows,
    own_rows,
    require_own_keys,
    require_undisputed,
    subject_in,
)
from secure_platform.protect.plan import Plan
from secure_platform.source.csv import LINE
from secure_platform.store.snapshot import Snapshot, Zone, require_verdicts
from secure_platform.validate.keys import keys_of
from secure_platform.validate.rules import cast_typed


@dataclass(frozen=True)
class MadeOf:
    """A protected snapshot and the snapshots that it was made from."""

    snapshot: Snapshot
    raw: Snapshot
    parents: Mapping[str, "MadeOf"]

    def every(self) -> Iterator["MadeOf"]:
        """Itself and everything that it was made from, once for each path that leads there."""
        yield self
        for parent in self.parents.values():
            yield from parent.every()


def made_of(context: StepContext, plan: Plan, snapshot: Snapshot) -> MadeOf:
    """A protected snapshot with everything that it was made from.

    Raises:
        IntegrityError: If one of them is gone, or not what was written.
        DataRefusedError: If one was refused, or made under another contract or plan than today's.
    """
    require_verdicts(snapshot, VERDICTS)
    require_contract(snapshot, context.product.contracts[snapshot.dataset])
    if snapshot.provenance["plan"] != plan_digest(plan.datasets[snapshot.dataset]):
        raise DataRefusedError(
            f"{snapshot.product}/{snapshot.zone}/{snapshot.dataset} was protected by another plan "
            "than today's",
            f"Run the whole build: secure-platform run {snapshot.product}.",
        )
    found: dict[tuple[str, str], Snapshot] = {}
    for each in snapshot.provenance["inputs"]:
        zone, dataset = Zone(each["zone"]), each["dataset"]
        found[zone, dataset] = still_there(
            context.services, snapshot.product, dataset, zone, each["snapshot_id"]
        )
    parents = {
        dataset: made_of(context, plan, each)
        for (zone, dataset), each in found.items()
        if zone is Zone.PROTECTED
    }
    return MadeOf(snapshot, found[Zone.RAW, snapshot.dataset], parents)


def followed(
    context: StepContext, plan: Plan, made: MadeOf, person: str | None = None
) -> Iterator[tuple[MadeOf, str]]:
    """A dataset, and all whose missing rows made rows of it stay behind; each with its person column.

    Args:
        context: Names the product.
        plan: Of today.
        made: The dataset.
        person: The column that identifies persons, if the contract names none.
    """
    contract = context.product.contracts[made.snapshot.dataset]
    yield made, person or subject_of(contract)
    for column, found in follows(context.product, plan.datasets, contract.dataset):
        if found is not None:
            theirs = subject_in(context.product.contracts[found.parent])
            # A dataset without a subject is one of persons: its key is theirs.
            name = theirs.name if theirs else found.matched[column]
            yield from followed(context, plan, made.parents[found.parent], name)


def contributing(context: StepContext, plan: Plan, source: MadeOf) -> pl.LazyFrame:
    """The rows of a protected dataset that count: those that depend on their own person alone.

    Raises:
        DataRefusedError: If rows of several persons were set aside for one key, or some for what others say.
    """
    for each, person in followed(context, plan, source):
        _require_independent(context, each, person)
    return own_rows(_made(context, source), context.product, plan.datasets)


def _made(context: StepContext, made: MadeOf) -> Made:
    parents = {name: _made(context, parent) for name, parent in made.parents.items()}
    return Made(made.snapshot.dataset, context.services.store.scan(made.snapshot), parents)


def _require_independent(context: StepContext, made: MadeOf, person: str) -> None:
    store, contract = context.services.store, context.product.contracts[made.snapshot.dataset]
    quarantine = store.quarantine(made.raw)
    if quarantine is not None:
        require_undisputed(contract, quarantine)
        aside = store.scan(made.raw).join(quarantine.select(LINE).unique(), on=LINE, how="semi")
        keys = (key.columns for key in keys_of(contract))
        require_own_keys(contract, person, cast_typed(contract, aside), keys)
