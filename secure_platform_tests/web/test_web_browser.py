"""A person opens the UI in Chromium: product, columns, checks and production are there, the data is not."""

import csv
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from browser_support import Browser, inside, running, tab
from playwright.sync_api import expect
from serve_support import ROOT, Serving, clean_environment, serving
from web_login import person, session_cookie

from secure_platform.sample.generate import generate
from secure_platform.services import Services
from secure_platform.settings import load_settings

pytestmark = [pytest.mark.slow, pytest.mark.system]

ZONES = ("raw", "protected", "marts", "release", "production")
ZOOM_STEPS = 6
CANARY = "Canarina7f3a91"
SECRET_COLUMNS = ("Id", "SSN", "DRIVERS", "PASSPORT", "ADDRESS")


@pytest.fixture(scope="module")
def built(parsed_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose `home` went through the whole main job, with a canary for a first name."""
    directory = tmp_path_factory.mktemp("browser")
    shutil.copytree(parsed_home, directory / "home")
    source = directory / "home" / "sources" / "healthcare"
    source.mkdir(parents=True, mode=0o700)
    generate(source, patients=150)
    patients = source / "patients.csv"
    text = patients.read_text(encoding="utf-8")
    first = next(csv.DictReader(text.splitlines()))["FIRST"]
    patients.write_text(text.replace(f",{first},", f",{CANARY},"), encoding="utf-8")
    subprocess.run(
        [sys.executable, "-m", "secure_platform", "--home", str(directory / "home"), "demo"],
        cwd=ROOT,
        env=clean_environment(),
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return directory


@pytest.fixture(scope="module")
def server(built: Path) -> Iterator[Serving]:
    with serving(built) as started:
        assert started.port
        yield started


Tab = Callable[..., Browser]


@pytest.fixture(scope="module")
def tab_of(chromium: Path, server: Serving) -> Iterator[Tab]:
    """The tab of somebody with these roles."""
    services = Services(load_settings(home=server.home))
    with running(chromium) as started:
        base = f"http://127.0.0.1:{server.port}"
        yield lambda *roles: tab(started, base, session_cookie(services, person(services, *roles)))


@pytest.fixture(scope="module")
def ui(tab_of: Tab) -> Browser:
    opened = tab_of("data_engineer")
    opened.open("/asset-groups").get_by_text("Hide navigation").click()
    return opened


@pytest.fixture(scope="module")
def analyst(tab_of: Tab) -> Browser:
    return tab_of("analyst")


@pytest.fixture(scope="module")
def secrets(built: Path) -> set[str]:
    text = (built / "home/sources/healthcare/patients.csv").read_text(encoding="utf-8")
    assert CANARY in text
    rows = list(csv.DictReader(text.splitlines()))
    return {CANARY} | {row[column] for row in rows for column in SECRET_COLUMNS if row[column]}


@pytest.fixture(autouse=True)
def _nothing_leaks(ui: Browser, secrets: set[str]) -> Iterator[None]:
    """Whatever page a test has opened: no value, no complaint, no request to anywhere else."""
    yield
    assert_clean(ui, secrets)


def assert_clean(ui: Browser, secrets: set[str]) -> None:
    text = ui.text()
    assert "healthcare" in text
    assert not {value for value in secrets if value in text}
    assert ui.foreign() == []
    assert ui.complaints == []


def test_the_graph_shows_the_zones_in_the_order_of_the_way(ui: Browser) -> None:
    page = ui.open("/asset-groups")
    nodes = [page.get_by_text(f"healthcare_{zone}", exact=True) for zone in ZONES]
    for node in nodes:
        expect(node.first).to_be_visible()


def test_the_open_graph_shows_every_table_materialised(ui: Browser) -> None:
    groups = ",".join(f"global@global:healthcare_{zone}" for zone in ZONES)
    page = ui.open(f"/asset-groups?expanded={groups}")
    for table, zones in (("patients", 2), ("encounter_facts", 2), ("release", 1)):
        expect(page.get_by_text(table, exact=True)).to_have_count(zones)
    page.get_by_label("panel_show_right").click()
    green = page.locator("[class*=minimalAssetNodeBox][style*='--color-accent-green']")
    expect(green).to_have_count(17)
    for _ in range(ZOOM_STEPS):
        if not inside(green.all()):
            page.get_by_label("zoom_out").click()
    assert inside(green.all())
    ui.picture("healthcare-graph", around=green.all())


def test_the_columns_carry_classification_info_type_and_transform(ui: Browser) -> None:
    page = ui.open("/assets/healthcare/raw/patients?view=overview")
    row = page.get_by_role("row").filter(has_text="Social Security number")
    for words in ("ssn", "classification: restricted", "info_type: US_SSN", "transform: drop"):
        expect(row).to_contain_text(words)
    row.scroll_into_view_if_needed()
    ui.picture("columns")


def test_a_protected_column_says_under_which_rule(ui: Browser) -> None:
    page = ui.open("/assets/healthcare/protected/patients?view=overview")
    row = page.get_by_role("row").filter(has_text="birthdate")
    for words in ("info_type: DATE_OF_BIRTH", "transform: generalize", "45 CFR 164.514(b)(2)(i)(C)"):
        expect(row).to_contain_text(words)
    assert "ssn" not in ui.text()


def test_the_checks_are_there_with_their_results(ui: Browser) -> None:
    page = ui.open("/assets/healthcare/protected/patients?view=checks&checkDetail=residual")
    expect(page.get_by_text("Checks (10)")).to_be_visible()
    expect(page.get_by_text("No personal data, secret or original value is left.")).to_be_visible()
    expect(page.get_by_text("Passed", exact=True)).to_be_visible()
    expect(page.get_by_text("Succeeded")).to_have_count(10)
    ui.picture("checks")


def test_production_names_the_release_that_readers_get(ui: Browser) -> None:
    page = ui.open("/assets/healthcare/production/patient_summary?view=overview")
    expect(page.get_by_text("Passing").first).to_be_visible()
    expect(page.get_by_text("sha256:").first).to_be_visible()
    expect(page.get_by_role("row", name="number materialization")).to_contain_text("1")
    ui.picture("production")


RUN = "a[href^='/runs/']"
# What stands on them when there is nothing to read; a schedule whose tick is near has its row at any time.
EMPTY: dict[str, str | re.Pattern[str]] = {
    "/overview/activity": re.compile(
        "^(No runs or scheduled ticks in this time period.|rotation|healthcare_build)$"
    ),
    "/runs": "No runs found",
    "/jobs": "healthcare_build",
    "/automation": "healthcare_schedule",
    "/locations/secure_platform/jobs/healthcare_build": "Source to pending release.",
}


def test_an_analyst_sees_the_catalogue_and_cannot_materialise(analyst: Browser, secrets: set[str]) -> None:
    page = analyst.open("/assets/healthcare/protected/patients?view=overview")
    expect(page.get_by_role("row").filter(has_text="birthdate")).to_contain_text("transform: generalize")
    expect(page.get_by_role("button", name="Materialize")).to_be_disabled()
    analyst.picture("analyst")
    assert_clean(analyst, secrets)


@pytest.mark.parametrize("path", EMPTY)
def test_a_page_about_what_an_analyst_may_not_read_is_empty_and_works(path: str, analyst: Browser) -> None:
    page = analyst.open(path)
    expect(page.get_by_text(EMPTY[path]).first).to_be_visible()
    expect(page.locator(RUN)).to_have_count(0)
    assert analyst.complaints == []


def test_an_engineer_reads_the_runs(ui: Browser) -> None:
    expect(ui.open("/runs").locator(RUN).first).to_be_visible()


def test_an_engineer_can_materialise(ui: Browser) -> None:
    page = ui.open("/assets/healthcare/protected/patients?view=overview")
    expect(page.get_by_role("button", name="Materialize")).to_be_enabled()
