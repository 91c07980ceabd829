"""A product whose plan is refused stops neither pages nor lists of the others, nor its own incidents."""

import html
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from pages_support import Reader, pages, person
from refused_product import REFUSED, with_refused_product
from starlette.applications import Starlette

from secure_platform.access.resources import Action, ProductResource
from secure_platform.monitor.incident import Sighting
from secure_platform.services import Services
from secure_platform.settings import load_settings
from secure_platform.taxonomy.classification import Classification
from secure_platform.web.permissions import Rights


@pytest.fixture
def services(parsed_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Services:
    home = Path(shutil.copytree(parsed_home, tmp_path / "home"))
    monkeypatch.setenv("SECURE_PLATFORM_HOME", str(home))
    monkeypatch.setenv("SECURE_PLATFORM_DEFS", str(with_refused_product(tmp_path / "defs")))
    monkeypatch.delenv("SECURE_PLATFORM_TOKEN_FILE", raising=False)
    return Services(load_settings())


@pytest.fixture
def app(services: Services) -> Iterator[Starlette]:
    with pages(services) as opened:
        yield opened


def test_pages_and_lists_go_on(app: Starlette, services: Services) -> None:
    (found,) = services.incidents.report(REFUSED, [Sighting("raw", "patients", "volume", "s1", "fail")])
    dana = Reader(app, services, "dana")
    for path in (
        "/observability",
        f"/observability/{REFUSED}",
        f"/observability/{REFUSED}/sla",
        f"/incidents/{found.incident_id}",
        "/outcomes",
        "/account",
        "/releases",
        "/approvals",
    ):
        assert dana.open(path).status_code == 200, path
    assert "volume of raw/patients" in dana.open("/observability").text
    named = [each["name"] for each in dana.open("/api/v1/products").json()]
    assert named == [REFUSED, "healthcare"]
    assert dana.open("/api/v1/releases").status_code == 200
    # Who may not look at the others may not look at this one.
    nil = Reader(app, services, "nil")
    assert nil.open(f"/incidents/{found.incident_id}").status_code == 403
    assert nil.open(f"/api/v1/products/{REFUSED}").status_code == 403


def test_the_rights_of_dagsters_ui_are_judged_as_for_restricted_data(services: Services) -> None:
    rights = Rights(services)
    asked = rights.products[REFUSED]
    assert isinstance(asked, ProductResource)
    assert asked.classification == Classification.RESTRICTED
    assert rights.judge(person(services, "dana"), Action.BUILD, rights.products["healthcare"]).enabled
    assert not rights.judge(person(services, "nil"), Action.BUILD, asked).enabled


def test_the_data_map_says_which_product_is_broken_and_why(app: Starlette, services: Services) -> None:
    dana = Reader(app, services, "dana")
    said = f"The plan of {REFUSED} is refused: patients.BIRTHDATE: tokenize is weaker than"
    overview = dana.open("/data-map")
    assert (overview.status_code, said in html.unescape(overview.text)) == (200, True)
    found = dana.open("/data-map?q=birthdate")
    assert f"Not searched, for their plans are refused: {REFUSED}." in found.text
    assert "/data-map/healthcare/patients#BIRTHDATE" in found.text
    for path in (f"/data-map/{REFUSED}", f"/data-map/{REFUSED}/patients"):
        page = dana.open(path)
        text = html.unescape(page.text)
        assert page.status_code == 422
        assert said in text
        assert f"Nothing of {REFUSED} is built or deployed until its plan is mended" in text
        assert "team:" in text
    assert dana.open("/data-map/healthcare").status_code == 200
