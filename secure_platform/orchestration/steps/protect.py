"""Raw → protected: the plan is carried out as one lazy query into an encrypted sink, and then proved.

No original value is written down: results are counts by column.
"""

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import polars as pl

from secure_platform import canonical
from secure_platform.access.resources import ProductResource
from secure_platform.contract.product import Product
from secure_platform.errors import PlanRefusedError
from secure_platform.keys.ring import KeyRing
from secure_platform.monitor.profile import Measures, Profiler
from secure_platform.monitor.totals import Totals
from secure_platform.notify.spans import stage
from secure_platform.orchestration.steps.context import (
    CheckOutcome,
    StepContext,
    StepOutcome,
    input_key,
    require_contract,
)
from secure_platform.orchestration.steps.observe import (
    PROTECTED,
    labels_key,
    monitored,
    remember,
    terms_of,
    treated,
)
from secure_platform.orchestration.steps.pull import VERDICTS as RAW_VERDICTS
from secure_platform.orchestration.steps.pull import finding_record
from secure_platform.orchestration.steps.record import record_scan
from secure_platform.orchestration.steps.reports import reported
from secure_platform.orchestration.steps.retokenize import VERDICT as RETOKENIZED
from secure_platform.orchestration.steps.retokenize import proof
from secure_platform.orchestration.steps.rows import Rows, account, leaving, totalled
from secure_platform.orchestration.steps.scanning import product_scan
from secure_platform.protect.compiler import compile_plan
from secure_platform.protect.execute import apply, split_orphans
from secure_platform.protect.plan import DatasetPlan, Plan
from secure_platform.protect.residual import ANY, kept_formats, residual_values
from secure_platform.protect.vault import VAULT
from secure_platform.scan.feedback import Corrected
from secure_platform.scan.refusals import residual
from secure_platform.services import Services
from secure_platform.source.csv import LINE
from secure_platform.store.draft import Draft
from secure_platform.store.snapshot import Snapshot, Zone, require_verdicts
from secure_platform.store.snapshots import SnapshotStore
from secure_platform.taxonomy.classification import Classification
from secure_platform.validate.rules import cast_typed

SAFE_HARBOR: Final = "hipaa_safe_harbor"
VERDICTS: Final = ("rows", "reconciliation", "references", "residual", "classification")
KEYED: Final = frozenset({"hash", "tokenize", "vault", "encrypt", "fpe", "fake"})
"""After these a column is another one with every version of a key, or book of tokens: none is compared."""


def current_plan(product: Product, keys: KeyRing) -> Plan:
    """The product's plan at the current version of each domain's token key.

    Ages are counted at the first day of the year, so that unchanged data keep their plan for a year.
    """
    today = datetime.now(UTC).date()
    return compile_plan(product, keys.token_version, today.replace(month=1, day=1), today)


def output_classification(plan: Plan) -> Classification:
    """The highest classification of any column the plan lets out."""
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
    raws = _raws(context, related(context.product, dataset))
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


def related(product: Product, dataset: str) -> list[str]:
    """The dataset, those it refers to, those that these refer to, and so on."""
    found, waiting = {dataset}, [dataset]
    while waiting:
        new = set(product.contracts[waiting.pop()].parents) - found
        found |= new
        waiting.extend(new)
    return sorted(found)


def _require_same_books(
    plans: Mapping[str, DatasetPlan], dataset: str, parents: Mapping[str, Snapshot]
) -> None:
    """Refuse references to keys whose stored tokens are of another time than those of today's plan."""
    for column in plans[dataset].outputs:
        key = column.reference
        if column.full_name != VAULT or key is None or key.dataset not in parents:
            continue
        if parents[key.dataset].provenance["plan"] != plan_digest(plans[key.dataset]):
            raise PlanRefusedError(
                f"{dataset}.{column.column} has other stored tokens than {key.dataset}, which it refers to",
                "Run the whole build: their last day came between the two.",
            )


def _raws(context: StepContext, datasets: Iterable[str]) -> dict[str, Snapshot]:
    raws = {name: context.input(Zone.RAW, name) for name in datasets}
    for name, raw in raws.items():
        require_verdicts(raw, RAW_VERDICTS)
        require_contract(raw, context.product.contracts[name])
    return raws


@stage("protect")
def _carry_out(
    context: StepContext,
    draft: Draft,
    plans: Mapping[str, DatasetPlan],
    dataset: str,
    raws: Mapping[str, Snapshot],
    parents: Mapping[str, Snapshot],
) -> Measures:
    services, contract, plan = context.services, context.product.contracts[dataset], plans[dataset]
    text = valid_rows(services.store, raws[dataset])
    whole = {name: services.store.scan(parent) for name, parent in parents.items()}
    complete = _complete(context, plans, raws, parents)
    typed = cast_typed(contract, text)
    rows = leaving(plan, typed, whole, complete, services.keys)
    lasting = [
        column.column
        for column in plan.outputs
        if not any(each.transform in KEYED for each in column.every())
    ]
    profiler = Profiler(contract, labels_key(context), values=lasting)
    behind = rows.queries()
    totals = Totals(contract.monitor.reconcile, dataset)
    others = {
        name: totalled(
            plans[name], cast_typed(context.product.contracts[name], valid_rows(services.store, raws[name]))
        )
        for name in parents
    }
    sums = totals.queries(totalled(plan, typed), rows.kept, others)
    lost_rows, given_rows, *counts = draft.write(
        rows.kept,
        observe=[
            *(each.select(pl.len()) for each in (rows.orphans, text)),
            *behind,
            *sums,
            *profiler.queries(rows.kept),
        ],
    )
    output = draft.scan()
    stayed, counts = Rows.behind(counts[: len(behind)]), counts[len(behind) :]
    agree, compared = totals.compared(counts[: len(sums)])
    counts = counts[len(sums) :]
    given, orphans = int(given_rows.item()), int(lost_rows.item())
    tolerated = not orphans or (
        contract.on_invalid == "quarantine" and orphans <= contract.max_invalid_ratio * given
    )
    if orphans and tolerated:
        draft.write_quarantine(rows.orphans.collect(engine="streaming"))
    left = _count(output)
    anonymous, detail = account(plan, rows, output, stayed)
    draft.verdict(
        "rows",
        passed=left + orphans + stayed == given and anonymous,
        rows=left,
        orphans=orphans,
        valid_rows_given=given,
        **detail,
    )
    _reconcile(context, draft, raws[dataset], given, agree=agree, totals=compared)
    unresolved = _count(split_orphans(plan, output, whole)[1])
    draft.verdict(
        "references",
        passed=tolerated and not unresolved,
        orphans=orphans,
        unresolved=unresolved,
        on_invalid=contract.on_invalid,
    )
    found = left_over(context, dataset, output, kept_formats(plan))
    values = _values_left(context, output, raws, plan)
    draft.verdict(
        "residual",
        passed=not found.findings and not values,
        **residual_detail(found),
        original_values=values,
    )
    record_left(context, (Zone.PROTECTED, dataset, draft.snapshot_id), found, output)
    restricted = [c.column for c in plan.outputs if c.classification >= Classification.RESTRICTED]
    draft.verdict("classification", passed=not restricted, restricted_columns=restricted)
    if context.again is not None:
        draft.verdict(RETOKENIZED, passed=True, columns=proof(context, plan, output))
    return profiler.measures(counts)


def _reconcile(
    context: StepContext, draft: Draft, raw: Snapshot, given: int, *, agree: bool, totals: Mapping[str, Any]
) -> None:
    """The account of every row of the raw snapshot, by what validation says of it, and the control totals."""
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
    """The parents with the rows that stayed behind; empty if none could."""
    if not any(plans[name].suppression for parent in parents for name in related(context.product, parent)):
        return {}
    services, contracts = context.services, context.product.contracts
    return {
        name: apply(
            plans[name], cast_typed(contracts[name], valid_rows(services.store, raws[name])), services.keys
        )
        for name in parents
    }


@stage("scan")
def left_over(
    context: StepContext, table: str, output: pl.LazyFrame, formats: Mapping[str, Collection[str]]
) -> Corrected:
    """Findings in a protected frame that must not be there under the product's profile.

    Args:
        context: Names the product.
        table: The dataset or mart.
        output: The frame as it was written.
        formats: Columns in which something is found on purpose, and which info types.
    """
    # Observed beside the write, the rows would wait for the slower of the two in a buffer without a limit.
    scan = product_scan(context.product)
    corrected = scan.findings(table, output)
    found = [
        finding
        for finding in corrected.findings
        if not {ANY, finding.info_type} & set(formats.get(finding.column, ()))
    ]
    harbor = context.product.profile == SAFE_HARBOR
    return replace(corrected, findings=residual(found, scan.scanner.types, safe_harbor=harbor))


def record_left(
    context: StepContext, place: tuple[Zone, str, str], left: Corrected, output: pl.LazyFrame
) -> None:
    """Append to the audit log what the residual scan found: all of it is refused."""
    columns = output.collect_schema().names()
    record_scan(context, place, left.findings, refused=left.findings, columns=columns)


def residual_detail(left: Corrected) -> dict[str, Any]:
    """What the residual scan found and what readers corrected, for the verdict."""
    return {
        "findings": [finding_record(finding) for finding in left.findings],
        "feedback": left.record(),
    }


def original_values_left(
    context: StepContext, output: pl.LazyFrame, datasets: Iterable[str], plan: DatasetPlan | None
) -> list[dict[str, Any]]:
    """Cells of a frame that equal or contain an original value which must not be there.

    Args:
        context: The run, whose raw snapshots are read.
        output: The frame as it was written.
        datasets: Whose originals are looked for.
        plan: Of the dataset that `output` is; None for a mart.

    Returns:
        `column` and `count` of each column that has such cells.

    Raises:
        IntegrityError: If a raw snapshot is not what was written.
        DataRefusedError: If a raw snapshot is missing, was refused or is of another version of its contract.
    """
    return _values_left(context, output, _raws(context, datasets), plan)


def _values_left(
    context: StepContext, output: pl.LazyFrame, raws: Mapping[str, Snapshot], plan: DatasetPlan | None
) -> list[dict[str, Any]]:
    services = context.services
    plans = current_plan(context.product, services.keys).datasets
    originals = [(valid_rows(services.store, raw), plans[name]) for name, raw in raws.items()]
    values = residual_values(originals, output, plan, services.keys.digest_key("residual").key)
    return [{"column": column, "count": count} for column, count in values]


def valid_rows(store: SnapshotStore, raw: Snapshot) -> pl.LazyFrame:
    """The raw text without the lines that validation set aside."""
    text = store.scan(raw)
    quarantine = store.quarantine(raw)
    if quarantine is None:
        return text
    return text.join(quarantine.select(LINE).unique(), on=LINE, how="anti", maintain_order="left")


def _count(frame: pl.LazyFrame) -> int:
    return int(frame.select(pl.len()).collect(engine="streaming").item())


def _outcome(context: StepContext, snapshot: Snapshot) -> StepOutcome:
    proved = tuple(
        CheckOutcome(name, snapshot.verdicts[name].passed, snapshot.verdicts[name].detail)
        for name in VERDICTS
    )
    terms = terms_of(context.product.contracts[snapshot.dataset])
    return StepOutcome(snapshot, (*proved, *monitored(context, snapshot, terms, PROTECTED)))
