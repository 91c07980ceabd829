"""The pages about people and what they may do: access, account, and what waits for a review."""

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from built_home import PRODUCT, Built
from pages_support import HTML, STAFF, Elements, Reader, Site, pages, person

from secure_platform.access.grants import Grants
from secure_platform.control.database import utc_now
from secure_platform.orchestration.steps.protect import product_resource
from secure_platform.services import Services
from secure_platform.settings import load_settings

pytestmark = pytest.mark.slow

LEVELS = "roles: [{role: analyst, firstLevelApprovers: 'clinical, board', secondLevelApprovers: privacy}]\n"


@pytest.fixture
def own(built: Built) -> Iterator[Site]:
    """A home with one release that waits; everybody is there."""
    services = built.services
    for name in STAFF:
        person(services, name)
    with pages(services) as app:
        yield Site(app, services, built, built.newest(), built.newest())


def test_somebody_is_added_invited_changed_and_disabled(own: Site) -> None:
    admin = own.reader("admin")
    place = "/access/principals/vera"
    added = admin.submit("/access", "/access/principals", name="vera", kind="user", role_analyst="1")
    assert (added.status_code, added.headers["location"]) == (303, place)
    again = admin.submit("/access", "/access/principals", name="vera", role_analyst="1")
    assert (again.status_code, "exists already" in again.text) == (400, True)
    assert "/setup?link=spl_" in admin.submit(place, f"{place}/invite").text
    assert "/setup?link=spl_" not in admin.open(place).text
    admin.submit(place, do="change", role_auditor="1", groups="clinical, privacy")
    changed = own.services.principals.get("vera")
    assert changed is not None
    assert (sorted(changed.roles), sorted(changed.groups)) == (["auditor"], ["clinical", "privacy"])
    vera = own.reader("vera")
    assert vera.open("/audit").status_code == 200
    admin.post(place, data={**_hidden(admin, place), "do": "disable"}, headers=HTML)
    assert vera.open("/audit").status_code == 303


def test_a_one_time_link_leads_to_where_people_reach_the_server(
    own: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert own.services.settings.server.url is None
    monkeypatch.setenv("SECURE_PLATFORM_SERVER", '{"url": "http://data.example.org"}')
    services, place = Services(load_settings()), "/access/principals/tess"
    with pages(services) as app:
        invited = Reader(app, services, "admin").submit(place, f"{place}/invite")
    assert "http://data.example.org/setup?link=spl_" in invited.text


def _hidden(reader: Reader, path: str) -> dict[str, str]:
    return {"csrf": reader.open(path).text.partition('name="csrf" value="')[2][:64]}


def test_rights_are_given_taken_reviewed_and_frozen(own: Site) -> None:
    admin, otto, dana = (own.reader(name) for name in ("admin", "otto", "dana"))
    assert admin.submit("/access", "/rights/grant", name="ana", role="auditor", days="3", reason="audit week")
    assert own.reader("ana").open("/approvals").status_code == 200
    given = own.services.situation.grants()[-1]
    assert (given.kind, given.principal, given.role) == ("grant", "ana", "auditor")
    took = dana.submit(
        "/account", "/rights/break_glass", role="analyst", product=PRODUCT, minutes="20", reason="night"
    )
    assert took.status_code == 303
    glass = own.services.situation.grants()[-1]
    assert "Broken glass waits for review" in otto.open("/access").text
    assert otto.submit("/access", "/rights/review", reason="it was needed").status_code == 303
    assert "Broken glass" not in otto.open("/access").text
    assert dana.submit("/account", "/rights/end", grant=glass.grant_id).status_code == 303
    sam = own.reader("sam")
    lent = sam.submit("/account", "/rights/delegate", name="tess", days="2", reason="away")
    assert lent.status_code == 303
    assert sam.submit("/access", "/rights/freeze", product=PRODUCT, reason="year end").status_code == 303
    assert "year end" in otto.open("/access").text
    assert sam.submit("/access", "/rights/lift").status_code == 303
    assert "No deployment is frozen." in otto.open("/access").text


def test_a_token_is_shown_once_and_works_within_its_scopes(own: Site) -> None:
    tess = own.reader("tess")
    issued = tess.submit(
        "/account", "/account/tokens", label="ci", days="5", product=PRODUCT, scope_release_read="1"
    )
    secret = issued.text.partition('id="issued">')[2].partition("<")[0]
    assert secret.startswith("spt_")
    assert secret not in tess.open("/account").text
    scopes = own.services.tokens.authenticate(secret).circumstances.scopes
    assert sorted(scopes or ()) == [f"release_read:{PRODUCT}"]
    assert "A token needs a scope" in tess.submit("/account", "/account/tokens", label="x", days="5").text
    token_id = secret.split("_")[1]
    assert tess.submit("/account", "/account/tokens/revoke", token=token_id).status_code == 303
    assert token_id not in tess.open("/account").text


def test_nobody_ends_the_sessions_or_tokens_of_others(own: Site) -> None:
    own.reader("sam")
    theirs = own.services.sessions.list("sam")[-1]
    tess = own.reader("tess")
    assert tess.submit("/account", "/account/sessions", session=theirs.session_id).status_code == 400
    token = own.services.tokens.list("sam")[0]
    assert tess.submit("/account", "/account/tokens/revoke", token=token.token_id).status_code == 400
    assert own.services.sessions.lives(theirs.session_id)


def test_all_other_sessions_end_together(own: Site) -> None:
    elsewhere, here = own.reader("tess"), own.reader("tess")
    assert here.submit("/account", "/account/sessions", others="1").status_code == 303
    assert elsewhere.open("/account").status_code == 303
    assert here.open("/account").status_code == 200


def test_a_broken_glass_is_remembered_where_it_matters_until_it_is_reviewed(own: Site) -> None:
    services = own.services
    broken_then = Grants(
        services.sealed_rows,
        services.keys,
        services.principals,
        services.policy,
        services.situation,
        announce=lambda *_, **__: None,
        clock=lambda: utc_now() - timedelta(hours=73),
    )
    asked, hour = product_resource(services, services.product(PRODUCT)), timedelta(hours=1)
    glass = broken_then.break_glass(
        person(services, "dana"), "analyst", asked, lasts=hour, reason="night of the outage"
    )
    dana, ana, otto = (own.reader(name) for name in ("dana", "ana", "otto"))
    assert "Glass that you broke waits for review Analyst on healthcare" in _text(dana, "/account")
    assert "overdue" in _text(dana, "/account")
    assert "Glass that you broke" not in _text(otto, "/account")
    assert "waits too long for its review dana on healthcare" in _text(otto, "/approvals")
    assert "waits too long" not in _text(ana, "/approvals")
    services.grants.review(person(services, "otto"), glass.grant_id, finding="needed")
    assert "waits too long" not in _text(otto, "/approvals")
    assert "Glass that you broke" not in _text(dana, "/account")


def test_who_approves_is_shown_as_the_contracts_name_it(
    own: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody_named = "Approved by every data steward"
    for path in (f"/data-map/{PRODUCT}", f"/data-map/{PRODUCT}/patients", f"/approvals/{own.first.digest}"):
        assert nobody_named in _text(own.reader("ana"), path)
    defs = Path(shutil.copytree(own.services.settings.defs, tmp_path / "defs"))
    with (defs / PRODUCT / "contracts" / "patients.odcs.yaml").open("a") as contract:
        contract.write(LEVELS)
    monkeypatch.setenv("SECURE_PLATFORM_DEFS", str(defs))
    services = Services(load_settings())
    with pages(services) as app:
        ana = Reader(app, services, "ana")
        levels = "Approved by one of board, clinical, and somebody else of privacy"
        assert levels in _text(ana, f"/data-map/{PRODUCT}")
        assert levels in _text(ana, f"/data-map/{PRODUCT}/patients")
        assert nobody_named in _text(ana, f"/data-map/{PRODUCT}/encounters")


def _text(reader: Reader, path: str) -> str:
    return Elements(reader.open(path).text).text
