"""Protected → marts: one dbt build over an encrypted database that lives for this step only.

The tables are read back, scanned once more and committed as snapshots; the tests that dbt ran on a model are
its verdict.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from secure_platform.errors import DataRefusedError
from secure_platform.monitor.profile import Measures, Profiler
from secure_platform.notify.spans import stage
from secure_platform.orchestration.dbt import (
    MANIFEST,
    DbtRun,
    load_manifest,
    models_of,
    part_of,
    project_digest,
    read_json,
    reuse_parsing,
    run_dbt,
)
from secure_platform.orchestration.dbt_record import dbt_record
from secure_platform.orchestration.dbt_rules import require_confined
from secure_platform.orchestration.steps.context import (
    CheckOutcome,
    StepContext,
    StepOutcome,
    input_key,
    verdict_checks,
)
from secure_platform.orchestration.steps.observe import (
    MARTS,
    Terms,
    found_by,
    labels_key,
    monitored,
    product_terms,
    remember,
    treated,
)
from secure_platform.orchestration.steps.originals import raw_snapshots
from secure_platform.orchestration.steps.protect import KEYED, current_plan, lineage_record
from secure_platform.orchestration.steps.protect import VERDICTS as PROTECTED_VERDICTS
from secure_platform.orchestration.steps.reports import reported
from secure_platform.orchestration.steps.residual import RESIDUAL, judge_residual
from secure_platform.orchestration.steps.scanning import product_scan
from secure_platform.protect.plan import DatasetPlan
from secure_platform.protect.residual import kept_formats
from secure_platform.store.snapshot import Snapshot, Zone, require_verdicts
from secure_platform.store.temporary import claimed_directory
from secure_platform.store.warehouse import BuildWarehouse

if TYPE_CHECKING:
    from secure_platform.orchestration.lineage import ColumnLineage

VERDICTS: Final = ("dbt", RESIDUAL)
PASSED: Final = frozenset({"pass", "success"})
"""A test that only warns and fails is a failed verdict."""
TEXT: Final = "String"


@dataclass(frozen=True)
class Mart:
    """A dbt model of the product.

    Attributes:
        name: Model and table name.
        unique_id: dbt's name of the model.
        tests: dbt's names of the tests that judge it.
        sources: Datasets of the product it reads, directly or through other models.
        classification: Label of the highest classification its YAML declares for it or a column.
    """

    name: str
    unique_id: str
    tests: tuple[str, ...]
    sources: tuple[str, ...]
    classification: str


@dataclass(frozen=True)
class MartsOutcome:
    """Every mart's snapshot and checks, and where its columns come from."""

    marts: Mapping[str, StepOutcome]
    tests: Mapping[str, bool]
    lineage: "Mapping[str, ColumnLineage]"


def build_marts(context: StepContext, marts: Mapping[str, Mart]) -> MartsOutcome:
    """Build all marts of the product, or find that their snapshots are already there.

    Raises:
        IntegrityError: If an input is not what was written.
        DataRefusedError: If an input's verdict is missing or failed, or dbt could not build a model.
    """
    services, product = context.services, context.product
    inputs = {name: context.input(Zone.PROTECTED, name) for name in product.contracts}
    for snapshot in inputs.values():
        require_verdicts(snapshot, PROTECTED_VERDICTS)
    digest = project_digest(services.settings.dbt_project)
    key = input_key(
        stage="marts",
        inputs={name: snapshot.snapshot_id for name, snapshot in inputs.items()},
        # Their values are looked for in the marts.
        originals={name: context.input(Zone.RAW, name).snapshot_id for name in product.contracts},
        dbt=digest,
        scan={name: product_scan(product).digest(name) for name in marts},
    )
    known = {name: services.store.find(product.name, name, Zone.MARTS, key) for name in marts}
    reused = {name: snapshot for name, snapshot in known.items() if snapshot is not None}
    if len(reused) == len(marts):
        for snapshot in reused.values():
            services.store.set_head(snapshot, actor=context.requester)
        return _outcome(context, reused)
    began, terms = time.monotonic(), product_terms(product)
    plans = current_plan(product, services.keys).datasets
    built = _build(context, marts, inputs, plans, key, digest)
    seconds = time.monotonic() - began
    said = treated([plans[name].treatment for name in sorted(plans)])
    for snapshot, measures in built.values():
        findings = found_by(snapshot.verdicts[RESIDUAL])
        remember(context, snapshot, terms, measures, findings=findings, seconds=seconds, said=said)
    return _outcome(context, {name: snapshot for name, (snapshot, _) in built.items()})


@dataclass(frozen=True)
class _Build:
    """One dbt build, from which every mart is committed.

    Attributes:
        key: Input key of all its marts.
        inputs: The protected snapshots that dbt read, by dataset.
        plans: What was done to the columns of these datasets.
        run: What dbt reported.
        lineages: Mart → where its columns come from; a mart comes after the marts that it reads.
        record: The dbt project and its versions, for the provenance.
    """

    key: str
    inputs: Mapping[str, Snapshot]
    plans: Mapping[str, DatasetPlan]
    run: DbtRun
    lineages: Mapping[str, "ColumnLineage"]
    record: Mapping[str, Any]


def _build(
    context: StepContext,
    marts: Mapping[str, Mart],
    inputs: Mapping[str, Snapshot],
    plans: Mapping[str, DatasetPlan],
    key: str,
    digest: str,
) -> dict[str, tuple[Snapshot, Measures]]:
    # Its parser of SQL takes a while to import, and only a build needs it.
    from secure_platform.orchestration.lineage import column_lineage  # noqa: PLC0415

    services, product = context.services, context.product
    project, manifest = services.settings.dbt_project, load_manifest(services.settings)
    with BuildWarehouse(services.temporary, services.settings.memory_limit) as warehouse:
        for name, snapshot in inputs.items():
            warehouse.load(name, services.store.scan(snapshot))
        with claimed_directory(services.temporary, "build") as target:
            reuse_parsing(services.settings, digest, target)
            with stage("dbt"):
                run = run_dbt(
                    project,
                    ["build", "--select", models_of(manifest, product.name)],
                    target=target,
                    environment=warehouse.environment(),
                )
            built = read_json(target / MANIFEST)
        require_built(marts, run)
        require_confined(built)
        if project_digest(project) != digest:
            raise DataRefusedError("The dbt project changed while it was built", "Run the build again.")
        record = dbt_record(project, digest, part_of(built, product.name), run.compiled)
        lineages = column_lineage(built, run.compiled, {n: s.columns for n, s in inputs.items()})
        build = _Build(key, inputs, plans, run, lineages, record)
        return {name: _commit(context, warehouse, mart, build) for name, mart in marts.items()}


def formats_kept(
    plans: Mapping[str, DatasetPlan], lineages: Mapping[str, "ColumnLineage"], mart: str
) -> dict[str, frozenset[str]]:
    """The columns of a mart that come only from columns in which findings are expected, and their types."""
    found = {
        (name, column): kinds for name, plan in plans.items() for column, kinds in kept_formats(plan).items()
    }
    for name, lineage in lineages.items():
        found |= {
            (name, column): frozenset().union(*(found[source] for source in sources))
            for column, sources in lineage.items()
            if sources and found.keys() >= set(sources)
        }
    return {column: kinds for (name, column), kinds in found.items() if name == mart}


def _lasting(
    plans: Mapping[str, DatasetPlan], lineages: Mapping[str, "ColumnLineage"], mart: str
) -> set[str]:
    """The columns of a mart whose numbers do not change with a key; none if its SQL cannot be traced.

    What a key turns into text is not a number: a mart can only count it.
    """
    keyed = {
        (name, column.column)
        for name, plan in plans.items()
        for column in plan.outputs
        if column.transform in KEYED and column.output_type != TEXT
    }
    for name, lineage in lineages.items():
        keyed |= {(name, column) for column, sources in lineage.items() if keyed.intersection(sources)}
    return {column for column in lineages.get(mart, {}) if (mart, column) not in keyed}


def require_built(marts: Mapping[str, Mart], run: DbtRun) -> None:
    """Refuse a build that failed in a way that no mart's verdict would show."""
    judged = {test for mart in marts.values() for test in mart.tests}
    unjudged = sorted(
        name
        for name, status in run.results.items()
        if name.startswith("test.") and status not in PASSED and name not in judged
    )
    if unjudged:
        raise DataRefusedError(
            f"These dbt tests failed and belong to no mart: {', '.join(unjudged)}",
            "Correct the data, or name the model they judge in `meta.dagster.ref`.",
        )
    if not run.succeeded and all(status in PASSED for status in run.results.values()):
        raise DataRefusedError(
            "dbt failed before it built anything",
            "Its output is withheld because it may contain data; run dbt on data you may look at.",
        )
    failed = sorted(name for name, mart in marts.items() if run.results.get(mart.unique_id) not in PASSED)
    tested_away = any(status == "fail" for status in run.results.values())
    if failed and not tested_away:
        raise DataRefusedError(
            f"dbt could not build {', '.join(failed)}",
            "Its output is withheld because it may contain data; build it on data you may look at.",
        )
    if failed:
        tests = sorted(name for name, status in run.results.items() if status == "fail")
        raise DataRefusedError(
            f"dbt did not build {', '.join(failed)} because these tests failed: {', '.join(tests)}",
            "Correct the data or the model.",
        )


def _commit(
    context: StepContext, warehouse: BuildWarehouse, mart: Mart, build: _Build
) -> tuple[Snapshot, Measures]:
    """Read one mart back from the warehouse, judge it, and commit it."""
    product = context.product
    with context.services.store.draft(product.name, mart.name, Zone.MARTS, actor=context.requester) as draft:
        table = warehouse.table(product.name, mart.name)
        lasting = _lasting(build.plans, build.lineages, mart.name)
        profiler = Profiler(None, labels_key(context), values=lasting)
        counts = draft.write(table, observe=profiler.queries(table))
        tests = {test: build.run.results.get(test) in PASSED for test in mart.tests}
        draft.verdict("dbt", passed=all(tests.values()), tests=tests)
        raws = raw_snapshots(context, product.contracts)
        formats = formats_kept(build.plans, build.lineages, mart.name)
        judge_residual(context, draft, (Zone.MARTS, mart.name), raws, build.plans, formats=formats)
        snapshot = draft.commit(
            input_key=build.key,
            contract_version="",
            contract_digest="",
            provenance={
                "run_id": context.run_id,
                "classification": mart.classification,
                "dbt": build.record,
                "inputs": [lineage_record(build.inputs[name]) for name in mart.sources],
                "column_lineage": {
                    column: [list(source) for source in sources]
                    for column, sources in build.lineages.get(mart.name, {}).items()
                },
            },
        )
    return snapshot, profiler.measures(counts)


def _outcome(context: StepContext, snapshots: Mapping[str, Snapshot]) -> MartsOutcome:
    tests: dict[str, bool] = {}
    terms = product_terms(context.product)
    for snapshot in snapshots.values():
        recorded: dict[str, Any] = dict(snapshot.verdicts["dbt"].detail)
        tests |= recorded.get("tests", {})
    return MartsOutcome(
        marts={
            name: reported(context, StepOutcome(snapshot, _checks(context, snapshot, terms)))
            for name, snapshot in snapshots.items()
        },
        tests=tests,
        lineage={
            name: {
                column: tuple((table, source) for table, source in sources)
                for column, sources in snapshot.provenance.get("column_lineage", {}).items()
            }
            for name, snapshot in snapshots.items()
        },
    )


def _checks(context: StepContext, snapshot: Snapshot, terms: Terms) -> tuple[CheckOutcome, ...]:
    return (*verdict_checks(snapshot, (RESIDUAL,)), *monitored(context, snapshot, terms, MARTS))
