"""Marts → release: one signed package per change; unchanged input makes no new one."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from secure_platform.contract.product import Product
from secure_platform.control.locks import WORK_SECONDS, file_lock
from secure_platform.errors import DataRefusedError
from secure_platform.files import private_directory
from secure_platform.gate.records import ReleaseRecord
from secure_platform.gate.states import LAPSED, ReleaseState
from secure_platform.notify.spans import stage
from secure_platform.orchestration.steps.aggregate import VERDICTS as AGGREGATE_VERDICTS
from secure_platform.orchestration.steps.aggregate import declaration_digest
from secure_platform.orchestration.steps.context import (
    StepContext,
    code_version,
    input_key,
    require_contract,
    verdict_records,
)
from secure_platform.orchestration.steps.deploy import reconcile
from secure_platform.orchestration.steps.marts import VERDICTS as MART_VERDICTS
from secure_platform.orchestration.steps.protect import VERDICTS as PROTECTED_VERDICTS
from secure_platform.orchestration.steps.protect import (
    current_plan,
    lineage_record,
    output_classification,
    plan_digest,
)
from secure_platform.orchestration.steps.pull import VERDICTS as RAW_VERDICTS
from secure_platform.orchestration.steps.tell import tell
from secure_platform.protect.domains import shared_domains
from secure_platform.protect.plan import Plan
from secure_platform.release.package import ReleaseRequest, build_release
from secure_platform.services import Services
from secure_platform.store.snapshot import Snapshot, Zone, require_verdicts
from secure_platform.taxonomy.classification import Classification


@dataclass(frozen=True)
class Packaged:
    """The release of this input, and whether it was there before."""

    record: ReleaseRecord
    reused: bool


def package(context: StepContext) -> Packaged:
    """Pack the product's marts as a pending release.

    Raises:
        IntegrityError: If an input is not what was written.
        DataRefusedError: If an input's verdict is missing or failed.
    """
    services, product = context.services, context.product
    # From the look for a release of this input to its registration, or two builds would share a number.
    with packing(services, product.name):
        packaged = _package(context, services, product)
    if packaged.record.state is ReleaseState.PENDING:
        tell(services, "release.pending", packaged.record)
    return packaged


def packing(services: Services, product: str) -> AbstractContextManager[None]:
    """While this is held, no release of the product is signed or registered by anybody else."""
    return file_lock(
        private_directory(services.releases) / f".{product}.lock",
        holder=f"packing a release of {product}",
        timeout_seconds=WORK_SECONDS,
    )


@stage("package")
def _package(context: StepContext, services: Services, product: Product) -> Packaged:
    tables = {model: context.input(Zone.MARTS, model) for model in product.models}
    for name, table in tables.items():
        require_verdicts(table, _required(product, Zone.MARTS, name))
    plan = current_plan(product, services.keys)
    shared = shared_domains(plan, services.products.values())
    lineage = _lineage(context, tables, plan)
    dbt = _made_by(product, tables)
    key = _input_key(context, tables, plan, dbt, shared)
    current = reconcile(services, product.name, actor=context.requester)
    known = services.gate.find(product.name, key)
    if known is not None:
        return Packaged(known, reused=True)
    request = ReleaseRequest(
        product=product.name,
        environment=services.settings.environment,
        classification=release_classification(plan, tables).label,
        requested_by=_requested_by(context, key),
        run_id=context.run_id,
        tables=tables,
        lineage=[lineage_record(snapshot) for snapshot in lineage],
        contracts=product.contracts,
        plan=plan.to_json(),
        dbt=dbt,
        aggregates=_aggregates(product),
        shared_domains=shared,
        verdicts=_verdicts(lineage),
        code_version=code_version(),
        base=current.digest if current else None,
        number=services.gate.next_number(product.name),
        audit_checkpoint=services.audit.checkpoint(),
    )
    release = build_release(request, services.store, services.keys, services.audit, services.releases)
    return Packaged(_registered(services, product, request, release.digest, key), reused=False)


def _input_key(
    context: StepContext,
    tables: Mapping[str, Snapshot],
    plan: Plan,
    dbt: Mapping[str, Any],
    shared: Mapping[str, Any],
) -> str:
    """The key by which the release of the same input is found again."""
    product = context.product
    return input_key(
        stage="release",
        tables={name: table.content_digest for name, table in tables.items()},
        contracts={name: contract.digest for name, contract in product.contracts.items()},
        plan=plan.digest,
        # Not the project as a whole: it holds other products too.
        dbt={name: part for name, part in dbt.items() if name != "project"},
        **({"aggregates": _aggregates(product)} if product.aggregates else {}),
        # Who else makes these tokens is decided on too.
        **({"shared_domains": shared} if shared else {}),
        environment=context.services.settings.environment,
    )


def _registered(
    services: Services, product: Product, request: ReleaseRequest, digest: str, key: str
) -> ReleaseRecord:
    """Register a release that was just signed at the gate."""
    first, second = product.approver_levels
    return services.gate.register(
        digest=digest,
        product=product.name,
        environment=request.environment,
        classification=request.classification,
        requested_by=request.requested_by,
        run_id=request.run_id,
        input_key=key,
        number=request.number,
        base=request.base,
        approver_groups=first,
        second_approver_groups=second,
    )


def _requested_by(context: StepContext, key: str) -> str:
    """Who the release is recorded for, and who therefore does not approve it.

    When a schedule rebuilds what a person requested and nobody decided on, the request stays that person's:
    a program is not a second pair of eyes.
    """
    gate, asking = context.services.gate, context.services.principals.get(context.requester)
    if asking is None or asking.kind != "service":
        return context.requester
    same = [each for each in gate.list(context.product.name) if each.input_key == key]
    return same[-1].requested_by if same and same[-1].state in LAPSED else context.requester


def release_classification(plan: Plan, tables: Mapping[str, Snapshot]) -> Classification:
    """The highest classification of the plan's output and of what the marts declare."""
    declared = [Classification.parse(table.provenance["classification"]) for table in tables.values()]
    return max([output_classification(plan), *declared])


def _made_by(product: Product, tables: Mapping[str, Snapshot]) -> dict[str, Any]:
    """The record of the one build that made all tables."""
    made = [table for name, table in tables.items() if name not in product.aggregate_names]
    first, *others = [table.provenance["dbt"] for table in made]
    if any(other != first for other in others):
        raise DataRefusedError(
            f"The marts of {product.name} were made by different dbt builds",
            f"Run the whole build: secure-platform run {product.name}.",
        )
    return dict(first)


def _aggregates(product: Product) -> dict[str, Any] | None:
    """The declared aggregates and their budget."""
    return product.aggregates.model_dump(mode="json") if product.aggregates else None


def _required(product: Product, zone: Zone, name: str) -> tuple[str, ...]:
    """The verdicts that a snapshot must have."""
    if zone is Zone.MARTS and name in product.aggregate_names:
        return AGGREGATE_VERDICTS
    return _REQUIRED[zone]


def _lineage(context: StepContext, tables: Mapping[str, Snapshot], plan: Plan) -> list[Snapshot]:
    """Every snapshot behind the tables, read again: each passed, under the present contract and plan."""
    store, name = context.services.store, context.product.name
    found: dict[tuple[str, str], Snapshot] = {}
    waiting = list(tables.values())
    while waiting:
        snapshot = waiting.pop()
        position = (str(snapshot.zone), snapshot.dataset)
        if position in found:
            if found[position].snapshot_id != snapshot.snapshot_id:
                raise DataRefusedError(
                    f"Two snapshots of {name}/{snapshot.zone}/{snapshot.dataset} meet in one release",
                    f"Run the whole build: secure-platform run {name}.",
                )
            continue
        found[position] = snapshot
        require_verdicts(snapshot, _required(context.product, snapshot.zone, snapshot.dataset))
        _require_current(context.product, snapshot, plan)
        waiting += [
            store.load(name, source["dataset"], Zone(source["zone"]), source["snapshot_id"])
            for source in snapshot.provenance.get("inputs", [])
        ]
    return [found[position] for position in sorted(found)]


def _require_current(product: Product, snapshot: Snapshot, plan: Plan) -> None:
    """Refuse rows made under other contracts, another plan or other aggregates than the manifest states."""
    if snapshot.zone is Zone.MARTS:
        _require_declared(product, snapshot)
        return
    require_contract(snapshot, product.contracts[snapshot.dataset])
    if snapshot.zone is Zone.RAW:
        return
    if snapshot.provenance["plan"] != plan_digest(plan.datasets[snapshot.dataset]):
        raise DataRefusedError(
            f"{product.name}/protected/{snapshot.dataset} was protected under another plan",
            f"Run the whole build: secure-platform run {product.name}.",
        )


def _require_declared(product: Product, snapshot: Snapshot) -> None:
    declared = product.aggregates.by_name.get(snapshot.dataset) if product.aggregates else None
    if declared is not None and snapshot.provenance.get("declaration") != declaration_digest(declared):
        raise DataRefusedError(
            f"{product.name}/marts/{snapshot.dataset} was made under another declaration in aggregates.yaml",
            f"Run the whole build: secure-platform run {product.name}.",
        )


_REQUIRED = {Zone.RAW: RAW_VERDICTS, Zone.PROTECTED: PROTECTED_VERDICTS, Zone.MARTS: MART_VERDICTS}


def _verdicts(lineage: list[Snapshot]) -> dict[str, Any]:
    """`<zone>/<dataset>` → stage → what it decided and why."""
    return {f"{snapshot.zone}/{snapshot.dataset}": verdict_records(snapshot) for snapshot in lineage}
