"""Every run is requested by somebody who may build what it builds, and is stamped with who that was.

All runs of the web server and the daemon pass here before they are queued, including those of schedules,
sensors, backfills, re-executions and automatic retries. A retry, or a run of a backfill, belongs to whoever
requested the first; what the daemon starts by itself belongs to the scheduler. A run that should have been
refused before is refused here, and recorded as failed.
"""

from collections.abc import Collection
from functools import cached_property
from typing import Any, Final, Protocol, runtime_checkable

from dagster import AssetKey, DagsterRun, QueuedRunCoordinator
from dagster._core.run_coordinator import SubmitRunContext
from dagster._core.storage.tags import BACKFILL_ID_TAG
from dagster._core.workspace.context import BaseWorkspaceRequestContext

from secure_platform.access.principals import Principal
from secure_platform.access.resources import Action, PlatformResource, Resource
from secure_platform.errors import AccessDeniedError
from secure_platform.notify.spans import current
from secure_platform.orchestration.presentation import PRODUCT_TAG
from secure_platform.orchestration.stamp import TRACE_TAG, backfill_stamped, stamp, stamped
from secure_platform.orchestration.steps.protect import product_resource
from secure_platform.services import SCHEDULER, Services
from secure_platform.settings import load_settings

PLATFORM_RESOURCE: Final = "platform"


@runtime_checkable
class Attributed(Protocol):
    """A request context that knows who sent the request."""

    @property
    def principal(self) -> Principal:
        """Who is calling, and how they come."""


class SecureRunCoordinator(QueuedRunCoordinator):
    """Dagster's queue, behind the policy; `run_coordinator` in `dagster.yaml`."""

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        """Ask the policy, stamp the run, queue it.

        Raises:
            AccessDeniedError: If the principal may not build what the run builds, or says where from.
            IntegrityError: If a run that is tried again was stamped by somebody else.
        """
        run, services = context.dagster_run, self._services
        _require_own_source(run)
        principal = self._requester(context)
        keys = built_keys(context.workspace, run)
        for resource in built_resources(services, keys):
            services.policy.require(principal, Action.BUILD, resource)
        products = {key.path[0] for key in keys}
        tags = stamp(services.keys, run, principal.name)
        if len(products) == 1 and (product := products.pop()) in services.products:
            tags[PRODUCT_TAG] = product
        if (here := current()) is not None:
            tags[TRACE_TAG] = str(here)
        self._instance.add_run_tags(run.run_id, tags)
        return super().submit_run(context)

    def _requester(self, context: SubmitRunContext) -> Principal:
        if isinstance(context.workspace, Attributed):
            return context.workspace.principal
        name = self._asked_by(context.dagster_run) or SCHEDULER
        found = self._services.principals.get(name)
        if found is None:
            raise AccessDeniedError(
                f"The run {context.dagster_run.run_id} was asked for by a principal that does not exist",
                "Launch it again.",
            )
        return found

    def _asked_by(self, run: DagsterRun) -> str | None:
        """Who asked for what the daemon goes on with; None if the daemon began it.

        The run before says so first: somebody else may have launched one of a backfill again.
        """
        parent = self._instance.get_run_by_id(run.parent_run_id) if run.parent_run_id else None
        if parent is not None:
            return stamped(self._services.keys, parent)
        backfill_id = run.tags.get(BACKFILL_ID_TAG)
        backfill = self._instance.get_backfill(backfill_id) if backfill_id else None
        return None if backfill is None else backfill_stamped(self._services.keys, backfill.tags)

    @cached_property
    def _services(self) -> Services:
        return Services(load_settings())


def built_keys(workspace: BaseWorkspaceRequestContext, run: DagsterRun) -> Collection[AssetKey]:
    """The assets that a run builds or checks; empty for a job that has none."""
    checked = {check.asset_key for check in run.asset_check_selection or ()}
    if run.asset_selection or checked:
        return {*(run.asset_selection or ()), *checked}
    return workspace.asset_graph.get_materialization_asset_keys_for_job(run.job_name)


def built_resources(services: Services, keys: Collection[AssetKey]) -> list[Resource]:
    """What the policy is asked about: the products, and the platform for whatever is none of them."""
    names = {key.path[0] for key in keys}
    ours = sorted(names & services.products.keys())
    resources: list[Resource] = [product_resource(services, services.product(name)) for name in ours]
    return resources if resources and names == set(ours) else [*resources, PlatformResource()]


def _require_own_source(run: DagsterRun) -> None:
    """Folders of this machine are named by its settings, not by who launches a run."""
    resources: Any = run.run_config.get("resources") or {}
    if (resources.get(PLATFORM_RESOURCE) or {}).get("config"):
        raise AccessDeniedError(
            f"The run {run.run_id} configures the resource {PLATFORM_RESOURCE}",
            "Leave it out: name the source under `sources` in platform.yaml.",
        )
