"""Protected → marts: a table of statistics with noise, drawn once for each state of its input.

The spend is in the ledger before the noise is drawn. Made again from the same input, the table is the same
and nothing is spent, whether or not its snapshot still exists.
"""

import time
from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from secure_platform import canonical
from secure_platform.contract.aggregates import Aggregate, Aggregates
from secure_platform.errors import UsageError
from secure_platform.monitor.profile import Measures, Profiler
from secure_platform.orchestration.steps.context import StepContext, StepOutcome, input_key, verdict_checks
from secure_platform.orchestration.steps.contributing import MadeOf, contributing, followed, made_of
from secure_platform.orchestration.steps.observe import (
    MARTS,
    found_by,
    labels_key,
    monitored,
    product_terms,
    remember,
    treated,
)
from secure_platform.orchestration.steps.originals import raw_snapshots, related
from secure_platform.orchestration.steps.protect import VERDICTS as PROTECTED_VERDICTS
from secure_platform.orchestration.steps.protect import current_plan, lineage_record, plan_digest
from secure_platform.orchestration.steps.reports import reported
from secure_platform.orchestration.steps.residual import RESIDUAL, judge_residual
from secure_platform.orchestration.steps.scanning import product_scan
from secure_platform.protect.aggregate import answered
from secure_platform.protect.aggregate_rules import subject_of
from secure_platform.protect.budget import Spend
from secure_platform.protect.plan import DatasetPlan, Plan
from secure_platform.protect.residual import kept_formats
from secure_platform.protect.reversible import AT_RANDOM
from secure_platform.protect.told import errors, identity, noise_domain, order_key, told
from secure_platform.store.draft import Draft
from secure_platform.store.snapshot import Snapshot, Zone, require_verdicts
from secure_platform.taxonomy.classification import Classification

VERDICTS: Final = ("budget", RESIDUAL)


def aggregate(context: StepContext, name: str) -> StepOutcome:
    """Make one aggregate, or find that its snapshot is already there.

    Raises:
        IntegrityError: If the input is not what was written, or the ledger not what was recorded.
        DataRefusedError: If the input's verdict is missing or failed, or the budget is spent.
    """
    services, product = context.services, context.product
    document, declared = _declared(context, name)
    source = context.input(Zone.PROTECTED, declared.source)
    require_verdicts(source, PROTECTED_VERDICTS)
    whole = current_plan(product, services.keys)
    plan = whole.datasets[declared.source]
    key = input_key(
        stage="aggregate",
        source=source.snapshot_id,
        plans={name: plan_digest(whole.datasets[name]) for name in related(product, declared.source)},
        # Their values are looked for in what is told.
        originals={each: context.input(Zone.RAW, each).snapshot_id for each in product.contracts},
        declared=declared.model_dump(mode="json"),
        scan=product_scan(product).digest(name),
    )
    known = services.store.find(product.name, name, Zone.MARTS, key)
    if known is not None:
        services.store.set_head(known, actor=context.requester)
        return _outcome(context, known)
    began = time.monotonic()
    table, spend, again = _tell(context, document, declared, made_of(context, whole, source), whole)
    with services.store.draft(product.name, name, Zone.MARTS, actor=context.requester) as draft:
        measures = _judge(context, draft, declared, whole.datasets, table, spend, again=again)
        snapshot = draft.commit(
            input_key=key,
            contract_version="",
            contract_digest="",
            provenance={
                "run_id": context.run_id,
                "declaration": declaration_digest(declared),
                "classification": classification(declared, plan).label,
                "inputs": [lineage_record(source)],
                "column_lineage": {
                    column: [[declared.source, source_column]] if source_column else []
                    for column, source_column in _sources(declared).items()
                },
            },
        )
    findings = found_by(snapshot.verdicts[RESIDUAL])
    terms, seconds = product_terms(product), time.monotonic() - began
    said = treated([declaration_digest(declared), plan.treatment])
    remember(context, snapshot, terms, measures, findings=findings, seconds=seconds, said=said)
    return _outcome(context, snapshot)


def declaration_digest(declared: Aggregate) -> str:
    """`sha256:<hex>` over the declaration of one aggregate."""
    return canonical.sha256(canonical.dumps(declared.model_dump(mode="json")))


def classification(declared: Aggregate, plan: DatasetPlan) -> Classification:
    """The highest classification of its groups, which have no noise; numbers with noise are internal."""
    grouped = {group.column for group in declared.group_by}
    levels = [column.classification for column in plan.outputs if column.column in grouped]
    return max([Classification.INTERNAL, *levels])


def _declared(context: StepContext, name: str) -> tuple[Aggregates, Aggregate]:
    document = context.product.aggregates
    if document is None or name not in document.by_name:
        raise UsageError(
            f"{context.product.name} declares no aggregate {name}", "Declare it in aggregates.yaml."
        )
    return document, document.by_name[name]


def _tell(
    context: StepContext, document: Aggregates, declared: Aggregate, source: MadeOf, plan: Plan
) -> tuple[pl.DataFrame, Spend, bool]:
    """Spend first, then draw the noise; also returns whether it was spent before."""
    services, product = context.services, context.product
    keys, domain = services.keys, noise_domain(product.name)
    key = keys.token_key(domain)
    subject = subject_of(product.contracts[declared.source])
    frame = contributing(context, plan, source)
    answer = answered(declared, frame, subject, order_key(key))
    of_this = identity(product.name, declared, _input_digest(context, source, plan), answer)
    spend, again = services.budget.spend(
        product.name, document.budget, declared, of_this, key.version, actor=context.requester
    )
    drawn_by = keys.token_key(domain, spend.key_version)
    return told(declared, answer, frame.collect_schema(), drawn_by, of_this), spend, again


def _input_digest(context: StepContext, source: MadeOf, plan: Plan) -> str:
    """A digest that changes with everything that decides which rows count: contents, or provenance.

    Randomly encrypted cells differ each time, so there the content cannot be used.
    """
    datasets = [each.snapshot for each, _ in followed(context, plan, source)]
    outputs = [column for each in datasets for column in plan.datasets[each.dataset].outputs]
    if any(part.full_name == AT_RANDOM for column in outputs for part in column.every()):
        return canonical.dumps(_provenance(source)).decode()
    if len(datasets) == 1:
        return source.snapshot.content_digest
    return canonical.dumps([[each.dataset, each.content_digest] for each in datasets]).decode()


def _provenance(source: MadeOf) -> dict[str, list[Any]]:
    made: dict[str, list[Any]] = {}
    for each in source.every():
        # The plan, and what was rewritten since.
        said = each.snapshot.provenance
        how = {name: what for name, what in said.items() if name not in {"run_id", "inputs"}}
        found = [how, each.snapshot.contract_digest, each.raw.content_digest]
        before = made.setdefault(each.snapshot.dataset, [])
        before += [part for part in found if part not in before]
    return made


def _judge(
    context: StepContext,
    draft: Draft,
    declared: Aggregate,
    plans: Mapping[str, DatasetPlan],
    table: pl.DataFrame,
    spend: Spend,
    *,
    again: bool,
) -> Measures:
    plan, lazy = plans[declared.source], table.lazy()
    profiler = Profiler(None, labels_key(context), values=declared.columns)
    counts = draft.write(lazy, observe=profiler.queries(lazy))
    draft.verdict("budget", passed=True, **_spent(declared, spend, again=again))
    kept = kept_formats(plan)
    formats = {group.column: kept[group.column] for group in declared.group_by if group.column in kept}
    raws = raw_snapshots(context, context.product.contracts)
    judge_residual(context, draft, (Zone.MARTS, declared.name), raws, plans, formats=formats)
    return profiler.measures(counts)


def _spent(declared: Aggregate, spend: Spend, *, again: bool) -> dict[str, Any]:
    return {
        **{name: value for name, value in spend.to_json().items() if name != "aggregate"},
        "spent_before": again,
        "privacy_unit": "person",
        "contribution": declared.contribution.model_dump(mode="json"),
        "expected_error": {error.measure: error.to_json() for error in errors(declared)},
    }


def _sources(declared: Aggregate) -> dict[str, str | None]:
    return {
        **{group.column: group.column for group in declared.group_by},
        **{measure.name: measure.column for measure in declared.measures},
    }


def _outcome(context: StepContext, snapshot: Snapshot) -> StepOutcome:
    watched = monitored(context, snapshot, product_terms(context.product), MARTS)
    return reported(context, StepOutcome(snapshot, (*verdict_checks(snapshot, VERDICTS), *watched)))
