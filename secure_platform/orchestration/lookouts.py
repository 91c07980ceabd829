"""Once a day, production is compared with its release, and the sources are inspected.

A run of these jobs changes no data. What it finds becomes an incident, and so does a failure to look. Only
the schedule runs them.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import dagster as dg

from secure_platform.contract.product import Product
from secure_platform.errors import AccessDeniedError, SecurePlatformError, ServiceError
from secure_platform.monitor.incident import RUN, Severity, Sighting
from secure_platform.orchestration.guard import value_free
from secure_platform.orchestration.stamp import stamped
from secure_platform.orchestration.steps.recount import recount
from secure_platform.orchestration.steps.source_schema import look_at_sources
from secure_platform.services import SCHEDULER, Services
from secure_platform.settings import load_settings

RECOUNT_CRON: Final = "40 3 * * *"
SOURCES_CRON: Final = "10 4 * * *"


@dg.op(name="recount_production", description="Compares production with its release.")
def recount_production(context: dg.OpExecutionContext) -> None:
    """Compare production of every product with its release."""
    _each_product(context, "The comparison of production", recount)


@dg.op(name="look_at_sources", description="Looks at the columns of every source.")
def look_at_the_sources(context: dg.OpExecutionContext) -> None:
    """Compare the columns of every source with its contract and with what they were."""
    _each_product(context, "The look at the sources", _looked)


@dg.job(
    name="recount",
    description="Compares production with its release.",
    executor_def=dg.in_process_executor,
)
def recount_job() -> None:
    """The job of the schedule."""
    recount_production()


@dg.job(
    name="source_schemas",
    description="Looks at the columns of every source before the next pull.",
    executor_def=dg.in_process_executor,
)
def source_schemas_job() -> None:
    """The job of the schedule."""
    look_at_the_sources()


def lookout_definitions() -> dg.Definitions:
    """The jobs, and their daily schedules."""
    jobs = {recount_job: RECOUNT_CRON, source_schemas_job: SOURCES_CRON}
    schedules = [
        dg.ScheduleDefinition(
            name=f"{job.name}_schedule",
            job=job,
            cron_schedule=cron,
            default_status=dg.DefaultScheduleStatus.RUNNING,
        )
        for job, cron in jobs.items()
    ]
    return dg.Definitions(jobs=list(jobs), schedules=schedules)


def _looked(services: Services, product: Product) -> str:
    looks = look_at_sources(services, product)
    wrong = [f"{look.dataset} ({look.state})" for look in looks if look.state is not None]
    return f"Sources of {product.name} that changed: {', '.join(wrong) or 'none'}."


def _each_product(context: Any, name: str, look: Callable[[Services, Product], str | None]) -> None:
    """One product that cannot be looked at stops no other, and has an incident; the run fails at the end.

    One that is being changed is left for the next day, once, and nothing is said about what was known of it.

    Raises:
        AccessDeniedError: If somebody else asked for the run.
        ServiceError: If a product could not be looked at.
    """
    services = Services(load_settings())
    if services.requester(stamped(services.keys, context.run)).name != SCHEDULER:
        raise AccessDeniedError("This job is run by its schedule only", "Turn the schedule on.")
    failed = []
    for product in services.products.values():
        state: Severity | None = None
        try:
            said = value_free(f"{name} of {product.name}", partial(look, services, product))
        except SecurePlatformError as error:
            failed.append(product.name)
            state, said = "fail", error.culprit
        if said is None:
            context.log.info(
                "%s of %s is left for tomorrow: production is being changed.", name, product.name
            )
            continue
        context.log.info("%s", said)
        ended = Sighting(RUN, "", context.job_name, context.run_id, state)
        value_free(f"The report on {product.name}", partial(services.incidents.report, product.name, [ended]))
    if failed:
        raise ServiceError(f"{name} failed for {', '.join(failed)}", "Look at the run's log.")
