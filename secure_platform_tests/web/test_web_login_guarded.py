"""Logging in through the whole server: its guards let our own forms pass, and nothing that looks alike."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pyotp
import pytest
from asgi_browser import Browser
from hostile_provider import CLIENT, HostileProvider, hostile_provider
from starlette.applications import Starlette
from web_login import BASE, person, session_cookie, web_app

from secure_platform.orchestration.home import open_instance
from secure_platform.services import Services
from secure_platform.settings import load_settings
from secure_platform.web.address import SiteAddress
from secure_platform.web.authentication import COOKIE

HTML = {"accept": "text/html", "origin": BASE}
PASSWORD = "seventeen purple kites over Graz"
PREFIX = "/platform"


@pytest.fixture(params=["", PREFIX], ids=["at the root", "below a prefix"])
def prefix(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def provider() -> Iterator[HostileProvider]:
    with hostile_provider() as started:
        yield started


@pytest.fixture
def services(tmp_path: Path, parsed_home: Path, prefix: str, provider: HostileProvider) -> Iterator[Services]:
    shutil.copytree(parsed_home, tmp_path / "home")
    oidc = {"issuer": provider.issuer, "client_id": CLIENT, "roles": {"stewards": ["data_steward"]}}
    settings = load_settings(
        home=tmp_path / "home", server={"url": f"{BASE}{prefix}"}, identity={"oidc": oidc}
    )
    opened = Services(settings)
    yield opened
    opened.audit.close()
    opened.database.close()


@pytest.fixture
def app(services: Services) -> Iterator[Starlette]:
    with open_instance(services.settings) as instance, web_app(services, instance) as guarded:
        yield guarded


def send(browser: Browser, page: str, to: str, **fields: str) -> httpx.Response:
    token = re.search(r'name="csrf" value="([0-9a-f]{64})"', browser.get(page, headers=HTML).text)
    assert token
    return browser.post(to, data={"csrf": token[1], **fields}, headers=HTML)


def set_up(services: Services, browser: Browser, prefix: str) -> None:
    services.principals.add("alice", roles=["data_steward"], actor="admin")
    invitation = services.credentials.invite("alice", actor="admin")
    shown = browser.get(f"{prefix}{invitation.path}", headers=HTML).text
    secret = re.search(r'<p class="mono">([A-Z2-7 ]+)</p>', shown)
    assert secret
    code = pyotp.TOTP(secret[1].replace(" ", "")).now()
    fields = {"link": invitation.link, "password": PASSWORD, "again": PASSWORD, "code": code}
    answer = send(browser, f"{prefix}{invitation.path}", f"{prefix}/setup", **fields)
    assert (answer.status_code, answer.headers["location"]) == (303, f"{prefix}/approvals")


def test_who_is_sent_to_the_login_sets_up_sees_the_pages_and_signs_out(
    services: Services, app: Starlette, prefix: str
) -> None:
    browser = Browser(app, BASE)
    sent = browser.get(f"{prefix}/releases?product=a", headers=HTML)
    assert sent.status_code == 303
    target = urlsplit(sent.headers["location"])
    assert (target.path, parse_qs(target.query)["next"]) == (
        f"{prefix}/login",
        [f"{prefix}/releases?product=a"],
    )
    set_up(services, browser, prefix)
    shown = browser.get(f"{prefix}/approvals", headers=HTML)
    assert shown.status_code == 200
    assert "alice" in shown.text
    signed_out = send(browser, f"{prefix}/approvals", f"{prefix}/logout")
    assert signed_out.headers["location"] == f"{prefix}/login"
    assert browser.get(f"{prefix}/approvals", headers=HTML).status_code == 303


@pytest.mark.parametrize("prefix", [""], indirect=True)
def test_a_form_without_our_origin_does_nothing(services: Services, app: Starlette) -> None:
    browser = Browser(app, BASE)
    set_up(services, browser, "")
    for path in ("/login", "/logout", "/mfa", "/setup"):
        for origin in ({}, {"origin": "https://evil.example"}, {"origin": "null"}):
            answer = browser.post(path, data={"name": "alice"}, headers=origin)
            assert answer.status_code in {403, 415}
    assert len(services.sessions.list("alice")) == 1


def test_a_link_leads_to_the_address_that_people_use(tmp_path: Path, parsed_home: Path) -> None:
    shutil.copytree(parsed_home, tmp_path / "home")
    server = {"url": "https://data.example.org/platform", "proxy": {"addresses": ["127.0.0.1/32"]}}
    services = Services(load_settings(home=tmp_path / "home", server=server))
    address = SiteAddress.of(services.settings.server, 3000)
    person(services, "analyst", name="ana")
    session = session_cookie(services, person(services, "admin"))
    with open_instance(services.settings) as instance, web_app(services, instance, address=address) as app:
        browser = Browser(app, "http://data.example.org")
        browser.cookies.set(f"__Secure-{COOKIE}", session)
        place = "/platform/access/principals/ana"
        origin = {**HTML, "origin": "https://data.example.org"}
        csrf = re.search(r'name="csrf" value="([0-9a-f]{64})"', browser.get(place, headers=HTML).text)
        assert csrf
        shown = browser.post(f"{place}/invite", data={"csrf": csrf[1]}, headers=origin).text
    assert "https://data.example.org/platform/setup?link=spl_" in shown
    assert "http://" not in shown


def test_the_provider_brings_people_in_through_the_guards(
    app: Starlette, prefix: str, provider: HostileProvider
) -> None:
    browser = Browser(app, BASE)
    asked = provider.begin(browser, f"{prefix}/oidc/start?next={prefix}/releases")
    assert asked["redirect_uri"] == f"{BASE}{prefix}/oidc/callback"
    answer = browser.get(
        f"{prefix}/oidc/callback", params={"code": "a code", "state": asked["state"]}, headers=HTML
    )
    assert (answer.status_code, answer.headers["location"]) == (303, f"{prefix}/releases")
    assert browser.get(f"{prefix}/releases", headers=HTML).status_code == 200
