"""Logging in with the password of a directory, over TLS, and what never gets that far."""

import re
import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pyotp
import pytest
from asgi_browser import Browser
from certificates import Authority
from identity_site import IdentitySite, make_home
from ldap_server import ldap_server

from secure_platform.control.database import utc_now
from secure_platform.errors import UsageError
from secure_platform.site import LdapSettings
from secure_platform.web.directory import Directory


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def port(authority: Authority) -> Iterator[int]:
    with ldap_server(*authority.server()) as started:
        yield started


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_home(tmp_path_factory.mktemp("ldap"))


def directory_at(url: str, authority: Authority, **changes: Any) -> dict[str, Any]:
    ldap = {
        "url": url,
        "user": "uid={name},ou=people,dc=example",
        "base": "ou=people,dc=example",
        "roles": {"cn=stewards,ou=groups,dc=example": ["data_steward"]},
        "approver_groups": {"cn=stewards,ou=groups,dc=example": "clinical-data"},
        "ca": str(authority.file),
    }
    return {"identity": {"ldap": {**ldap, **changes}}}


@pytest.fixture
def site(tmp_path: Path, empty: Path, port: int, authority: Authority) -> Iterator[IdentitySite]:
    opened = IdentitySite(tmp_path, empty, **directory_at(f"ldaps://127.0.0.1:{port}", authority))
    yield opened
    opened.close()


@pytest.fixture
def browser(site: IdentitySite) -> Browser:
    return site.browser()


def log_in(
    browser: Browser, name: str = "dora", password: str = "what dora knows", code: str = ""
) -> httpx.Response:
    return browser.send_form("/login", name=name, password=password, code=code, next="/whoami")


def test_a_person_of_the_directory_logs_in_with_the_roles_of_their_groups(browser: Browser) -> None:
    assert log_in(browser, "Dora").status_code == 303
    shown = browser.get("/whoami").json()
    assert (shown["name"], shown["method"], shown["mfa"]) == ("dora", "ldap", False)
    assert (shown["roles"], shown["groups"]) == (["data_steward"], ["clinical-data"])


def test_who_is_in_no_group_may_log_in_and_nothing_else(browser: Browser) -> None:
    assert log_in(browser, "emil", "what emil knows").status_code == 303
    assert browser.get("/whoami").json()["roles"] == []


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("dora", ""),
        ("dora", "what emil knows"),
        ("nobody", "what dora knows"),
        ("*", "what dora knows"),
        ("dora)(uid=*", "what dora knows"),
        ("dora,ou=people,dc=example", "what dora knows"),
        ("uid=dora", "what dora knows"),
        ("dora\\2a", "what dora knows"),
        ("dora\x00", "what dora knows"),
        ("", "what dora knows"),
        ("", ""),
        ("service:deployer", "x"),
    ],
)
def test_any_other_name_or_password_is_refused(browser: Browser, name: str, password: str) -> None:
    assert log_in(browser, name, password).status_code == 403
    assert browser.get("/whoami").status_code == 401


def test_nobody_of_the_directory_becomes_a_principal_of_this_home(
    site: IdentitySite, browser: Browser
) -> None:
    before = site.services.principals.get("admin")
    assert log_in(browser, "admin", "what another admin knows").status_code == 403
    assert site.services.principals.get("admin") == before


def test_who_has_codes_here_needs_one(site: IdentitySite, browser: Browser) -> None:
    log_in(browser)
    credentials = site.services.credentials
    link = credentials.invite("dora", actor="admin").link
    shown = browser.get(f"/setup?link={link}").text
    assert 'name="password"' not in shown
    secret = re.search(r'<p class="mono">([A-Z2-7 ]+)</p>', shown)
    assert secret
    app = pyotp.TOTP(secret[1].replace(" ", ""))
    done = browser.send_form(f"/setup?link={link}", to="/setup", link=link, code=app.now())
    assert done.headers["location"] == "/login"
    fresh = site.browser()
    assert log_in(fresh).status_code == 403
    assert log_in(fresh, code=app.at(utc_now() + timedelta(seconds=30))).status_code == 303
    assert fresh.get("/whoami").json()["mfa"]


def test_guesses_at_one_person_count_together_however_their_name_is_written(browser: Browser) -> None:
    names = ["dora", "Dora", "DORA", "dORA", "doRA", "dorA", "DoRa"]
    answers: list[int] = []
    # What comes late meets no wait; the next one is twice as long. Apart, no name would ever have to wait.
    for name in names * 3:
        answers.append(log_in(browser, name, "what emil knows").status_code)
        if answers[-1] != 403:
            break
    assert len(answers) > 6
    assert answers[-1] == 429


def test_a_directory_of_another_authority_never_sees_the_password(
    tmp_path: Path, empty: Path, port: int
) -> None:
    other = Authority(tmp_path)
    site = IdentitySite(tmp_path, empty, **directory_at(f"ldaps://127.0.0.1:{port}", other))
    answer = log_in(site.browser())
    assert answer.status_code == 403
    assert "what dora knows" not in answer.text
    site.close()


def test_without_start_tls_the_password_is_not_sent(
    tmp_path: Path, empty: Path, authority: Authority
) -> None:
    received = bytearray()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def collect() -> None:
            connection, _ = listener.accept()
            with connection:
                while piece := connection.recv(4096):
                    received.extend(piece)
                    connection.sendall(bytes.fromhex("300c02010178070a010204000400"))

        thread = threading.Thread(target=collect)
        thread.start()
        url = f"ldap://127.0.0.1:{listener.getsockname()[1]}"
        site = IdentitySite(tmp_path, empty, **directory_at(url, authority))
        assert log_in(site.browser()).status_code == 403
        thread.join()
    assert b"1.3.6.1.4.1.1466.20037" in received
    assert b"dora" not in received
    site.close()


def test_a_directory_that_is_not_there_logs_nobody_in(
    tmp_path: Path, empty: Path, authority: Authority
) -> None:
    site = IdentitySite(tmp_path, empty, **directory_at("ldaps://127.0.0.1:1", authority))
    answer = log_in(site.browser())
    assert (answer.status_code, "cannot be asked" in answer.text) == (403, True)
    site.close()


def test_what_is_typed_for_a_principal_of_this_home_is_not_sent_to_the_directory(
    tmp_path: Path, empty: Path, authority: Authority
) -> None:
    site = IdentitySite(tmp_path, empty, **directory_at("ldaps://127.0.0.1:1", authority))
    answer = log_in(site.browser(), "admin", "typed by the administrator")
    assert (answer.status_code, "cannot be asked" in answer.text) == (403, False)
    site.close()


def test_a_filter_that_finds_somebody_else_is_no_login(
    tmp_path: Path, empty: Path, port: int, authority: Authority
) -> None:
    settings = directory_at(f"ldaps://127.0.0.1:{port}", authority, user_filter="(uid=emil)")
    site = IdentitySite(tmp_path, empty, **settings)
    assert log_in(site.browser()).status_code == 403
    site.close()


@pytest.mark.parametrize("url", ["http://127.0.0.1", "127.0.0.1:636", "ldapi:///x"])
def test_an_address_of_no_directory_is_no_setting(url: str) -> None:
    with pytest.raises(UsageError, match="ldap"):
        Directory(LdapSettings(url=url, user="{name}", base="dc=example"))


def test_a_group_that_gives_a_role_that_does_not_exist_is_no_setting() -> None:
    settings = LdapSettings(
        url="ldaps://x", user="{name}", base="dc=example", roles={"stewards": ("data_stewart",)}
    )
    with pytest.raises(UsageError, match="data_stewart"):
        Directory(settings)


@pytest.mark.parametrize(("name", "password"), [("dora", ""), ("Dora", "x"), ("dora)", "x"), ("", "x")])
def test_what_cannot_be_right_is_not_even_asked(name: str, password: str) -> None:
    directory = Directory(LdapSettings(url="ldaps://127.0.0.1:1", user="{name}", base="dc=example"))
    assert directory.find(name, password) is None
