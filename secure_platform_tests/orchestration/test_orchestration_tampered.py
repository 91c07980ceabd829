"""An edited record of the metrics history is told, and hides nothing else."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import delete, update

from secure_platform.control.database import utc_now
from secure_platform.control.tables import incident as incident_table
from secure_platform.control.tables import profile
from secure_platform.errors import SecurePlatformError
from secure_platform.homes import initialise
from secure_platform.monitor.history import Record
from secure_platform.monitor.incident import Sighting
from secure_platform.orchestration.exposition import Family
from secure_platform.orchestration.monitoring import _watch
from secure_platform.orchestration.tally import Tally
from secure_platform.orchestration.telemetry import measure
from secure_platform.services import Services
from secure_platform.settings import load_settings

PRODUCT = "healthcare"
TITLE = "history of raw/patients"


@pytest.fixture
def services(tmp_path: Path) -> Services:
    """A home whose patients and encounters are three days old, and the record of the patients edited."""
    settings = load_settings(home=tmp_path / "home")
    initialise(settings)
    opened = Services(settings)
    came = utc_now() - timedelta(days=3)
    for dataset in ("patients", "encounters"):
        opened.metrics.add(Record(PRODUCT, dataset, "raw", dataset, {"rows": 5.0}, recorded_at=came))
    with opened.database.write() as connection:
        edited = update(profile).where(profile.c.dataset == "patients")
        connection.execute(edited.values(recorded_at=utc_now()))
    return opened


def told(services: Services) -> set[tuple[str, str, str]]:
    return {
        (each.kind, each.severity, signal.title)
        for each in services.incidents.all(PRODUCT)
        for signal in each.signals
    }


def values(families: list[Family], name: str) -> dict[tuple[str, ...], float]:
    (family,) = [each for each in families if each.name == name]
    return {tuple(labels.values()): value for labels, value in family.samples}


def test_what_is_late_is_told_beside_an_edited_record_and_so_is_that(services: Services) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        for _ in range(2):
            assert _watch(services, instance) == [f"{PRODUCT}/raw/encounters"]
    assert told(services) == {("security", "fail", TITLE), ("data", "fail", "freshness of raw/encounters")}


def test_a_record_that_is_right_again_waits_for_a_person(services: Services) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        _watch(services, instance)
        services.metrics.adopt()
        _watch(services, instance)
    (incident,) = [each for each in services.incidents.all(PRODUCT) if each.kind == "security"]
    assert incident.unsettled
    assert incident.waiting == ()


def test_a_product_that_cannot_be_looked_at_hides_no_other(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = replace(services.products[PRODUCT], name="another")
    services.__dict__["products"] = {"another": first, **services.products}
    with dg.DagsterInstance.ephemeral() as instance:
        found = instance.get_latest_materialization_event

        def failing(key: dg.AssetKey) -> object:
            if key.path[0] == "another":
                raise OSError("the event log of Dagster")
            return found(key)

        monkeypatch.setattr(instance, "get_latest_materialization_event", failing)
        with pytest.raises(SecurePlatformError, match="The look at another"):
            _watch(services, instance)
    assert ("security", "fail", TITLE) in told(services)


def test_a_scrape_goes_on_and_names_the_place(services: Services) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        families = measure(services, instance, Tally(services))
    tampered = values(families, "history_tampered")
    assert tampered[PRODUCT, "raw", "patients"] == 1
    assert sum(tampered.values()) == 1
    assert set(values(families, "data_age_seconds")) == {(PRODUCT, "raw", "encounters")}


def test_an_edited_incident_is_told_and_everything_else_is_measured(services: Services) -> None:
    wrong = Sighting("production", "patient_summary", "matches_release", "p1", "fail", blocking=True)
    services.incidents.report(PRODUCT, [wrong])
    with dg.DagsterInstance.ephemeral() as instance:
        whole = measure(services, instance, Tally(services))
        with services.database.write() as connection:
            connection.execute(update(incident_table).values(severity="warn", blocking=False))
        # Whoever has read the incidents before sees it, too.
        edited = measure(services, instance, Tally(services))
        afresh = measure(Services(services.settings), instance, Tally(services))
        with services.database.write() as connection:
            connection.execute(delete(incident_table))
        gone = measure(services, instance, Tally(services))
    assert values(whole, "incidents_tampered") == {(): 0}
    about_incidents = {each.name for each in whole} - {each.name for each in edited}
    assert about_incidents == {
        *("incidents", "deployments_blocked", "incident_oldest_seconds"),
        *("containment_seconds_sum", "containment_seconds_count"),
    }
    for told_now in (edited, afresh, gone):
        assert values(told_now, "incidents_tampered") == {(): 1}
        assert {each.name for each in told_now} == {each.name for each in edited}
        assert values(told_now, "releases") == values(whole, "releases")
