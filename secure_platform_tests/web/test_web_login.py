"""Logging in with password and code, and everything that must not be a login."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
import pyotp
import pytest
from asgi_browser import Browser
from identity_site import PASSWORD, IdentitySite, make_home
from starlette.requests import Request

from secure_platform.access.credentials import Credentials
from secure_platform.control.database import utc_now
from secure_platform.web.authentication import COOKIE
from secure_platform.web.entry import local_path


@dataclass(frozen=True)
class Prepared:
    """A home where alice has set up, and the app that she did it with."""

    home: Path
    app: pyotp.TOTP


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    directory = tmp_path_factory.mktemp("login")
    site = IdentitySite(directory / "site", make_home(directory))
    site.services.principals.add("alice", roles=["data_steward"], actor="admin")
    app = set_up(site, site.browser())
    site.close()
    return Prepared(directory / "site" / "home", app)


@pytest.fixture
def site(tmp_path: Path, prepared: Prepared) -> Iterator[IdentitySite]:
    opened = IdentitySite(tmp_path, prepared.home)
    yield opened
    opened.close()


@pytest.fixture
def app(prepared: Prepared) -> pyotp.TOTP:
    return prepared.app


@pytest.fixture
def browser(site: IdentitySite) -> Browser:
    return site.browser()


def app_on(page: str) -> pyotp.TOTP:
    """What somebody types into their app from the page."""
    found = re.search(r'<p class="mono">([A-Z2-7 ]+)</p>', page)
    assert found
    return pyotp.TOTP(found[1].replace(" ", ""))


def link_for(site: IdentitySite, name: str = "alice") -> str:
    return site.services.credentials.invite(name, actor="admin").path


def set_up(site: IdentitySite, browser: Browser, path: str | None = None) -> pyotp.TOTP:
    path = path or link_for(site)
    app = app_on(browser.get(path).text)
    fields = {"link": path.partition("=")[2], "password": PASSWORD, "again": PASSWORD, "code": app.now()}
    answer = browser.send_form(path, to="/setup", **fields)
    assert answer.status_code == 303, answer.text
    return app


def next_code(app: pyotp.TOTP, steps: int = 1) -> str:
    return app.at(utc_now() + timedelta(seconds=30 * steps))


def log_in(browser: Browser, app: pyotp.TOTP, **changes: str) -> httpx.Response:
    fields = {"name": "alice", "password": PASSWORD, "code": next_code(app), "next": "/whoami"}
    return browser.send_form("/login", **{**fields, **changes})


def who(browser: Browser) -> dict[str, object]:
    answer = browser.get("/whoami")
    return dict(answer.json()) if answer.status_code == 200 else {}


def test_the_link_sets_up_and_logs_in_and_then_is_worthless(site: IdentitySite, browser: Browser) -> None:
    path = link_for(site)
    set_up(site, browser, path)
    assert who(browser)["name"] == "alice"
    assert who(browser)["mfa"]
    assert who(browser)["channel"] == "web"
    again = site.browser().get(path)
    assert again.status_code == 403
    assert "does not work" in again.text


def test_who_looks_at_somebodys_link_before_them_does_not_learn_their_codes(
    site: IdentitySite, browser: Browser
) -> None:
    path = link_for(site)
    seen = app_on(site.browser().get(path).text)
    assert set_up(site, browser, path).secret != seen.secret


def test_password_and_code_log_in(site: IdentitySite, browser: Browser, app: pyotp.TOTP) -> None:
    answer = log_in(browser, app)
    assert (answer.status_code, answer.headers["location"]) == (303, "/whoami")
    assert who(browser)["method"] == "password"
    assert len(site.recorded("session.open")) == 4


def wrong_password(_: pyotp.TOTP) -> dict[str, str]:
    return {"password": PASSWORD + "!"}


def wrong_code(app: pyotp.TOTP) -> dict[str, str]:
    return {"code": f"{(int(next_code(app)) + 1) % 1_000_000:06}"}


def unknown_name(_: pyotp.TOTP) -> dict[str, str]:
    return {"name": "nobody"}


def nothing(_: pyotp.TOTP) -> dict[str, str]:
    return {"name": "", "password": "", "code": ""}


WRONG = [wrong_password, wrong_code, unknown_name, nothing]


@pytest.mark.parametrize("change", WRONG)
def test_a_wrong_login_says_nothing_of_what_was_wrong(
    site: IdentitySite,
    browser: Browser,
    app: pyotp.TOTP,
    change: Callable[[pyotp.TOTP], dict[str, str]],
) -> None:
    answer = log_in(browser, app, **change(app))
    assert answer.status_code == 403
    assert "This login is not right" in answer.text
    assert PASSWORD not in answer.text
    assert who(browser) == {}
    (refusal,) = site.recorded("login.refuse")
    assert "alice" not in str(refusal)


def test_brute_force_is_held_up_with_the_time_to_wait(browser: Browser, app: pyotp.TOTP) -> None:
    answers = [log_in(browser, app, password=f"guess number {number}") for number in range(8)]
    assert [answer.status_code for answer in answers] == [403] * 6 + [429] * 2
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert log_in(browser, app).status_code == 429


def test_a_session_that_was_there_before_the_login_is_not_the_one_after_it(
    site: IdentitySite, browser: Browser, app: pyotp.TOTP
) -> None:
    browser.cookies.set(COOKIE, "sps_" + "0" * 32 + "_" + "A" * 43, domain="127.0.0.1", path="/")
    code = next_code(app)
    log_in(browser, app, code=code)
    first = who(browser)["session"]
    assert first not in {None, "0" * 32}
    assert log_in(browser, app, code=code).status_code == 403
    site.services.credentials = Credentials(  # later
        site.services.database,
        site.services.audit,
        site.services.sealed_rows,
        site.services.keys,
        site.services.principals,
        clock=lambda: utc_now() + timedelta(minutes=5),
    )
    assert log_in(browser, app, code=next_code(app, 10)).status_code == 303
    assert who(browser)["session"] != first
    assert not site.services.sessions.lives(str(first))


def test_setting_up_again_ends_every_session_before(site: IdentitySite, browser: Browser) -> None:
    app = set_up(site, browser)
    assert who(browser)
    set_up(site, site.browser())
    assert who(browser) == {}
    assert log_in(browser, app).status_code == 403


def test_logging_out_ends_the_session_for_whoever_copied_its_cookie(
    site: IdentitySite, browser: Browser, app: pyotp.TOTP
) -> None:
    log_in(browser, app)
    thief = site.browser()
    thief.cookies = httpx.Cookies(browser.cookies)
    assert who(thief)["name"] == "alice"
    answer = browser.send_form("/mfa", to="/logout")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert who(browser) == who(thief) == {}
    assert site.recorded("session.revoke")


def test_logging_out_needs_the_form_of_a_page(browser: Browser, app: pyotp.TOTP) -> None:
    log_in(browser, app)
    assert browser.get("/logout").status_code == 405
    assert browser.post("/logout", data={"csrf": "x"}).status_code == 403
    assert who(browser)


def test_a_second_factor_is_proven_again_and_only_then_noted(site: IdentitySite, browser: Browser) -> None:
    app = set_up(site, browser)
    copied = site.browser()
    copied.cookies.update(browser.cookies)
    before = who(browser)["mfa_at"]
    assert browser.send_form("/mfa?next=/whoami", to="/mfa", code="000000").status_code == 403
    assert who(browser)["mfa_at"] == before
    answer = browser.send_form("/mfa?next=/whoami", to="/mfa", code=next_code(app), next="/whoami")
    assert (answer.status_code, answer.headers["location"]) == (303, "/whoami")
    assert str(who(browser)["mfa_at"]) > str(before)
    assert browser.send_form("/mfa", code=next_code(app)).status_code == 403
    assert copied.get("/whoami").status_code == 401


def test_proving_a_second_factor_is_held_up_too(browser: Browser, app: pyotp.TOTP) -> None:
    log_in(browser, app)
    answers = [browser.send_form("/mfa", code=f"{number:06}").status_code for number in range(8)]
    assert answers == [403] * 6 + [429] * 2


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"again": PASSWORD + "x"}, "differ"),
        ({"password": "alice alice alice", "again": "alice alice alice"}, "tried first"),
        ({"password": "short", "again": "short"}, "12 to 128"),
        ({"code": "000000"}, "not right"),
    ],
)
def test_what_is_wrong_with_a_set_up_is_said_and_the_link_still_works(
    site: IdentitySite, browser: Browser, fields: dict[str, str], problem: str
) -> None:
    path = link_for(site)
    code = app_on(browser.get(path).text).now()
    given = {"link": path.partition("=")[2], "password": PASSWORD, "again": PASSWORD, "code": code}
    answer = browser.send_form(path, to="/setup", **{**given, **fields})
    assert answer.status_code in {400, 403}
    assert problem in answer.text
    assert browser.get(path).status_code == 200


def test_the_page_of_a_link_shows_its_secret_as_picture_and_text(
    site: IdentitySite, browser: Browser
) -> None:
    shown = browser.get(link_for(site))
    assert shown.headers["cache-control"] == "no-store"
    assert 'src="data:image/svg+xml' in shown.text
    assert len(app_on(shown.text).secret) == 32


def request_below(root_path: str) -> Request:
    scope = {"type": "http", "root_path": root_path, "path": "/", "headers": [], "query_string": b""}
    return Request(scope)


@pytest.mark.parametrize("root_path", ["", "/platform"])
@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "javascript:alert(1)",
        "evil.example",
        "",
        "/ok\r\nSet-Cookie: x=y",
        "/" + "a" * 2000,
        "https:/evil.example",
        " //evil.example",
        "/ü",
        "/platform\\..\\..",
    ],
)
def test_nobody_is_sent_elsewhere(root_path: str, wanted: str) -> None:
    assert local_path(request_below(root_path), wanted) == f"{root_path}/approvals"


@pytest.mark.parametrize("wanted", ["/elsewhere", "/platforms", "/"])
def test_nobody_is_sent_out_of_the_prefix(wanted: str) -> None:
    assert local_path(request_below("/platform"), wanted) == "/platform/approvals"


@pytest.mark.parametrize("wanted", ["/", "/releases?product=a&n=1", "/assets/healthcare%2Fraw", "/a//b"])
def test_the_page_that_was_wanted_comes(wanted: str) -> None:
    assert local_path(request_below(""), wanted) == wanted
    assert local_path(request_below("/platform"), f"/platform{wanted}") == f"/platform{wanted}"


def test_after_the_login_nobody_is_sent_elsewhere(browser: Browser, app: pyotp.TOTP) -> None:
    assert log_in(browser, app, next="//evil.example").headers["location"] == "/approvals"


def test_below_a_path_prefix_everything_stays_below_it(tmp_path: Path, prepared: Prepared) -> None:
    site = IdentitySite(tmp_path, prepared.home, root_path="/platform")
    browser = site.browser()
    shown = browser.get("/platform/login?next=/elsewhere").text
    assert 'name="next" value="/platform/approvals"' in shown
    assert 'action="/platform/login"' in shown
    assert (
        browser.get("/platform/whoami", headers={"accept": "text/html"})
        .headers["location"]
        .startswith("/platform/login?next=/platform/whoami")
    )
    site.close()


def test_over_tls_the_session_cookie_is_the_hosts_own(tmp_path: Path, prepared: Prepared) -> None:
    site = IdentitySite(tmp_path, prepared.home, server={"url": "https://data.example.org"})
    browser = site.browser(base="https://data.example.org")
    log_in(browser, prepared.app)
    (cookie,) = browser.cookies.jar
    assert cookie.name == f"__Host-{COOKIE}"
    assert cookie.secure
    assert who(browser)["name"] == "alice"
    site.close()


def test_where_local_users_are_switched_off_no_password_counts(tmp_path: Path, prepared: Prepared) -> None:
    identity = {"local": False, "ldap": {"url": "ldaps://127.0.0.1:1", "user": "{name}", "base": "x"}}
    site = IdentitySite(tmp_path, prepared.home, identity=identity)
    browser = site.browser()
    assert browser.get(link_for(site)).status_code == 403
    assert log_in(browser, prepared.app).status_code == 403
    site.close()


def test_the_administrator_gets_a_first_link_until_they_have_set_up(
    tmp_path: Path, prepared: Prepared
) -> None:
    site = IdentitySite(tmp_path, prepared.home)
    first, second = site.services.first_link(), site.services.first_link()
    assert first is not None
    assert second is not None
    assert site.browser().get(first.path).status_code == 403
    browser = site.browser()
    set_up(site, browser, second.path)
    assert who(browser)["roles"] == ["admin"]
    assert site.services.first_link() is None
    site.close()


def test_without_local_users_there_is_no_first_link(tmp_path: Path, prepared: Prepared) -> None:
    site = IdentitySite(tmp_path, prepared.home, identity={"local": False})
    assert site.services.first_link() is None
    site.close()
