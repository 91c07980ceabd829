"""A product's jobs, run in this process: the same jobs that schedule and sensor launch, with progress."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import dagster as dg

from secure_platform.contract.product import Product
from secure_platform.notify.spans import current
from secure_platform.orchestration.automation import build_job_name, deploy_job_name, retokenize_job_name
from secure_platform.orchestration.component import product_definitions
from secure_platform.orchestration.governance import govern
from secure_platform.orchestration.home import open_instance
from secure_platform.orchestration.redaction import is_own
from secure_platform.orchestration.resources import platform_resources
from secure_platform.orchestration.stamp import TRACE_TAG
from secure_platform.orchestration.steps.exchange import AssetEvent, Listener, RunReport
from secure_platform.settings import Settings

QUIET: Final = {"console": {"config": {"log_level": "CRITICAL"}}}


def run_build(settings: Settings, product: Product, *, source: Path | None, listener: Listener) -> RunReport:
    """Run the build job: source to pending release."""
    platform = {} if source is None else {"source": str(source.absolute())}
    return _run(settings, product, build_job_name(product.name), listener, **platform)


def run_retokenize(settings: Settings, product: Product, *, listener: Listener) -> RunReport:
    """Run the job that makes anew what is in production: its raw snapshots to pending release."""
    return _run(settings, product, retokenize_job_name(product.name), listener, retokenize=True)


def run_deploy(settings: Settings, product: Product, *, listener: Listener) -> RunReport:
    """Run the deploy job: approved release to production."""
    return _run(settings, product, deploy_job_name(product.name), listener)


def _run(
    settings: Settings, product: Product, job_name: str, listener: Listener, **platform: str | bool
) -> RunReport:
    definitions = govern(
        dg.Definitions.merge(
            product_definitions(product),
            dg.Definitions(resources=platform_resources(), executor=dg.in_process_executor),
        )
    )
    job = definitions.resolve_job_def(job_name)
    config = {"loggers": QUIET, "resources": {"platform": {"config": platform}}}
    events: list[AssetEvent] = []

    def heard(entry: dg.EventLogEntry) -> None:
        event = asset_event(entry)
        if event is not None:
            events.append(event)
            listener(event)

    with open_instance(settings) as instance:
        run_id = dg.DagsterRun(job_name=job_name).run_id
        here = current()
        tags = {**job.tags, **({TRACE_TAG: str(here)} if here else {})}
        instance.add_event_listener(run_id, heard)
        result = job.execute_in_process(
            instance=instance, run_config=config, run_id=run_id, raise_on_error=False, tags=tags
        )
    if any(event.kind == "interrupted" for event in events):
        raise KeyboardInterrupt
    return RunReport(run_id, result.success, tuple(events))


def asset_event(entry: dg.EventLogEntry) -> AssetEvent | None:
    """What an entry of a run's log says about an asset; None if nothing."""
    event = entry.dagster_event
    if event is None:
        return None
    match event.event_type:
        case dg.DagsterEventType.STEP_START:
            return AssetEvent(_asset_of(event.step_key), "started")
        case dg.DagsterEventType.ASSET_MATERIALIZATION:
            materialization = event.step_materialization_data.materialization
            return AssetEvent(
                materialization.asset_key.to_user_string(),
                "materialized",
                metadata=_plain(materialization.metadata),
            )
        case dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            evaluation = event.asset_check_evaluation_data
            return AssetEvent(
                evaluation.asset_key.to_user_string(),
                "checked",
                check=evaluation.check_name,
                passed=evaluation.passed,
                blocking=evaluation.severity is dg.AssetCheckSeverity.ERROR,
                metadata=_plain(evaluation.metadata),
            )
        case dg.DagsterEventType.STEP_FAILURE:
            return _failure(event)
        case _:
            return None


def _failure(event: dg.DagsterEvent) -> AssetEvent | None:
    """The innermost of our errors; a failed blocking check was already reported as the check."""
    error = event.step_failure_data.error
    if error is not None and error.cls_name == "DagsterExecutionInterruptedError":
        return AssetEvent(_asset_of(event.step_key), "interrupted")
    while error is not None and not is_own(error):
        if error.cls_name == "DagsterAssetCheckFailedError":
            return None
        error = error.cause
    if error is None:
        return AssetEvent(
            _asset_of(event.step_key), "failed", error="The step failed outside the platform's code."
        )
    text = error.message.strip().partition(": ")[2] or error.message.strip()
    return AssetEvent(_asset_of(event.step_key), "failed", error=text, error_class=error.cls_name)


def _asset_of(step_key: str | None) -> str:
    return (step_key or "").replace("__", "/")


def _plain(metadata: Mapping[str, dg.MetadataValue]) -> dict[str, Any]:
    return {
        name: [record.data for record in value.records]
        if isinstance(value, dg.TableMetadataValue)
        else value.value
        for name, value in metadata.items()
        if not name.startswith("dagster/column")
    }
