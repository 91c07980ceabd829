"""A program launches the same job that the UI would, as itself, and is told how it goes without any value.

The run goes through the request's own workspace context, so the run coordinator asks the policy and stamps it
as for every other run. The same idempotency key of the same caller is the same run, however often it comes.
"""

import asyncio
import re
import uuid
from types import SimpleNamespace
from typing import Any, Final

import dagster as dg
from dagster._core.definitions.selector import JobSubsetSelector
from dagster._core.errors import DagsterRunAlreadyExists
from dagster._core.workspace.context import BaseWorkspaceRequestContext
from starlette.requests import Request

from secure_platform.access.principals import Principal
from secure_platform.contract.product import Product
from secure_platform.errors import GateRefusedError, UsageError
from secure_platform.orchestration.automation import build_job_name
from secure_platform.orchestration.launch import asset_event
from secure_platform.orchestration.steps.exchange import RunReport, record_data
from secure_platform.services import Services
from secure_platform.web.permissions import process_context

STATES: Final = {
    dg.DagsterRunStatus.SUCCESS: "succeeded",
    dg.DagsterRunStatus.FAILURE: "failed",
    dg.DagsterRunStatus.CANCELED: "canceled",
    dg.DagsterRunStatus.STARTED: "running",
    dg.DagsterRunStatus.CANCELING: "running",
}
QUEUED: Final = "queued"
_KEY: Final = re.compile(r"[\x21-\x7e]{1,128}")
_EVENTS: Final = {
    dg.DagsterEventType.STEP_START,
    dg.DagsterEventType.ASSET_MATERIALIZATION,
    dg.DagsterEventType.ASSET_CHECK_EVALUATION,
    dg.DagsterEventType.STEP_FAILURE,
}


def launch(
    services: Services, principal: Principal, request: Request, product: Product, key: str | None
) -> str:
    """Queue a build in the name of the caller and return the run's id.

    Raises:
        AccessDeniedError: If the run coordinator does not let them build it.
        GateRefusedError: If the server's code location does not have the product.
        UsageError: If the idempotency key is none.
    """
    run_id, *former = _run_ids(services, principal, product, key)
    with process_context(request).create_request_context(request) as context:
        for known in (run_id, *former):
            if context.instance.get_run_by_id(known) is not None:
                return known
        selector = _selector(context, product)
        services.audit.append(
            "build.request", actor=principal.name, subject=product.name, detail={"run": run_id}
        )
        try:
            asyncio.run(_launch(context, selector, run_id))
        except DagsterRunAlreadyExists:
            return run_id
    return run_id


def find(services: Services, request: Request, run_id: str) -> tuple[dg.DagsterRun, Product]:
    """The build with this id, and what it builds.

    Raises:
        UsageError: If there is none.
    """
    run = process_context(request).instance.get_run_by_id(run_id) if _is_run_id(run_id) else None
    for product in services.products.values():
        if run is not None and run.job_name == build_job_name(product.name):
            return run, product
    raise UsageError("There is no build with this id", "Give the `run_id` of the answer that started it.")


def state(
    services: Services, request: Request, run: dg.DagsterRun, product: Product, *, after: int
) -> dict[str, Any]:
    """Where the build stands, and what happened since."""
    # The state first: once it has ended, no event is missed.
    status = STATES.get(run.status, QUEUED)
    entries = process_context(request).instance.all_logs(run.run_id, of_type=_EVENTS)
    events = [event for entry in entries if (event := asset_event(entry)) is not None]
    report = RunReport(run.run_id, status == "succeeded", tuple(events))
    ended = status in {"succeeded", "failed", "canceled"}
    release = services.gate.get(report.release) if report.succeeded and report.release else None
    return {
        "run_id": run.run_id,
        "product": product.name,
        "state": status,
        "events": [event.to_json() for event in events[after:]],
        "next": len(events),
        "release": record_data(release) if release else None,
        "exit_code": report.exit_code if ended else None,
    }


def _run_ids(services: Services, principal: Principal, product: Product, key: str | None) -> list[str]:
    """The id of a new run, then those it may already have from before a rotation of the digest key."""
    if key is None:
        return [str(uuid.uuid4())]
    if not _KEY.fullmatch(key):
        raise UsageError("The Idempotency-Key cannot be used", "Give 1 to 128 printable ASCII characters.")
    hashed = services.keys.identifiers(f"build\n{principal.name}\n{product.name}\n{key}")
    return [str(uuid.UUID(each.removeprefix("p:"), version=4)) for each in hashed]


def _is_run_id(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def _selector(context: BaseWorkspaceRequestContext, product: Product) -> JobSubsetSelector:
    job = build_job_name(product.name)
    for location in context.code_locations:
        for repository in location.get_repositories().values():
            if repository.has_job(job):
                return JobSubsetSelector(location.name, repository.name, job, op_selection=None)
    raise GateRefusedError(
        f"The server has not loaded the product {product.name}", "Reload its code location, then try again."
    )


async def _launch(context: BaseWorkspaceRequestContext, selector: JobSubsetSelector, run_id: str) -> None:
    from dagster_graphql.implementation.execution.launch_execution import do_launch  # noqa: PLC0415 - slow
    from dagster_graphql.implementation.utils import ExecutionMetadata, ExecutionParams  # noqa: PLC0415

    parameters = ExecutionParams(
        selector, run_config={}, mode=None, execution_metadata=ExecutionMetadata(run_id, {}), step_keys=None
    )
    # Dagster's own way from a job to a queued run needs of its GraphQL machinery only the context.
    await do_launch(SimpleNamespace(context=context), parameters)  # type: ignore[arg-type]
