"""What checks find becomes one incident, is told apart from what is new, and is settled by people only."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from monitor_support import contract, records
from sqlalchemy import delete, update

from secure_platform.access.principals import Principal
from secure_platform.access.resources import ProductResource
from secure_platform.control.tables import incident as incident_table
from secure_platform.errors import AccessDeniedError, GateRefusedError, IntegrityError, UsageError
from secure_platform.homes import initialise
from secure_platform.monitor.feedback import Feedback
from secure_platform.monitor.incident import MONITOR, Incident, Sighting, timeline
from secure_platform.monitor.incidents import Incidents
from secure_platform.monitor.watch import watch
from secure_platform.services import Services
from secure_platform.settings import load_settings

PRODUCT = ProductResource("shop", "production", 1)
DANA = Principal("dana", "user", frozenset({"data_engineer"}), active=True)
VOLUME = Sighting("raw", "orders", "volume", "s1", "warn", metrics=("rows",))
LOST = Sighting("production", "orders", "matches_release", "p1", "fail", blocking=True)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("incidents") / "home"
    initialise(load_settings(home=folder))
    return folder


@pytest.fixture
def home(fresh: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(fresh, tmp_path / "home"))


def opened_home(home: Path) -> Services:
    return Services(load_settings(home=home))


@pytest.fixture
def services(home: Path) -> Services:
    return opened_home(home)


@pytest.fixture
def incidents(services: Services) -> Incidents:
    return services.incidents


def only(incidents: Incidents) -> Incident:
    (found,) = incidents.all()
    return found


def test_what_is_said_twice_changes_nothing(incidents: Incidents, services: Services) -> None:
    assert incidents.report("shop", [replace(VOLUME, state=None)]) == []
    (opened,) = incidents.report("shop", [VOLUME])
    written = services.audit.size()
    assert incidents.report("shop", [VOLUME]) == []
    assert services.audit.size() == written
    (again,) = incidents.report("shop", [replace(VOLUME, snapshot_id="s2")])
    assert (again.incident_id, again.revision, again.signals[0].times) == (opened.incident_id, 1, 2)
    assert only(incidents) == again


def test_another_check_joins_and_another_kind_is_another_incident(
    incidents: Incidents,
) -> None:
    incidents.report("shop", [VOLUME])
    (worse,) = incidents.report("shop", [replace(VOLUME, check="quality", state="fail")])
    assert (worse.revision, worse.severity, len(worse.signals)) == (2, "fail", 2)
    incidents.report("shop", [LOST, replace(VOLUME, check="drift")])
    incidents.report("other", [VOLUME])
    assert {(each.product, each.kind) for each in incidents.all()} == {
        ("shop", "data"),
        ("shop", "production"),
        ("shop", "security"),
        ("other", "data"),
    }
    assert [what for _, what in timeline(worse)] == [
        "opened",
        "volume of raw/orders: warn",
        "quality of raw/orders: fail",
        "got worse",
    ]


def test_what_passes_again_resolves_it_unless_it_blocks_or_is_about_security(incidents: Incidents) -> None:
    for sighting, state in ((VOLUME, "resolved"), (LOST, "open"), (replace(VOLUME, check="drift"), "open")):
        incidents.report("shop", [sighting])
        (after,) = incidents.report("shop", [replace(sighting, state=None, snapshot_id="s2", blocking=False)])
        assert (after.state, after.waiting) == (state, ())
    resolved = incidents.all()[0]
    assert (resolved.closed_by, resolved.judged) == (MONITOR, False)
    (another,) = incidents.report("shop", [replace(VOLUME, snapshot_id="s3")])
    assert another.incident_id != resolved.incident_id


def test_only_an_open_blocking_incident_stops_deployments_and_something_new_opens_it_again(
    incidents: Incidents,
) -> None:
    incidents.report("shop", [VOLUME])
    assert not incidents.blocks("shop")
    (blocking,) = incidents.report("shop", [LOST], release="sha256:1")
    assert blocking.release == "sha256:1"
    assert incidents.blocks("shop")
    assert not incidents.blocks("other")
    seen = incidents.settle(DANA, PRODUCT, blocking, "acknowledge", note="looking")
    assert (seen.acknowledged_by, incidents.blocks("shop")) == ("dana", False)
    incidents.report("shop", [LOST])
    assert not incidents.blocks("shop")
    incidents.report("shop", [replace(LOST, dataset="customers")])
    assert incidents.blocks("shop")


def test_what_a_person_settled_is_not_opened_again_by_the_same_snapshot(incidents: Incidents) -> None:
    (opened,) = incidents.report("shop", [VOLUME])
    incidents.settle(DANA, PRODUCT, opened, "resolve", note="loaded again")
    assert incidents.report("shop", [VOLUME]) == []
    (another,) = incidents.report("shop", [replace(VOLUME, snapshot_id="s2")])
    assert another.incident_id != opened.incident_id


def test_who_may_not_settles_nothing_nor_a_stale_view(incidents: Incidents, services: Services) -> None:
    (opened,) = incidents.report("shop", [VOLUME])
    for who in (replace(DANA, roles=frozenset({"analyst"})), replace(DANA, kind="service")):
        with pytest.raises(AccessDeniedError):
            incidents.settle(who, PRODUCT, opened, "acknowledge", note="x")
    with pytest.raises(UsageError, match="reason"):
        incidents.settle(DANA, PRODUCT, opened, "acknowledge", note=" ")
    incidents.report("shop", [replace(VOLUME, check="quality")])
    with pytest.raises(GateRefusedError, match="somebody else"):
        incidents.settle(DANA, PRODUCT, opened, "resolve", note="x")
    settled = incidents.settle(DANA, PRODUCT, only(incidents), "false-alarm", note="campaign of May")
    with pytest.raises(GateRefusedError, match="false_alarm"):
        incidents.settle(DANA, PRODUCT, settled, "acknowledge", note="x")
    assert only(opened_home(services.settings.home).incidents).note == "campaign of May"
    with services.database.read() as connection:
        assert b"campaign" not in connection.execute(incident_table.select()).one().note


@pytest.mark.parametrize("values", [{"state": "resolved"}, {"blocking": False}, {"signals": []}])
def test_a_row_that_somebody_wrote_into_the_database_is_refused(
    values: dict[str, object], incidents: Incidents, services: Services
) -> None:
    incidents.report("shop", [LOST])
    with services.database.write() as connection:
        connection.execute(update(incident_table).values(values))
    with pytest.raises(IntegrityError, match="incident"):
        opened_home(services.settings.home).incidents.blocks("shop")


def test_an_incident_that_was_deleted_is_missed(incidents: Incidents, services: Services) -> None:
    incidents.report("shop", [LOST])
    with services.database.write() as connection:
        connection.execute(delete(incident_table))
    with pytest.raises(IntegrityError, match="incident"):
        opened_home(services.settings.home).incidents.blocks("shop")


def test_many_that_look_at_once_open_one(home: Path) -> None:
    def look(number: int) -> None:
        opened_home(home).incidents.report("shop", [replace(VOLUME, check=f"check{number}")])

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(look, range(3)))
    found = only(opened_home(home).incidents)
    assert sorted(signal.check for signal in found.signals) == ["check0", "check1", "check2"]


DAYS = 30
UNUSUAL = {
    "state": "fail",
    "chance": 0.0,
    "value": 3_000.0,
    "expected": 1_060.0,
    "low": 900.0,
    "high": 1_200.0,
}


def settled(incidents: Incidents, verb: str) -> Feedback:
    """Feedback about the 28th day, which had three times the rows."""
    (opened,) = incidents.report("shop", [replace(VOLUME, snapshot_id="s28")])
    incidents.settle(DANA, PRODUCT, opened, verb, note="x")  # type: ignore[arg-type]
    return incidents.feedback("shop")


def rows_state(value: float, feedback: Feedback) -> str:
    numbers = [{"rows": 1_000.0 + 13 * (day * 7 % 11)} for day in range(DAYS)]
    numbers[28], numbers[29] = {"rows": 3_000.0}, {"rows": value}
    *history, last = records(DAYS, numbers)
    history[28] = replace(history[28], verdicts={"rows": UNUSUAL})
    seen = watch(last, history, contract().monitor, promised=None, feedback=feedback)
    return next(each.state for each in seen if each.metric == "rows")


def test_a_false_alarm_is_learned_from_and_nothing_further_off_is_let_through(incidents: Incidents) -> None:
    assert rows_state(2_900.0, Feedback()) == "fail"
    right = settled(incidents, "false-alarm")
    assert rows_state(2_900.0, right) == "pass"
    assert rows_state(6_000.0, right) == "fail"
    assert rows_state(100.0, right) == "fail"


def test_what_was_acknowledged_teaches_nothing(incidents: Incidents) -> None:
    wrong = settled(incidents, "acknowledge")
    assert wrong.wrong == {("s28", "volume")}
    (spoilt,) = records(1, [{"rows": 3_000.0}], verdicts={"rows": UNUSUAL})
    assert wrong.is_wrong(replace(spoilt, snapshot_id="s28"), "rows", "volume")
    assert not wrong.is_wrong(replace(spoilt, snapshot_id="s27"), "rows", "volume")
    assert rows_state(2_900.0, wrong) == "fail"
    assert rows_state(1_050.0, wrong) == "pass"


def clock_of(days: int) -> Callable[[], datetime]:
    return lambda: datetime(2026, 1, 5, tzinfo=UTC) + timedelta(days=days)


def test_an_acknowledged_incident_goes_on_being_one_whatever_it_finds_next_day(services: Services) -> None:
    for day in range(3):
        incidents = Incidents(services.sealed_rows, services.keys, services.policy, clock=clock_of(day))
        incidents.report("shop", [replace(VOLUME, snapshot_id=f"s{day}")])
        if day == 0:
            incidents.settle(DANA, PRODUCT, only(incidents), "acknowledge", note="x")
    found = only(services.incidents)
    assert (found.state, found.signals[0].times, found.revision) == ("acknowledged", 3, 1)
