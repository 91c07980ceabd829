"""An incident is told once to everybody who wants it: late if it must be, never lost and never twice."""

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from loopback_servers import Inbox, http_server
from sqlalchemy.exc import OperationalError
from waiting import wait_for

from secure_platform.access.principals import Principal
from secure_platform.access.resources import ProductResource
from secure_platform.control import database
from secure_platform.errors import UsageError
from secure_platform.homes import initialise
from secure_platform.monitor.alerts import Alerts
from secure_platform.monitor.incident import Sighting
from secure_platform.monitor.incidents import Incidents
from secure_platform.monitor.watchdog import Watchdog
from secure_platform.notify import courier
from secure_platform.notify.outbox import Notices
from secure_platform.services import Services
from secure_platform.settings import load_settings
from secure_platform.site import AlertSettings

PRODUCT = ProductResource("healthcare", "production", 1)
DANA = Principal("dana", "user", frozenset({"data_engineer"}), active=True)
VOLUME = Sighting("raw", "patients", "volume", "s1", "warn", metrics=("rows",))
DRIFT = replace(VOLUME, check="drift")
LOST = Sighting("production", "patient_summary", "matches_release", "p1", "fail", blocking=True)
NIGHT = "Mon-Sun 20:00-08:00 UTC"


class Place:
    """A home at a made-up time, with channels that go to a server on loopback."""

    def __init__(self, home: Path, inbox: Inbox, directory: Path) -> None:
        self.home = home
        self.now = datetime(2026, 11, 23, 12, tzinfo=UTC)  # a Monday
        secret = directory / "slack.secret"
        secret.write_text("T0/B0/xyz")
        secret.chmod(0o600)
        self._channel = {
            "kind": "slack",
            "url": inbox.url,
            "secret": f"secret://file/{secret}",
            "allow": ["127.0.0.0/8"],
        }
        self._inbox = inbox

    def open(self, *channels: dict[str, Any], maintenance: tuple[str, ...] = (), **settings: Any) -> "Opened":
        """As after a restart: nothing is kept but what is in the home."""
        named = [self._channel | {"name": f"c{place}"} | each for place, each in enumerate(channels or ({},))]
        return Opened(
            self, load_settings(home=self.home, channels=named), maintenance, AlertSettings(**settings)
        )

    def texts(self) -> list[str]:
        return [json.loads(body)["text"] for _, _, body in self._inbox.received]


class Opened:
    """The rooms of the home at that time."""

    def __init__(
        self, place: Place, settings: Any, maintenance: tuple[str, ...], alerts: AlertSettings
    ) -> None:
        services = self.services = Services(settings)
        self.incidents = Incidents(
            services.sealed_rows, services.keys, services.policy, clock=lambda: place.now
        )
        self.notices = Notices(
            services.database,
            services.audit,
            settings.channels,
            secrets=services.secrets,
            environment="production",
            url="https://data.example.org",
            clock=lambda: place.now,
        )
        product = replace(services.product("healthcare"), maintenance_windows=maintenance)
        self.alerts = Alerts(
            self.incidents,
            self.notices,
            settings.channels,
            alerts,
            lambda: {"healthcare": product},
            clock=lambda: place.now,
        )
        self.watchdog = Watchdog(
            services.database, self.notices, timedelta(minutes=15), clock=lambda: place.now
        )

    def report(self, *sightings: Sighting, product: str = "healthcare") -> None:
        self.incidents.report(product, sightings)

    def told(self) -> list[tuple[str, str]]:
        """Who is told what now; the queue holds it."""
        return sorted((each.channel, each.event) for each in self.alerts.tell())

    def held(self) -> set[str | None]:
        return {each.held for each in self.alerts.due()}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alerts") / "home"
    initialise(load_settings(home=folder))
    return folder


@pytest.fixture
def place(fresh: Path, tmp_path: Path, inbox: Inbox) -> Place:
    return Place(Path(shutil.copytree(fresh, tmp_path / "home")), inbox, tmp_path)


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with http_server() as started:
        yield started


def test_an_incident_is_told_when_it_opens_gets_worse_and_is_settled_each_once(place: Place) -> None:
    opened = place.open()
    opened.report(VOLUME)
    for _ in range(2):
        opened.alerts.tell()
        opened.report(VOLUME)
    place.now += timedelta(minutes=1)
    opened.report(replace(VOLUME, check="quality", state="fail"))
    assert place.open().told() == [("c0", "incident.worse")]
    (incident,) = opened.incidents.all()
    place.now += timedelta(minutes=1)
    opened.incidents.settle(DANA, PRODUCT, incident, "resolve", note="loaded again")
    assert place.open().told() == [("c0", "incident.settled")]
    assert place.open().told() == []
    assert [each.state for each in opened.notices.deliver()] == ["delivered"] * 3
    both = "volume of raw/patients, quality of raw/patients (data, fail) (production)."
    assert place.texts() == [
        "Healthcare has an incident: volume of raw/patients (data, warn) (production).",
        f"The incident of healthcare got worse: {both}",
        f"The incident of healthcare is settled: {both}",
    ]


def test_who_acknowledged_an_incident_is_not_told_and_nobody_hears_only_of_its_end(place: Place) -> None:
    opened = place.open()
    opened.report(VOLUME)
    (incident,) = opened.incidents.all()
    seen = opened.incidents.settle(DANA, PRODUCT, incident, "acknowledge", note="looking")
    assert opened.told() == []
    opened.incidents.settle(DANA, PRODUCT, seen, "resolve", note="x")
    assert opened.told() == []


@pytest.mark.parametrize(
    ("route", "told"),
    [
        ({"severities": ["fail"]}, ["production"]),
        ({"severities": ["warn"]}, ["data"]),
        ({"owners": ["team:clinical-data"]}, ["data", "production"]),
        ({"owners": ["team:other"]}, []),
        ({"products": ["sales"]}, []),
        ({"events": ["release.pending"]}, []),
        ({"events": ["incident.opened"], "products": ["healthcare"]}, ["data", "production"]),
    ],
)
def test_routes_go_by_product_severity_and_owner(
    route: dict[str, Any], told: list[str], place: Place
) -> None:
    opened = place.open(route)
    opened.report(VOLUME, LOST)
    assert sorted(each.incident.kind for each in opened.alerts.tell()) == told


@pytest.mark.parametrize(
    ("how", "why"),
    [({"quiet": [NIGHT]}, "quiet hours"), ({"maintenance": ("Mon 22:00-23:30 UTC",)}, "maintenance")],
)
def test_what_waits_for_the_morning_is_told_then_and_security_does_not_wait(
    how: dict[str, Any], why: str, place: Place
) -> None:
    place.now = place.now.replace(hour=23)

    def opened() -> Opened:
        maintenance = how.get("maintenance", ())
        return place.open({"quiet": how.get("quiet", [])}, maintenance=maintenance)

    opened().report(VOLUME, DRIFT, LOST)
    assert opened().held() == {why, None}
    assert {each.incident.kind for each in opened().alerts.tell()} == {"security", "production"}
    assert opened().told() == []
    place.now += timedelta(hours=9)
    assert [each.incident.kind for each in opened().alerts.tell()] == ["data"]


def test_what_is_over_in_the_morning_was_never_told(place: Place) -> None:
    place.now = place.now.replace(hour=23)
    opened = place.open({"quiet": [NIGHT]})
    opened.report(VOLUME)
    opened.report(replace(VOLUME, state=None, snapshot_id="s2"))
    place.now += timedelta(hours=9)
    assert opened.told() == []


def test_more_warnings_than_the_budget_of_a_day_wait_for_the_next(place: Place) -> None:
    def opened() -> Opened:
        return place.open(warnings_per_day=1)

    production = replace(VOLUME, zone="production", dataset="patient_summary")
    opened().report(VOLUME, production)
    assert opened().held() == {None, "budget"}
    assert len(opened().alerts.tell()) == 1
    assert opened().told() == []
    opened().report(DRIFT)
    assert [each.incident.kind for each in opened().alerts.tell()] == ["security"]
    place.now += timedelta(days=1)
    assert len(opened().alerts.tell()) == 1


def test_an_alert_links_to_its_runbook(place: Place) -> None:
    opened = place.open(runbook="https://wiki.example.org/{product}/{kind}")
    opened.report(LOST)
    opened.alerts.tell()
    (queued,) = opened.notices.list()
    assert queued.notice.links[1] == ("Runbook", "https://wiki.example.org/healthcare/production")
    assert queued.notice.urgent
    assert queued.notice.to_json()["alert"]["signals"] == ["matches_release of production/patient_summary"]


def test_quiet_hours_that_are_no_times_are_refused(place: Place) -> None:
    with pytest.raises(UsageError, match="settings cannot be used"):
        place.open({"quiet": ["at night"]})


def test_a_slack_that_is_down_gets_it_later_and_once_also_after_a_restart(
    fresh: Path, tmp_path: Path
) -> None:
    home = Path(shutil.copytree(fresh, tmp_path / "home"))
    with http_server(500) as down:
        place = Place(home, down, tmp_path)
        opened = place.open()
        opened.report(LOST)
        opened.alerts.tell()
        assert [each.state for each in opened.notices.deliver()] == ["waiting"]
    with http_server() as up:
        place = Place(home, up, tmp_path)
        place.now += timedelta(minutes=2)
        for _ in range(3):
            again = place.open()
            again.alerts.tell()
            again.notices.deliver()
        assert len(place.texts()) == 1


def test_a_database_that_is_locked_delays_it_and_loses_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_SECONDS", 0)
    opened = place.open()
    opened.report(LOST)
    other = sqlite3.connect(place.home / "control.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(OperationalError):
        opened.alerts.tell()
    with pytest.raises(OperationalError):
        opened.report(replace(LOST, dataset="encounter_facts"))
    other.execute("ROLLBACK")
    other.close()
    opened.report(replace(LOST, dataset="encounter_facts"))
    opened.alerts.tell()
    opened.notices.deliver()
    (text,) = place.texts()
    assert "patient_summary" in text
    assert "encounter_facts" in text


def test_who_is_killed_between_the_incident_and_its_alert_or_while_sending_leaves_it_to_the_next(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.open().report(LOST)
    opened = place.open()
    opened.alerts.tell()

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("secure_platform.notify.outbox.send", dies)
        with pytest.raises(KeyboardInterrupt):
            opened.notices.deliver()
    place.now += timedelta(minutes=2)
    again = place.open()
    assert again.told() == []
    assert [each.state for each in again.notices.deliver()] == ["delivered"]
    assert len(place.texts()) == 1


def test_a_server_tells_by_itself_and_a_task_that_fails_stops_no_other(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(courier, "PAUSE_SECONDS", 0.01)
    opened = place.open()
    opened.report(LOST)

    def fails() -> None:
        raise OSError

    with courier.delivering(opened.notices, fails, opened.alerts.tell):
        wait_for(place.texts, seconds=30)
    assert len(place.texts()) == 1
    assert "OSError" in caplog.text


def silences(opened: Opened) -> int:
    return sum(each.notice.event == "monitor.silent" for each in opened.notices.list())


def test_a_daemon_that_is_silent_is_told_once_and_again_when_it_falls_silent_again(place: Place) -> None:
    opened = place.open()
    for minutes, beats, told in ((14, False, 0), (2, False, 1), (60, False, 1), (1, True, 1), (20, False, 2)):
        place.now += timedelta(minutes=minutes)
        if beats:
            opened.watchdog.beat()
        opened.watchdog.look()
        assert silences(opened) == told
    started = place.open()
    started.watchdog.look()
    assert silences(started) == 2


def test_signs_of_life_go_only_to_who_names_them_and_only_while_the_daemon_lives(place: Place) -> None:
    opened = place.open({"events": ["monitor.alive"]}, {})
    beat: Callable[[], None] = opened.watchdog.beat
    for minutes, beats in ((0, True), (1, True), (5, True), (16, False)):
        place.now += timedelta(minutes=minutes)
        if beats:
            beat()
        opened.watchdog.look()
    assert place.texts() == ["The daemon lives (production)."] * 2
    assert [(each.channel, each.notice.event) for each in opened.notices.list()] == [("c1", "monitor.silent")]
