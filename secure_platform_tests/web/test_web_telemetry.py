"""`/metrics` is for who has the right, in the format of Prometheus, with labels that data do not add to."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from api_support import Api, api
from sqlalchemy import update

from secure_platform.control.tables import incident
from secure_platform.homes import initialise
from secure_platform.monitor.incident import Sighting
from secure_platform.orchestration.exposition import Family, exposition
from secure_platform.orchestration.tally import tally_of
from secure_platform.services import Services
from secure_platform.settings import PACKAGE, load_settings
from secure_platform.web.pages.outcomes import Outcomes

INFRA = PACKAGE.parent / "infra" / "monitoring"
SAMPLE = re.compile(r'(secure_platform_[a-z_]+)(\{(?:[a-z_]+="[^"\n]*",?)*\})? [0-9.e+-]+')
NAME = re.compile(r"secure_platform_[a-z_]+")
LOST = Sighting("production", "patient_summary", "matches_release", "p1", "fail", blocking=True)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    settings = load_settings(home=tmp_path_factory.mktemp("telemetry") / "home")
    initialise(settings)
    with api(Services(settings)) as opened:
        yield opened


def scrape(place: Api) -> dict[str, str]:
    """Sample with its labels → value."""
    answer = place.of("auditor", scopes=("metrics_read",)).get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
    assert all(SAMPLE.fullmatch(line) for line in lines), answer.text
    return dict(line.rsplit(" ", 1) for line in lines)


def test_nobody_without_the_right_gets_a_number(place: Api) -> None:
    assert place.anonymous.get("/metrics").status_code == 401
    assert place.of("analyst").get("/metrics").status_code == 403
    scoped = place.of("auditor", scopes=("metrics_read",))
    assert scoped.get("/metrics").status_code == 200
    assert scoped.get("/audit").status_code == 403
    assert place.of("auditor", scopes=("release_read",)).get("/metrics").status_code == 403


def test_incidents_blocks_silence_and_containment_are_numbers(place: Api) -> None:
    services = place.services
    before = scrape(place)
    assert before['secure_platform_deployments_blocked{product="healthcare"}'] == "0"
    services.watchdog.beat()
    services.incidents.report("healthcare", [LOST])
    services.incidents.report("gone", [LOST])
    after = scrape(place)
    labels = 'product="healthcare",kind="production",severity="fail",state="open"'
    assert after[f"secure_platform_incidents{{{labels}}}"] == "1"
    assert after['secure_platform_deployments_blocked{product="healthcare"}'] == "1"
    assert float(after["secure_platform_daemon_silence_seconds"]) >= 0
    assert float(after["secure_platform_audit_entries_total"]) > float(
        before["secure_platform_audit_entries_total"]
    )
    assert not any("gone" in sample for sample in after)


def test_incidents_of_the_platform_itself_are_numbers(place: Api) -> None:
    denied = Sighting("access", "3f9c", "denials", "d1", "fail")
    place.services.incidents.report("platform", [denied])
    told = scrape(place)
    labels = 'product="platform",kind="security",severity="fail",state="open"'
    assert told[f"secure_platform_incidents{{{labels}}}"] == "1"
    assert float(told['secure_platform_incident_oldest_seconds{product="platform"}']) >= 0
    assert 'secure_platform_deployments_blocked{product="platform"}' not in told


def test_the_page_of_outcomes_and_the_scrape_count_the_log_once(place: Api) -> None:
    assert place.of("analyst").get("/metrics").status_code == 403
    tally = tally_of(place.services)
    scrape(place)
    assert tally.decisions() != {}
    assert Outcomes(place.services)._tally is tally


def test_what_rules_and_dashboard_ask_for_is_there(place: Api) -> None:
    place.services.watchdog.beat()
    answer = place.of("auditor").get("/metrics").text
    known = set(re.findall(r"^# TYPE (\S+) (?:gauge|counter)$", answer, re.MULTILINE))
    rules = yaml.safe_load((INFRA / "rules.yml").read_text())
    alerts = [rule for group in rules["groups"] for rule in group["rules"]]
    panels = json.loads((INFRA / "dashboard.json").read_text())["panels"]
    asked = [rule["expr"] for rule in alerts]
    asked += [target["expr"] for panel in panels for target in panel["targets"]]
    assert {name for query in asked for name in NAME.findall(query)} <= known
    assert all(rule["labels"]["severity"] and rule["annotations"]["summary"] for rule in alerts)
    assert yaml.safe_load((INFRA / "prometheus.yml").read_text())["rule_files"] == ["rules.yml"]


def test_a_label_cannot_break_out_of_its_line() -> None:
    text = exposition([Family("runs", "Runs.", [({"job": 'a"b\\c\nd'}, 2.0)])])
    assert text.splitlines()[-1] == 'secure_platform_runs{job="a\\"b\\\\c\\nd"} 2'


def test_an_edited_incident_does_not_blind_the_scrape(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path / "home")
    initialise(settings)
    with api(Services(settings)) as place:
        place.services.incidents.report("healthcare", [LOST])
        with place.services.database.write() as connection:
            connection.execute(update(incident).values(blocking=False))
        told = scrape(place)
    assert told["secure_platform_incidents_tampered"] == "1"
    assert float(told["secure_platform_audit_entries_total"]) > 0
    assert not [sample for sample in told if sample.startswith("secure_platform_incidents{")]
