"""Raw → protected: the plan is executed as one lazy query into an encrypted sink, and the result is proved.

No original value is written down: results are counts by column.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

import polars as pl

from secure_platform import canonical
from secure_platform.access.resources import ProductResource
from secure_platform.contract.model import Contract
from secure_platform.contract.product import Product
from secure_platform.errors import ContractError, PlanRefusedError
from secure_platform.keys.ring import KeyRing
from secure_platform.monitor.profile import Measures, Profiler
from secure_platform.monitor.totals import Totals
from secure_platform.notify.spans import stage
from secure_platform.orchestration.steps.context import StepContext, StepOutcome, input_key, verdict_checks
from secure_platform.orchestration.steps.observe import (
    PROTECTED,
    labels_key,
    monitored,
    remember,
    terms_of,
    treated,
)
from secure_platform.orchestration.steps.originals import raw_snapshots, related, typed_rows, valid_rows
from secure_platform.orchestration.steps.reports import reported
from secure_platform.orchestration.steps.residual import RESIDUAL, judge_residual
from secure_platform.orchestration.steps.retokenize import VERDICT as RETOKENIZED
from secure_platform.orchestration.steps.retokenize import proof
from secure_platform.orchestration.steps.rows import Rows, account, leaving, totalled
from secure_platform.orchestration.steps.scanning import product_scan
from secure_platform.protect.compiler import compile_plan
from secure_platform.protect.execute import apply, split_orphans
from secure_platform.protect.plan import DatasetPlan, Plan
from secure_platform.protect.residual import kept_formats
from secure_platform.protect.vault import VAULT
from secure_platform.services import Services
from secure_platform.source.csv import LINE
from secure_platform.store.draft import Draft
from secure_platform.store.snapshot import Snapshot, Zone, require_verdicts
from secure_platform.taxonomy.classification import Classification

VERDICTS: Final = ("rows", "reconciliation", "references", RESIDUAL, "classification")
KEYED: Final = frozenset({"hash", "tokenize", "vault", "encrypt", "fpe", "fake"})
"""After these a column is another one with every version of a key, or book of tokens: none is compared."""


def current_plan(product: Product, keys: KeyRing) -> Plan:
    """The product's plan at the current version of each domain's token key.

    Ages are calculated at the first day of the year, so that unchanged data keep their plan for a year.

    Raises:
        PlanRefusedError: Naming the product, and what of it cannot be protected as its profile requires.
    """
    today = datetime.now(UTC).date()
    try:
        return compile_plan(product, keys.token_version, today.replace(month=1, day=1), today)
    except (PlanRefusedError, ContractError) as refused:
        raise PlanRefusedError(
            f"The plan of {product.name} is refused: {refused.culprit}", refused.fix
        ) from None


def output_classification(plan: Plan) -> Classification:
    """The highest classification of the plan's output columns."""
    return max(
        (column.classification for dataset in plan.datasets.values() for column in dataset.outputs),
        default=Classification.PUBLIC,
    )


def product_resource(services: Services, product: Product) -> ProductResource:
    """The product as the policy sees it."""
    return ProductResource(
        name=product.name,
        environment=services.settings.environment,
        classification=int(output_classification(current_plan(product, services.keys))),
    )


def protect(context: StepContext, dataset: str) -> StepOutcome:
    """Protect one dataset, or find that its snapshot is already there.

    Raises:
        IntegrityError: If an input is not what was written.
        DataRefusedError: If an input's verdict is missing or failed.
        PlanRefusedError: If the plan cannot be carried out.
    """
    store = context.services.store
    contract = context.product.contracts[dataset]
    plans = current_plan(context.product, context.services.keys).datasets
    plan = plans[dataset]
    raws = raw_snapshots(context, related(context.product, dataset))
    raw = raws[dataset]
    parents = {name: context.input(Zone.PROTECTED, name) for name in contract.parents}
    for parent in parents.values():
        require_verdicts(parent, VERDICTS)
    _require_same_books(plans, dataset, parents)
    key = input_key(
        stage="protect",
        raws={name: snapshot.snapshot_id for name, snapshot in raws.items()},
        contract=contract.digest,
        plans={name: plan_digest(plans[name]) for name in raws},
        parents={name: parent.snapshot_id for name, parent in parents.items()},
        scan=product_scan(context.product).digest(dataset),
        again=context.released(Zone.PROTECTED, dataset),
    )
    known = store.find(context.product.name, dataset, Zone.PROTECTED, key)
    if known is not None:
        store.set_head(known, actor=context.requester)
        return reported(context, _outcome(context, known))
    began = time.monotonic()
    with store.draft(context.product.name, dataset, Zone.PROTECTED, actor=context.requester) as draft:
        measures = _carry_out(context, draft, plans, dataset, raws, parents)
        snapshot = draft.commit(
            input_key=key,
            contract_version=contract.version,
            contract_digest=contract.digest,
            provenance={
                "run_id": context.run_id,
                "plan": plan_digest(plan),
                "inputs": [lineage_record(raw), *map(lineage_record, parents.values())],
            },
        )
    terms, seconds = terms_of(contract), time.monotonic() - began
    remember(context, snapshot, terms, measures, findings={}, seconds=seconds, said=treated(plan.treatment))
    return reported(context, _outcome(context, snapshot))


def plan_digest(plan: DatasetPlan) -> str:
    """`sha256:<hex>` over what the plan does to each column of one dataset."""
    rows = [plan.suppression.to_json()] if plan.suppression else []
    return canonical.sha256(canonical.dumps([*(column.to_json() for column in plan.columns), *rows]))


def lineage_record(snapshot: Snapshot) -> dict[str, Any]:
    """What a later stage writes down about a snapshot it read."""
    return {
        "product": snapshot.product,
        "dataset": snapshot.dataset,
        "zone": str(snapshot.zone),
        "snapshot_id": snapshot.snapshot_id,
        "content_digest": snapshot.content_digest,
        "contract_version": snapshot.contract_version,
    }


def _require_same_books(
    plans: Mapping[str, DatasetPlan], dataset: str, parents: Mapping[str, Snapshot]
) -> None:
    """Refuse references to keys whose stored tokens are of another period than those of today's plan."""
    for column in plans[dataset].outputs:
        key = column.reference
        if column.full_name != VAULT or key is None or key.dataset not in parents:
            continue
        if parents[key.dataset].provenance["plan"] != plan_digest(plans[key.dataset]):
            raise PlanRefusedError(
                f"{dataset}.{column.column} has other stored tokens than {key.dataset}, which it refers to",
                "Run the whole build: their last day came between the two.",
            )


@dataclass(frozen=True)
class _Written:
    """What was counted in the pass that wrote the rows.

    Attributes:
        given: Valid rows of the raw snapshot.
        orphans: Rows that point at a key that does not exist.
        behind: Rows that stayed behind.
        totals: Results of the control totals' queries.
        profile: Results of the profiler's queries.
    """

    given: int
    orphans: int
    behind: int
    totals: list[pl.DataFrame]
    profile: list[pl.DataFrame]


@stage("protect")
def _carry_out(
    context: StepContext,
    draft: Draft,
    plans: Mapping[str, DatasetPlan],
    dataset: str,
    raws: Mapping[str, Snapshot],
    parents: Mapping[str, Snapshot],
) -> Measures:
    """Write the rows that leave the raw zone, and record every verdict on them."""
    services, contract, plan = context.services, context.product.contracts[dataset], plans[dataset]
    text, typed = valid_rows(services.store, raws[dataset]), typed_rows(context, raws[dataset])
    whole = {name: services.store.scan(parent) for name, parent in parents.items()}
    rows = leaving(plan, typed, whole, _complete(context, plans, raws, parents), services.keys)
    profiler = Profiler(contract, labels_key(context), values=_lasting(plan))
    totals = Totals(contract.monitor.reconcile, dataset)
    others = {name: totalled(plans[name], typed_rows(context, raws[name])) for name in parents}
    sums = totals.queries(totalled(plan, typed), rows.kept, others)
    written = _write(draft, rows, text, sums, profiler.queries(rows.kept))
    tolerated = _tolerated(contract, written)
    if written.orphans and tolerated:
        draft.write_quarantine(rows.orphans.collect(engine="streaming"))
    output = draft.scan()
    _judge_rows(draft, plan, rows, output, written)
    agree, compared = totals.compared(written.totals)
    _reconcile(context, draft, raws[dataset], written.given, agree=agree, totals=compared)
    _judge_references(draft, plan, contract, whole, written.orphans, tolerated=tolerated)
    judge_residual(context, draft, (Zone.PROTECTED, dataset), raws, plans, formats=kept_formats(plan))
    restricted = [c.column for c in plan.outputs if c.classification >= Classification.RESTRICTED]
    draft.verdict("classification", passed=not restricted, restricted_columns=restricted)
    if context.again is not None:
        draft.verdict(RETOKENIZED, passed=True, columns=proof(context, plan, output))
    return profiler.measures(written.profile)


def _lasting(plan: DatasetPlan) -> list[str]:
    """The columns that no change of key changes: their values can be compared with the past."""
    return [
        column.column
        for column in plan.outputs
        if not any(each.transform in KEYED for each in column.every())
    ]


def _write(
    draft: Draft,
    rows: Rows,
    text: pl.LazyFrame,
    totals: Sequence[pl.LazyFrame],
    profile: Sequence[pl.LazyFrame],
) -> _Written:
    """Write the rows and count everything else in the same pass."""
    lengths = [each.select(pl.len()) for each in (rows.orphans, text)]
    behind = rows.queries()
    results = iter(draft.write(rows.kept, observe=[*lengths, *behind, *totals, *profile]))
    orphans, given = (int(next(results).item()) for _ in lengths)
    return _Written(
        given,
        orphans,
        Rows.behind(list(islice(results, len(behind)))),
        list(islice(results, len(totals))),
        list(results),
    )


def _tolerated(contract: Contract, written: _Written) -> bool:
    """Whether the contract allows this many orphans."""
    return not written.orphans or (
        contract.on_invalid == "quarantine" and written.orphans <= contract.max_invalid_ratio * written.given
    )


def _judge_rows(draft: Draft, plan: DatasetPlan, rows: Rows, output: pl.LazyFrame, written: _Written) -> None:
    """Every valid row is in the output, is an orphan or stayed behind; and the output is anonymous enough."""
    left = _count(output)
    anonymous, detail = account(plan, rows, output, written.behind)
    draft.verdict(
        "rows",
        passed=left + written.orphans + written.behind == written.given and anonymous,
        rows=left,
        orphans=written.orphans,
        valid_rows_given=written.given,
        **detail,
    )


def _judge_references(
    draft: Draft,
    plan: DatasetPlan,
    contract: Contract,
    parents: Mapping[str, pl.LazyFrame],
    orphans: int,
    *,
    tolerated: bool,
) -> None:
    """Every foreign key in the output is in its parent, and the orphans are as few as the contract allows."""
    unresolved = _count(split_orphans(plan, draft.scan(), parents)[1])
    draft.verdict(
        "references",
        passed=tolerated and not unresolved,
        orphans=orphans,
        unresolved=unresolved,
        on_invalid=contract.on_invalid,
    )


def _reconcile(
    context: StepContext, draft: Draft, raw: Snapshot, given: int, *, agree: bool, totals: Mapping[str, Any]
) -> None:
    """Every row of the raw snapshot is valid or was set aside by validation; and the control totals agree."""
    quarantine = context.services.store.quarantine(raw)
    aside = 0 if quarantine is None else _count(quarantine.filter(pl.col("record").is_null()).unique(LINE))
    draft.verdict(
        "reconciliation",
        passed=raw.rows == given + aside and agree,
        raw_rows=raw.rows,
        set_aside=aside,
        valid_rows_given=given,
        erased=raw.provenance.get("erased_rows", "0"),
        totals=totals,
    )


def _complete(
    context: StepContext,
    plans: Mapping[str, DatasetPlan],
    raws: Mapping[str, Snapshot],
    parents: Iterable[str],
) -> dict[str, pl.LazyFrame]:
    """The protected parents including the rows that stayed behind; empty if none could."""
    if not any(plans[name].suppression for parent in parents for name in related(context.product, parent)):
        return {}
    keys = context.services.keys
    return {name: apply(plans[name], typed_rows(context, raws[name]), keys) for name in parents}


def _count(frame: pl.LazyFrame) -> int:
    return int(frame.select(pl.len()).collect(engine="streaming").item())


def _outcome(context: StepContext, snapshot: Snapshot) -> StepOutcome:
    terms = terms_of(context.product.contracts[snapshot.dataset])
    checks = (*verdict_checks(snapshot, VERDICTS), *monitored(context, snapshot, terms, PROTECTED))
    return StepOutcome(snapshot, checks)
