"""Sensors look for what no step can see: late data, failed runs, and whether the daemon lives.

Dagster's own alerts are not part of its open-source edition. Its freshness policies also judge production,
for its pages.
"""

from datetime import UTC, datetime
from functools import partial
from typing import Final

import dagster as dg

from secure_platform.contract.product import Product
from secure_platform.errors import SecurePlatformError
from secure_platform.monitor.incident import RUN, Severity, Sighting
from secure_platform.orchestration.guard import value_free
from secure_platform.orchestration.presentation import PRODUCT_TAG
from secure_platform.orchestration.steps.access import look_at_access
from secure_platform.orchestration.steps.late import look_for_late
from secure_platform.orchestration.steps.production import ZONE
from secure_platform.services import Services
from secure_platform.settings import load_settings

WATCH_SECONDS: Final = 60
RUN_SECONDS: Final = 30
_RUNNING: Final = dg.DefaultSensorStatus.RUNNING


def monitoring_definitions() -> dg.Definitions:
    """The sensors."""
    return dg.Definitions(sensors=[watch_sensor(), access_sensor(), *run_sensors()])


def watch_sensor() -> dg.SensorDefinition:
    """Looks for what is late, and gives the daemon's sign of life."""

    @dg.sensor(
        name="monitor",
        minimum_interval_seconds=WATCH_SECONDS,
        default_status=_RUNNING,
        description="Looks for data that are late, and shows that the daemon lives.",
    )
    def monitor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        late = value_free("The sensor monitor", lambda: _watch(Services(load_settings()), context.instance))
        return dg.SkipReason(f"Late: {', '.join(late)}." if late else "Nothing is late.")

    return monitor


def access_sensor() -> dg.SensorDefinition:
    """Looks for unusual use of the data."""

    @dg.sensor(
        name="monitor_access",
        minimum_interval_seconds=WATCH_SECONDS,
        default_status=_RUNNING,
        description="Looks in the audit log for unusual use of the data.",
    )
    def access(_context: dg.SensorEvaluationContext) -> dg.SkipReason:
        looked = value_free("The sensor monitor_access", lambda: look_at_access(Services(load_settings())))
        later = f"; {looked.behind} entries wait" if looked.behind else ""
        return dg.SkipReason(
            f"Read up to entry {looked.cursor}{later}. Unusual: {len(looked.found) or 'nothing'}."
        )

    return access


def run_sensors() -> list[dg.SensorDefinition]:
    """Take in every run of a product that failed, or succeeded after that."""
    return [_run_sensor(dg.DagsterRunStatus.FAILURE), _run_sensor(dg.DagsterRunStatus.SUCCESS)]


def _run_sensor(status: dg.DagsterRunStatus) -> dg.SensorDefinition:
    name = f"monitor_{status.value.lower()}"

    @dg.run_status_sensor(
        name=name,
        run_status=status,
        minimum_interval_seconds=RUN_SECONDS,
        default_status=_RUNNING,
        description="Takes in how runs ended.",
    )
    def ended(context: dg.RunStatusSensorContext) -> dg.SkipReason:
        services = Services(load_settings())
        value_free(f"The sensor {name}", lambda: _take_in(services, context.dagster_run, context.instance))
        return dg.SkipReason(f"Run {context.dagster_run.run_id} was taken in.")

    return ended


def _watch(services: Services, instance: dg.DagsterInstance) -> list[str]:
    """What is late; every product is looked at, whatever becomes of the others."""
    services.watchdog.beat()
    late: list[str] = []
    failed: list[SecurePlatformError] = []
    for name, product in services.products.items():
        look = partial(look_for_late, services, product, partial(_deployed, instance, product))
        try:
            late += [f"{name}/{each}" for each in value_free(f"The look at {name}", look)]
        except SecurePlatformError as error:
            failed.append(error)
    if failed:
        raise failed[0]
    return late


def _deployed(instance: dg.DagsterInstance, product: Product, table: str) -> datetime | None:
    found = instance.get_latest_materialization_event(dg.AssetKey([product.name, ZONE, table]))
    return None if found is None else datetime.fromtimestamp(found.timestamp, UTC)


def _take_in(services: Services, run: dg.DagsterRun, instance: dg.DagsterInstance) -> None:
    """A run that failed for what a check has just told of is not told again."""
    product = run.tags.get(PRODUCT_TAG)
    if product is None:
        return
    failed = run.status is dg.DagsterRunStatus.FAILURE
    record = instance.get_run_record_by_id(run.run_id)
    if failed and record is not None and _is_told(services, product, record.create_timestamp):
        return
    state: Severity | None = "fail" if failed else None
    services.incidents.report(product, [Sighting(RUN, "", run.job_name, run.run_id, state)])


def _is_told(services: Services, product: str, began: datetime) -> bool:
    return any(
        signal.recovered_at is None and datetime.fromisoformat(signal.last_at) >= began
        for incident in services.incidents.all(product)
        if incident.unsettled and incident.kind != RUN
        for signal in incident.signals
    )
