"""Runs and steps of products become OpenLineage events: START, then COMPLETE, FAIL or ABORT.

A step is a run of its own below the Dagster run, and what its checks said is another one: OpenLineage has
assertions on what is read only. All is taken from the redacted events of the step's own process, which hold
names, types, counts and digests; nothing is read from the data. Events are written down where the settings
say (`notify.feed`), never sent from here. Assets of other packages are left out.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid5

import dagster as dg
from dagster._core.events import DagsterEventType

from secure_platform.contract.product import Product
from secure_platform.orchestration.launch import asset_event
from secure_platform.orchestration.lineage_declared import describe, inputs_of, namespace, outputs_of
from secure_platform.orchestration.openlineage import (
    PRODUCTION,
    RELEASE,
    SPEC,
    Body,
    Described,
    Made,
    assertions,
    facets,
    producer,
)
from secure_platform.orchestration.presentation import COLUMN_SCHEMA, PRODUCT_TAG
from secure_platform.services import Services
from secure_platform.store.snapshot import Zone

if TYPE_CHECKING:
    from dagster._core.events.log import EventLogEntry

RUNS: Final[Mapping[DagsterEventType, str]] = {
    DagsterEventType.RUN_START: "START",
    DagsterEventType.RUN_SUCCESS: "COMPLETE",
    DagsterEventType.RUN_FAILURE: "FAIL",
    DagsterEventType.RUN_CANCELED: "ABORT",
}
STEPS: Final[Mapping[DagsterEventType, str]] = {
    DagsterEventType.STEP_START: "START",
    DagsterEventType.STEP_SUCCESS: "COMPLETE",
    DagsterEventType.STEP_FAILURE: "FAIL",
}
HEARD: Final = frozenset(
    {
        *RUNS,
        *STEPS,
        DagsterEventType.ASSET_MATERIALIZATION,
        DagsterEventType.ASSET_CHECK_EVALUATION,
    }
)
SMALLEST: Final = 11
"""Fewer nulls, or fewer values beside them, are not told."""
_BETWEEN: Final = "__"
_NULLS: Final = "null_rate:"


@dataclass
class _Heard:
    """What a step has said so far."""

    made: dict[tuple[str, str], Made] = field(default_factory=dict)
    snapshots: dict[tuple[str, str], str] = field(default_factory=dict)
    checks: dict[tuple[str, str], list[tuple[str, bool, str]]] = field(
        default_factory=lambda: defaultdict(list)
    )


class LineageEvents:
    """Turns the events of Dagster into those of OpenLineage, and writes them down.

    Args:
        services: The rooms; their settings say where the events go.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._heard: dict[tuple[str, str], _Heard] = defaultdict(_Heard)

    def hear(self, entry: "EventLogEntry", instance: dg.DagsterInstance) -> None:
        """Take in one event of a run.

        Raises:
            SecurePlatformError: If it cannot be written down.
        """
        feed = self._services.lineage
        event = entry.dagster_event
        if feed is None or event is None or event.event_type not in HEARD:
            return
        at = datetime.fromtimestamp(entry.timestamp, UTC)
        if event.event_type in RUNS:
            told = list(self._run(entry, RUNS[event.event_type], at, instance))
        elif event.step_key is None:
            return
        elif event.event_type in STEPS:
            told = list(self._step(entry, STEPS[event.event_type], at, instance))
        else:
            self._note(entry.run_id, event)
            return
        if told:
            feed.append(told)

    def _run(
        self, entry: "EventLogEntry", state: str, at: datetime, instance: dg.DagsterInstance
    ) -> Iterator[Body]:
        run = instance.get_run_by_id(entry.run_id)
        product = self._services.products.get(run.tags.get(PRODUCT_TAG, "")) if run else None
        if run is None or product is None:
            return
        described = describe(self._services, product)
        engine = {"name": "Dagster", "version": dg.__version__}
        told = facets(processing_engine=engine)
        job = described.job(f"{product.name}/{run.job_name}", "JOB")
        yield _event(state, at, {"runId": run.run_id, "facets": told}, job)

    def _step(
        self, entry: "EventLogEntry", state: str, at: datetime, instance: dg.DagsterInstance
    ) -> Iterator[Body]:
        step_key = str(entry.get_dagster_event().step_key)
        place = self._place(step_key)
        if place is None:
            return
        product, zone, name = place
        described = describe(self._services, product)
        parent = {
            "run": {"runId": entry.run_id},
            "job": {
                "namespace": namespace(self._services),
                "name": f"{product.name}/{entry.job_name or ''}",
            },
        }
        run_id = str(uuid5(UUID(entry.run_id), step_key))
        heard = self._heard[entry.run_id, step_key]
        if state != "START":
            self._heard.pop((entry.run_id, step_key), None)
        error = _error(entry) if state == "FAIL" else None
        run = {"runId": run_id, "facets": facets(parent=parent, errorMessage=error)}
        job = described.job(step_key.replace(_BETWEEN, "/"), "ASSET")
        names = sorted(heard.made) or outputs_of(product, zone, name)
        known = {**(_before(instance, entry.run_id, product) if state == "COMPLETE" else {}), **heard.made}
        # Of what failed nothing new is said to be there.
        outputs = [
            described.output(*each, heard.made.get(each)) if state == "COMPLETE" else described.named(*each)
            for each in names
        ]
        yield _event(state, at, run, job, inputs_of(described, names, known), outputs)
        if heard.checks and state != "START":
            yield from self._checked(described, entry.run_id, step_key, parent, at, heard)

    def _checked(
        self,
        described: Described,
        run_id: str,
        step_key: str,
        parent: Mapping[str, Any],
        at: datetime,
        heard: _Heard,
    ) -> Iterator[Body]:
        run = {"runId": str(uuid5(UUID(run_id), f"{step_key}/checks")), "facets": facets(parent=parent)}
        job = described.job(f"{step_key.replace(_BETWEEN, '/')}/checks", "TEST")
        inputs = [
            {
                **described.named(*place),
                "facets": facets(version={"datasetVersion": heard.made[place].version})
                if place in heard.made
                else {},
                "inputFacets": {**assertions(checks), **self._metrics(heard, place)},
            }
            for place, checks in sorted(heard.checks.items())
        ]
        yield _event("START", at, run, job)
        yield _event("COMPLETE", at, run, job, inputs)

    def _metrics(self, heard: _Heard, place: tuple[str, str]) -> Body:
        """Counts of rows, bytes and nulls; of cells that are too small none."""
        made = heard.made.get(place)
        if made is None or made.rows is None:
            return {}
        record = self._services.metrics.find(heard.snapshots.get(place, ""))
        nulls = {
            metric.removeprefix(_NULLS): round(value * made.rows)
            for metric, value in (record.numbers if record else {}).items()
            if metric.startswith(_NULLS)
        }
        told = {
            column: {"nullCount": count}
            for column, count in nulls.items()
            if not any(0 < cell < SMALLEST for cell in (count, made.rows - count))
        }
        size = {} if made.size is None else {"bytes": made.size}
        return facets(dataQualityMetrics={"rowCount": made.rows, **size, "columnMetrics": told})

    def _note(self, run_id: str, event: dg.DagsterEvent) -> None:
        heard = self._heard[run_id, str(event.step_key)]
        if event.event_type is DagsterEventType.ASSET_MATERIALIZATION:
            materialization = event.step_materialization_data.materialization
            place = _place_of(materialization.asset_key)
            heard.made[place] = _made(materialization)
            snapshot = materialization.metadata.get("snapshot_id")
            heard.snapshots[place] = str(snapshot.value) if snapshot else ""
            return
        evaluation = event.asset_check_evaluation_data
        told = (evaluation.check_name, evaluation.passed, evaluation.severity.value)
        heard.checks[_place_of(evaluation.asset_key)].append(told)

    def _place(self, step_key: str) -> tuple[Product, str, str] | None:
        """Which product, zone and dataset a step is about; None for what is not ours."""
        names = (name for name in self._services.products if step_key.startswith(name + _BETWEEN))
        product = max(names, key=len, default=None)
        if product is None:
            return None
        zone, _, name = step_key.removeprefix(product + _BETWEEN).partition(_BETWEEN)
        known = self._services.products[product]
        of_dataset = zone in {Zone.RAW, Zone.PROTECTED} and name in known.contracts
        of_product = zone in {Zone.MARTS, RELEASE, PRODUCTION} and not name
        return (known, zone, name) if of_dataset or of_product else None


def _before(instance: dg.DagsterInstance, run_id: str, product: Product) -> dict[tuple[str, str], Made]:
    """What earlier steps of the run made."""
    records = instance.get_records_for_run(run_id, of_type=DagsterEventType.ASSET_MATERIALIZATION).records
    found = (record.asset_materialization for record in records)
    return {
        _place_of(each.asset_key): _made(each)
        for each in found
        if each is not None and each.asset_key.path[0] == product.name
    }


def _place_of(key: dg.AssetKey) -> tuple[str, str]:
    _, zone, *name = key.path
    return zone, "/".join(name)


def _made(materialization: dg.AssetMaterialization) -> Made:
    said = materialization.metadata
    schema = said.get(COLUMN_SCHEMA)
    lineage = said.get("dagster/column_lineage")
    columns = schema.value.columns if isinstance(schema, dg.TableSchemaMetadataValue) else []
    sources = lineage.value.deps_by_column if isinstance(lineage, dg.TableColumnLineageMetadataValue) else {}
    version = said.get("content_digest") or said.get("digest") or said.get("release")
    return Made(
        version=str(version.value) if version else "",
        columns={column.name: column.type for column in columns},
        rows=_number(said.get("dagster/row_count")),
        size=_number(said.get("size_bytes")),
        sources={
            column: [(each.asset_key.path[-1], each.column_name) for each in read]
            for column, read in sources.items()
        },
    )


def _number(value: dg.MetadataValue[Any] | None) -> int | None:
    return value.value if value is not None and isinstance(value.value, int) else None


def _error(entry: "EventLogEntry") -> Body:
    """The class of the error; its text may name who was refused, or what a source calls its columns."""
    told = asset_event(entry)
    message = "A check that stops what comes after has failed"
    if told is not None:
        message = (
            "It was interrupted" if told.kind == "interrupted" else told.error_class or "StepFailedError"
        )
    return {"message": f"{message}; the run's log says more.", "programmingLanguage": "PYTHON"}


def _event(
    state: str,
    at: datetime,
    run: Body,
    job: Body,
    inputs: Sequence[Body] = (),
    outputs: Sequence[Body] = (),
) -> Body:
    return {
        "eventType": state,
        "eventTime": at.isoformat(),
        "producer": producer(),
        "schemaURL": f"{SPEC}RunEvent",
        "run": run,
        "job": job,
        "inputs": list(inputs),
        "outputs": list(outputs),
    }
