"""The page *Observability*: courses are drawn as they were judged, and settling is bound to what was seen."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pages_support import HTML, Forms, Reader, pages
from sqlalchemy import update
from starlette.applications import Starlette

from secure_platform.control.database import utc_now
from secure_platform.control.tables import profile
from secure_platform.monitor.history import Record
from secure_platform.monitor.incident import Sighting
from secure_platform.orchestration.steps.late import look_for_late
from secure_platform.services import Services
from secure_platform.settings import load_settings
from secure_platform.web.courses import HEIGHT, WIDTH, course

LOST = Sighting("production", "patient_summary", "matches_release", "p1", "fail", blocking=True)
HOSTILE = '"><script>alert(1)</script>'


def records(count: int, *, broken: int | None = None) -> list[Record]:
    made = []
    for day in range(count):
        value = 500.0 if day == broken else 100.0 + day
        said = {"state": "fail" if day == broken else "pass", "low": 90.0 + day, "high": 110.0 + day}
        made.append(
            Record(
                product="healthcare",
                dataset="patients",
                zone="raw",
                snapshot_id=f"s{day}",
                numbers={"rows": value},
                verdicts={
                    "rows": {**said, "value": value, "expected": 100.0 + day, "chance": 1.0, "note": ""}
                },
                recorded_at=utc_now() - timedelta(days=count - day),
            )
        )
    return made


def test_a_course_has_its_band_and_dots_where_something_was_unusual() -> None:
    drawn = course("rows", records(20, broken=5))
    assert drawn is not None
    assert (drawn.value, drawn.low, drawn.high, drawn.state, drawn.unusual) == (
        119.0,
        109.0,
        129.0,
        "pass",
        1,
    )
    assert [dot.state for dot in drawn.dots] == ["fail", "pass"]
    assert drawn.dots[0].y < drawn.dots[1].y
    assert drawn.line.count("L") == 19
    assert drawn.band.count("L") == 39
    assert all(0 <= dot.x <= WIDTH and 0 <= dot.y <= HEIGHT for dot in drawn.dots)


def test_a_course_of_one_point_a_flat_one_and_none() -> None:
    (first,) = records(1)
    alone = course("rows", [replace(first, verdicts={})])
    assert alone is not None
    assert (alone.band, alone.low, alone.state) == ("", None, "learning")
    flat = course("rows", [replace(first, verdicts={}), replace(first, snapshot_id="s", verdicts={})])
    assert flat is not None
    assert flat.dots[-1].y == HEIGHT / 2
    assert course("mean:age", [first]) is None
    assert course("rows", []) is None


@pytest.fixture
def services(parsed_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Services:
    home = Path(shutil.copytree(parsed_home, tmp_path / "home"))
    monkeypatch.setenv("SECURE_PLATFORM_HOME", str(home))
    monkeypatch.delenv("SECURE_PLATFORM_TOKEN_FILE", raising=False)
    opened = Services(load_settings())
    for record in records(20, broken=19):
        opened.metrics.add(record)
    opened.incidents.report("healthcare", [LOST])
    return opened


@pytest.fixture
def app(services: Services) -> Iterator[Starlette]:
    with pages(services) as opened:
        yield opened


def test_health_courses_and_incidents_are_shown(app: Starlette, services: Services) -> None:
    reader = Reader(app, services, "dana")
    overview = reader.open("/observability").text
    assert "matches_release of production/patient_summary" in overview
    assert "deployments wait" in overview
    watched = reader.open("/observability/healthcare").text
    assert "rows of raw/patients since" in watched
    assert "now 500, expected 109 to 129; 1 unusual" in watched
    assert '<circle class="dot fail"' in watched


def test_an_edited_record_hides_nothing_but_its_own_course(app: Starlette, services: Services) -> None:
    whole = services.metrics.before("healthcare", "patients", "raw")[-1]
    services.metrics.add(replace(whole, dataset="encounters", snapshot_id="other"))
    with services.database.write() as connection:
        edited = update(profile).where(profile.c.dataset == "patients")
        connection.execute(edited.values(recorded_at=datetime.now(UTC)))
    look_for_late(services, services.products["healthcare"], lambda _: None)
    (incident,) = [each for each in services.incidents.all() if each.kind == "security"]
    reader = Reader(app, services, "dana")
    for path in ("/observability", "/observability/healthcare", f"/incidents/{incident.incident_id}"):
        page = reader.open(path)
        assert page.status_code == 200
        assert "history of raw/patients" in page.text
    watched = reader.open("/observability/healthcare").text
    assert "rows of raw/encounters since" in watched
    assert "rows of raw/patients since" not in watched
    assert "/raw/patients?snapshot" not in reader.open(f"/incidents/{incident.incident_id}").text


def test_settling_is_bound_to_what_was_seen(app: Starlette, services: Services) -> None:
    (incident,) = services.incidents.all()
    path = f"/incidents/{incident.incident_id}"
    reader = Reader(app, services, "dana")
    stale = reader.submit(path, verb="acknowledge", reason="looking", revision="7")
    assert (stale.status_code, "got worse since you looked" in stale.text) == (409, True)
    assert reader.submit(path, verb="acknowledge", reason=" ").status_code == 409
    assert reader.submit(path, verb="delete", reason="x").status_code == 409
    assert services.incidents.all()[0].state == "open"
    assert reader.submit(path, verb="acknowledge", reason=HOSTILE).status_code == 303
    seen = reader.open(path).text
    assert "acknowledged by dana" in seen
    assert HOSTILE not in seen
    assert "&lt;script&gt;alert(1)" in seen
    assert services.incidents.all()[0].acknowledged_at is not None
    assert services.incidents.all()[0].opened_at < datetime.now(UTC)


def test_who_may_only_look_is_offered_nothing_and_settles_nothing(app: Starlette, services: Services) -> None:
    (incident,) = services.incidents.all()
    path = f"/incidents/{incident.incident_id}"
    reader = Reader(app, services, "otto")
    assert "Settle it" not in reader.open(path).text
    form = {"verb": "resolve", "reason": "x", "revision": "1"}
    assert reader.post(path, data=form, headers=HTML).status_code == 403
    (_, hidden), *_ = Forms.of(reader.open("/account").text)
    refused = reader.post(path, data={**form, "csrf": hidden["csrf"]}, headers=HTML)
    assert (refused.status_code, "incident_manage" in refused.text) == (409, True)
    assert services.incidents.all()[0].state == "open"
    assert Reader(app, services, "dana").open("/incidents/nothing").status_code == 400


def test_outcomes_are_those_of_the_products_that_the_reader_may_look_at(
    app: Starlette, services: Services
) -> None:
    reader = Reader(app, services, "otto")
    Reader(app, services, "ana").open("/outcomes")
    shown = reader.open("/outcomes")
    assert shown.status_code == 200
    assert "production 1" in shown.text
    assert "Rights for a time that hold now" in shown.text
    assert 'aria-label="Incidents by the month in which they opened' in shown.text
    assert "ana" not in shown.text
    assert "Rights for a time" not in Reader(app, services, "dana").open("/outcomes").text
    assert Reader(app, services, "ana").open("/outcomes").status_code == 403
    assert Reader(app, services, None).open("/outcomes").status_code == 303
