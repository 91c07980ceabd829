"""Sensors see what no step does: what is late, how runs ended, and that the daemon lives."""

from collections.abc import Iterator, Sequence
from datetime import timedelta

import dagster as dg
import pytest
from built_home import PRODUCT, Built
from sqlalchemy import update

from secure_platform.control.database import utc_now
from secure_platform.control.tables import profile
from secure_platform.monitor.history import Record
from secure_platform.monitor.incident import Incident, Sighting
from secure_platform.orchestration.home import open_instance
from secure_platform.orchestration.monitoring import run_sensors, watch_sensor
from secure_platform.orchestration.steps.late import look_for_late
from secure_platform.orchestration.steps.production import go_live

pytestmark = pytest.mark.slow


@pytest.fixture
def instance(built: Built) -> Iterator[dg.DagsterInstance]:
    with open_instance(built.services.settings) as opened:
        yield opened


def days_pass(built: Built, days: int) -> None:
    """All that was measured is older."""
    with built.services.database.write() as connection:
        for row in connection.execute(profile.select()).all():
            moved = row.recorded_at - timedelta(days=days)
            where = profile.c.snapshot_id == row.snapshot_id
            connection.execute(update(profile).where(where).values(recorded_at=moved))
    built.services.metrics.adopt()


def open_incidents(built: Built) -> list[Incident]:
    return [each for each in built.services.incidents.all(PRODUCT) if each.unsettled]


def watch(built: Built, instance: dg.DagsterInstance) -> str:
    del built
    with dg.build_sensor_context(instance=instance) as context:
        said = watch_sensor()(context)
    assert isinstance(said, dg.SkipReason)
    return said.skip_message or ""


def test_nothing_is_late_after_a_build(built: Built, instance: dg.DagsterInstance) -> None:
    assert watch(built, instance) == "Nothing is late."
    last = built.services.watchdog.last()
    assert last is not None
    assert utc_now() - last < timedelta(minutes=1)
    assert open_incidents(built) == []


def test_what_was_never_deployed_and_sources_that_do_not_come_are_late_once(
    built: Built, instance: dg.DagsterInstance
) -> None:
    days_pass(built, 3)
    for _ in range(2):
        assert "healthcare/production/patient_summary" in watch(built, instance)
    late = {(each.kind, signal.title) for each in open_incidents(built) for signal in each.signals}
    assert ("production", "freshness of production/patient_summary") in late
    assert not any(each.blocking for each in open_incidents(built))


def test_production_is_as_old_as_its_last_deployment_that_found_it_right(built: Built) -> None:
    services, product = built.services, built.product
    built.approve()
    go_live(services, product)
    days_pass(built, 3)
    before = utc_now() - timedelta(days=3)
    assert "production/patient_summary" in look_for_late(services, product, lambda _: before)
    assert not any("production" in each for each in look_for_late(services, product, lambda _: utc_now()))
    assert [each.kind for each in open_incidents(built)] in ([], ["data"])


def test_what_is_said_of_a_stale_source_stays_until_other_data_come(
    built: Built, instance: dg.DagsterInstance
) -> None:
    metrics = built.services.metrics
    newest = metrics.arrivals(PRODUCT, "patients", "raw")[-1].snapshot_id
    built.services.incidents.report(
        PRODUCT, [Sighting("raw", "patients", "freshness", newest, "warn", metrics=("freshness",))]
    )
    for _ in range(2):
        assert watch(built, instance) == "Nothing is late."
        assert [signal.title for each in open_incidents(built) for signal in each.waiting] == [
            "freshness of raw/patients"
        ]
    metrics.add(Record(PRODUCT, "patients", "raw", "5" * 32, numbers={"rows": 1.0}))
    watch(built, instance)
    assert open_incidents(built) == []


@dg.op
def nothing() -> None:
    """The run is never executed."""


@dg.job(name=f"{PRODUCT}_build")
def build() -> None:
    nothing()


def ended(
    built: Built, instance: dg.DagsterInstance, *, failed: bool, meanwhile: Sequence[Sighting] = ()
) -> None:
    """A run of the build ended so, and its sensor has seen it."""
    definitions = dg.Definitions(jobs=[build])
    job = definitions.resolve_job_def(build.name)
    run = instance.create_run_for_job(job, tags={"secure/product": PRODUCT})
    built.services.incidents.report(PRODUCT, meanwhile)
    kind = dg.DagsterEventType.RUN_FAILURE if failed else dg.DagsterEventType.RUN_SUCCESS
    event = dg.DagsterEvent(kind.value, run.job_name, message="")
    instance.report_dagster_event(event, run.run_id)
    stored = instance.get_run_by_id(run.run_id)
    assert stored is not None
    sensor = run_sensors()[0 if failed else 1]
    context = dg.build_run_status_sensor_context(
        sensor_name=sensor.name,
        dagster_instance=instance,
        dagster_run=stored,
        dagster_event=event,
        repository_def=definitions.get_repository_def(),
    )
    sensor(context)


@pytest.mark.filterwarnings("ignore:Parameter `repository_def`")
def test_a_run_that_failed_is_an_incident_until_one_succeeds(
    built: Built, instance: dg.DagsterInstance
) -> None:
    ended(built, instance, failed=True)
    (incident,) = open_incidents(built)
    assert (incident.kind, incident.signals[0].title) == ("run", "healthcare_build of run")
    ended(built, instance, failed=False)
    assert open_incidents(built) == []


@pytest.mark.filterwarnings("ignore:Parameter `repository_def`")
def test_a_run_whose_check_has_just_told_why_it_failed_is_not_told_again(
    built: Built, instance: dg.DagsterInstance
) -> None:
    ended(built, instance, failed=True, meanwhile=[Sighting("raw", "patients", "contract", "s1", "fail")])
    assert [each.kind for each in open_incidents(built)] == ["data"]
