"""Logging in at a real provider that enforces PKCE."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from asgi_browser import Browser
from identity_site import IdentitySite, make_home
from oidc_server import CLIENT, OidcServer, oidc_server


@pytest.fixture(scope="module")
def provider() -> Iterator[OidcServer]:
    with oidc_server("http://127.0.0.1:3000/oidc/callback", "http://127.0.0.1:3000/login") as started:
        yield started


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_home(tmp_path_factory.mktemp("oidc"))


@pytest.fixture
def site(tmp_path: Path, empty: Path, provider: OidcServer) -> Iterator[IdentitySite]:
    oidc = {
        "issuer": provider.issuer,
        "client_id": CLIENT,
        "roles": {"stewards": ["data_steward"], "engineers": ["data_engineer"]},
        "approver_groups": {"stewards": "clinical-data"},
    }
    opened = IdentitySite(tmp_path, empty, identity={"oidc": oidc})
    yield opened
    opened.close()


@pytest.fixture
def browser(site: IdentitySite) -> Browser:
    return site.browser()


def test_a_person_logs_in_with_the_roles_of_their_groups(browser: Browser, provider: OidcServer) -> None:
    answer = provider.log_in(browser, "ana")
    assert (answer.status_code, answer.headers["location"]) == (303, "/whoami")
    shown = browser.get("/whoami").json()
    assert (shown["name"], shown["method"], shown["mfa"]) == ("ana", "oidc", True)
    assert (shown["roles"], shown["groups"]) == (["data_steward"], ["clinical-data"])


def test_a_password_alone_is_no_second_factor_until_it_is_proven(
    browser: Browser, provider: OidcServer
) -> None:
    provider.log_in(browser, "ben", amr="pwd")
    before = browser.get("/whoami").json()
    assert (before["roles"], before["mfa"]) == (["data_engineer"], False)
    again = "/oidc/start?again=1&next=/whoami"
    assert provider.log_in(browser, "ben", amr="pwd", start=again).status_code == 403
    assert not browser.get("/whoami").json()["mfa"]
    assert provider.log_in(browser, "ben", amr="pwd otp", start=again).status_code == 303
    after = browser.get("/whoami").json()
    assert (after["mfa"], after["session"]) == (True, before["session"])


def test_somebody_else_cannot_prove_the_second_factor_of_a_session(
    browser: Browser, provider: OidcServer
) -> None:
    provider.log_in(browser, "ben", amr="pwd")
    answer = provider.log_in(browser, "ana", start="/oidc/start?again=1")
    assert answer.status_code == 403
    shown = browser.get("/whoami").json()
    assert (shown["name"], shown["mfa"]) == ("ben", False)


def test_a_code_that_somebody_intercepted_is_worthless_without_the_verifier(
    site: IdentitySite, browser: Browser, provider: OidcServer
) -> None:
    url = provider.answer(browser.get("/oidc/start").headers["location"], "ana", "pwd otp")
    code = parse_qs(urlsplit(url).query)["code"][0]
    thief = site.browser()
    location = thief.get("/oidc/start").headers["location"]
    state = parse_qs(urlsplit(location).query)["state"][0]
    answer = thief.get("/oidc/callback", params={"code": code, "state": state, "iss": provider.issuer})
    assert answer.status_code == 403
    assert thief.get("/whoami").status_code == 401


def test_a_code_counts_once(browser: Browser, provider: OidcServer) -> None:
    url = provider.answer(browser.get("/oidc/start").headers["location"], "ana", "pwd otp")
    assert browser.get(url).status_code == 303
    assert browser.get(url).status_code == 403


def test_the_provider_refuses_a_login_without_a_challenge(browser: Browser) -> None:
    url = httpx.URL(browser.get("/oidc/start").headers["location"])
    bare = url.copy_remove_param("code_challenge").copy_remove_param("code_challenge_method")
    answer = httpx.get(bare, trust_env=False)
    assert "invalid_request" in answer.headers["location"]
    assert browser.get(answer.headers["location"]).status_code == 403


def test_signing_out_leads_to_the_providers_own_sign_out(
    site: IdentitySite, browser: Browser, provider: OidcServer
) -> None:
    provider.log_in(browser, "ana")
    answer = browser.send_form("/mfa", to="/logout")
    assert f"{provider.issuer}/session/end" in answer.text
    assert browser.get("/whoami").status_code == 401
    assert site.recorded("session.revoke")
