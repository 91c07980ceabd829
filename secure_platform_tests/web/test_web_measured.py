"""Distributions before and now, the SLA report, and the way from an incident to the plot of its signal."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pages_support import Reader, pages
from starlette.applications import Starlette

from secure_platform.control.database import utc_now
from secure_platform.monitor.distribution import Drift, bin_edges, bin_middle, drift
from secure_platform.monitor.history import Record
from secure_platform.monitor.incident import Sighting
from secure_platform.services import Services
from secure_platform.settings import load_settings
from secure_platform.web.drift_plots import HEIGHT, MOST, WIDTH, drift_plot

NOTHING = Drift("learning", {}, 0.0, 1.0)
HOSTILE = '"><script>alert(1)</script>'
PLACE = "/observability/healthcare/protected/patients"


@given(
    before=st.dictionaries(st.integers(-900, 900).map(str), st.integers(11, 500), max_size=60),
    after=st.dictionaries(st.integers(-900, 900).map(str), st.integers(11, 500), max_size=60),
)
def test_every_row_is_in_one_bar_and_every_bar_is_in_the_picture(
    before: dict[str, int], after: dict[str, int]
) -> None:
    drawn = drift_plot("x", before, after, NOTHING, numeric=True, state="pass")
    assert len(drawn.pairs) <= MOST
    assert sum(pair.before for pair in drawn.pairs) == pytest.approx(1 if before else 0)
    assert sum(pair.after for pair in drawn.pairs) == pytest.approx(1 if after else 0)
    for pair in drawn.pairs:
        assert pair.before + pair.after > 0
        assert 0 <= pair.x <= pair.x + 2 * drawn.bar <= WIDTH
        assert all(0 <= height <= HEIGHT for height in pair.heights)


@given(st.integers(-900, 900))
def test_the_middle_of_a_bin_is_between_its_edges_and_they_meet_the_next(index: int) -> None:
    low, high = bin_edges(str(index))
    assert low <= bin_middle(str(index)) <= high
    if index > 0:
        assert bin_edges(str(index + 1))[0] == pytest.approx(high)
        assert bin_edges(str(-index)) == (-high, -low)


def test_a_moved_column_is_drawn_with_its_distances_and_told_in_words() -> None:
    before, after = {"400": 100, "410": 300, "420": 100}, {"410": 100, "420": 300, "430": 100}
    found = drift(before, after, numeric=True)
    drawn = drift_plot("days", before, after, found, numeric=True, state="fail")
    assert [measure.name.partition(" ")[0] for measure in drawn.measures] == [
        "Population",
        "Jensen-Shannon",
        "Kolmogorov-Smirnov",
        "Wasserstein",
    ]
    assert [(round(pair.before, 1), round(pair.after, 1)) for pair in drawn.pairs] == [
        (0.2, 0.0),
        (0.6, 0.2),
        (0.2, 0.6),
        (0.0, 0.2),
    ]
    assert not drawn.by_chance
    low, high = drawn.ends
    assert float(low) < float(high)
    assert "60.0 %" in drawn.words
    assert "Wasserstein" in drawn.words
    equal = drift_plot(
        "days", before, before, drift(before, before, numeric=True), numeric=True, state="pass"
    )
    assert equal.by_chance


def test_categories_go_by_how_frequent_they_were_and_the_rare_are_joined() -> None:
    before = {f"1:{place:016x}": 1_000 - place for place in range(30)}
    drawn = drift_plot("ward", before, {"1:new": 50}, NOTHING, numeric=False, state="pass")
    assert [pair.label for pair in drawn.pairs[:2]] == ["1:0000000000000000", "1:0000000000000001"]
    assert len(drawn.pairs) == MOST
    assert drawn.ends == ("", "")
    assert drawn.pairs[-1].label == "8 others"
    assert drawn.pairs[-1].after == 1.0


def snapshot(day: int, *, moved: bool = False) -> Record:
    bins = {"420": 40, "421": 80, "422": 40} if not moved else {"440": 40, "441": 80, "442": 40}
    verdicts = {}
    if moved:
        said = {"state": "fail", "chance": 1e-9, "expected": 0.0, "low": 0.0, "high": 1.0}
        verdicts = {
            "drift:age": {**said, "value": 9.0, "note": "psi 4.000"},
            "schema": {**said, "value": 1.0, "note": f"{HOSTILE}: breaking"},
            "mean:age": {**said, "value": 4.0, "note": ""},
        }
    return Record(
        product="healthcare",
        dataset="patients",
        zone="protected",
        snapshot_id=f"p{day}",
        numbers={"rows": 160.0, "mean:age": 4.0 if moved else 2.0, "null_rate:age": 0.0},
        sketches={"age": bins, "sex": {"1:aa": 100, "1:bb": 60}},
        verdicts=verdicts,
        recorded_at=utc_now() - timedelta(days=30 - day),
    )


@pytest.fixture
def services(parsed_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Services:
    home = Path(shutil.copytree(parsed_home, tmp_path / "home"))
    monkeypatch.setenv("SECURE_PLATFORM_HOME", str(home))
    monkeypatch.delenv("SECURE_PLATFORM_TOKEN_FILE", raising=False)
    opened = Services(load_settings())
    for day in range(20):
        opened.metrics.add(snapshot(day, moved=day == 10))
    sighting = Sighting(
        "protected", "patients", "distribution", "p10", "fail", metrics=("drift:age", "mean:age")
    )
    run = Sighting("run", "", "healthcare__build", "r1", "fail")
    opened.incidents.report("healthcare", [sighting, run])
    return opened


@pytest.fixture
def app(services: Services) -> Iterator[Starlette]:
    with pages(services) as opened:
        yield opened


def test_an_incident_leads_to_the_plot_of_its_signal_as_it_was_then(
    app: Starlette, services: Services
) -> None:
    reader = Reader(app, services, "dana")
    incidents = {each.kind: each for each in services.incidents.all()}
    page = reader.open(f"/incidents/{incidents['data'].incident_id}").text
    (link,) = re.findall(r'href="([^"#]*)#drift%3Aage"', page)
    assert link == f"{PLACE}?snapshot=p10"
    shown = reader.open(link).text
    assert "As it was when the snapshot of" in shown
    assert f'id="{unquote("drift%3Aage")}"' in shown
    assert "age: most frequent before is" in shown
    assert "Chance alone makes such a difference: it is none." in shown  # sex did not move
    assert shown.count("Wasserstein distance") >= 2
    assert (HOSTILE in shown, "&lt;script&gt;alert(1)" in shown) == (False, True)
    newest = reader.open(PLACE).text
    assert "The newest snapshot, of" in newest
    assert "Nothing." in newest
    assert (
        "#"
        not in reader.open(f"/incidents/{incidents['run'].incident_id}").text.partition("Signals")[2][:600]
    )


def test_what_was_found_wrong_is_not_what_later_snapshots_are_compared_with(
    app: Starlette, services: Services
) -> None:
    reader = Reader(app, services, "dana")
    (incident,) = [each for each in services.incidents.all() if each.kind == "data"]
    later = f"{PLACE}?snapshot=p11"
    shares = re.compile(r'<th scope="row">([0-9.]+ to [0-9.]+)</th><td class="number">([0-9.]+) %')
    assert len(shares.findall(reader.open(later).text)) == 6
    assert (
        reader.submit(
            f"/incidents/{incident.incident_id}", verb="acknowledge", reason="the unit was wrong"
        ).status_code
        == 303
    )
    assert len(shares.findall(reader.open(later).text)) == 3


def test_places_that_do_not_exist_and_snapshots_of_others_show_nothing_else(
    app: Starlette, services: Services
) -> None:
    services.metrics.add(replace(snapshot(0), snapshot_id="foreign", product="secret"))
    reader = Reader(app, services, "dana")
    assert "The newest snapshot, of" in reader.open(f"{PLACE}?snapshot=foreign").text
    assert "The newest snapshot, of" in reader.open(f"{PLACE}?snapshot={'x' * 3000}").text
    for path in ("nothing/patients", "protected/nothing"):
        assert reader.open(f"/observability/healthcare/{path}").status_code == 400
    empty = reader.open("/observability/healthcare/raw/conditions").text
    assert "Nothing was measured yet." in empty


def test_the_sla_report_is_read_and_downloaded(app: Starlette, services: Services) -> None:
    for hours in (120, 100, 10):
        came = utc_now() - timedelta(hours=hours)
        services.metrics.add(Record("healthcare", "patients", "raw", f"s{hours}", {}, recorded_at=came))
    reader = Reader(app, services, "dana")
    page = reader.open("/observability/healthcare/sla").text
    assert "64 h" in page
    assert "26 h" in page
    file = reader.open("/observability/healthcare/sla.csv")
    assert file.headers["content-type"].startswith("text/csv")
    assert 'filename="sla-healthcare.csv"' in file.headers["content-disposition"]
    assert file.text.startswith('"product","dataset","clock","promised_hours","month"')
    assert '"healthcare","patients","UTC",26.0' in file.text
    assert Reader(app, services, "dana").open("/observability/nothing/sla.csv").status_code == 400


def test_who_may_not_look_gets_no_page_and_no_file(app: Starlette, services: Services) -> None:
    reader = Reader(app, services, "ana")
    for path in (PLACE, "/observability/healthcare/sla", "/observability/healthcare/sla.csv"):
        assert reader.open(path).status_code == 403
