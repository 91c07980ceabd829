"""Who others vouch for: tokens, client certificates and a trusted proxy, and who only pretends."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from asgi_browser import Browser
from certificates import Authority
from identity_site import IdentitySite, make_home
from waiting import wait_for

from secure_platform.errors import UsageError
from secure_platform.keys.secrets.opening import FileSecrets
from secure_platform.keys.secrets.resolver import Secrets
from secure_platform.site import ProxySettings
from secure_platform.web.proofs import TrustedProxy
from secure_platform.web.server import listen
from secure_platform.web.tls import tls_options

SECRET = "a shared secret of the proxy and us"
SECRETS = Secrets({"file": FileSecrets}, ttl_seconds=0)
PROXY = "10.0.0.7"


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_home(tmp_path_factory.mktemp("proofs"))


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    file = tmp_path / "proxy.secret"
    file.write_text(f"{SECRET}\n")
    file.chmod(0o600)
    return file


@pytest.fixture
def site(tmp_path: Path, empty: Path, secret_file: Path) -> Iterator[IdentitySite]:
    proxy = {"addresses": ["10.0.0.0/29"], "user_header": "X-User", "secret": f"secret://file/{secret_file}"}
    opened = IdentitySite(tmp_path, empty, server={"proxy": proxy})
    opened.services.principals.add("alice", roles=["analyst"], actor="admin")
    yield opened
    opened.close()


def ask(browser: Browser, **headers: str) -> httpx.Response:
    return browser.get("/whoami", headers=headers)


def test_the_trusted_proxy_says_who_is_calling(site: IdentitySite) -> None:
    answer = ask(site.browser(PROXY), **{"X-User": "Alice", "X-Proxy-Secret": SECRET})
    shown = answer.json()
    assert (shown["name"], shown["method"], shown["mfa"]) == ("alice", "proxy", False)
    assert (shown["channel"], shown["session"]) == ("web", None)


@pytest.mark.parametrize("path", ["/whoami", "/login"])
@pytest.mark.parametrize(
    ("address", "headers"),
    [
        ("10.0.0.8", {"X-User": "alice", "X-Proxy-Secret": SECRET}),
        ("127.0.0.1", {"X-User": "alice", "X-Proxy-Secret": SECRET}),
        ("not an address", {"X-User": "alice", "X-Proxy-Secret": SECRET}),
        (PROXY, {"X-User": "alice"}),
        (PROXY, {"X-User": "alice", "X-Proxy-Secret": ""}),
        (PROXY, {"X-User": "alice", "X-Proxy-Secret": SECRET[:-1]}),
        (PROXY, {"X-User": "", "X-Proxy-Secret": "x"}),
        ("192.0.2.1", {"x-uSER": "alice"}),
        ("192.0.2.1", {"X-User": "alice", "X-Forwarded-For": PROXY}),
    ],
)
def test_the_header_from_anybody_else_is_refused(
    site: IdentitySite, path: str, address: str, headers: dict[str, str]
) -> None:
    answer = site.browser(address).get(path, headers=headers)
    assert answer.status_code == 400
    assert SECRET not in answer.text


def test_a_header_that_came_twice_is_refused(site: IdentitySite) -> None:
    for headers in (
        [("X-User", "alice"), ("X-User", "admin"), ("X-Proxy-Secret", SECRET)],
        [("X-User", "alice"), ("X-Proxy-Secret", SECRET), ("X-Proxy-Secret", SECRET)],
    ):
        assert site.browser(PROXY).get("/whoami", headers=headers).status_code == 400


@pytest.mark.parametrize("name", ["nobody", "disabled", "", "anonymous", "alice\tx", "a" * 5000])
def test_whom_the_proxy_knows_but_we_do_not_gets_nothing(site: IdentitySite, name: str) -> None:
    site.services.principals.add("disabled", roles=["admin"], actor="admin")
    site.services.principals.disable("disabled", actor="admin")
    answer = ask(site.browser(PROXY), **{"X-User": name, "X-Proxy-Secret": SECRET})
    assert answer.status_code == 403


def test_without_the_header_the_proxys_clients_log_in_as_everybody(site: IdentitySite) -> None:
    browser = site.browser(PROXY)
    assert ask(browser, **{"X-Proxy-Secret": SECRET}).status_code == 401
    assert browser.get("/login").status_code == 200


@pytest.mark.parametrize("content", [None, "short"])
def test_a_proxy_without_a_good_secret_is_no_setting(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_text(content)
        file.chmod(0o600)
    with pytest.raises(UsageError, match="secret"):
        TrustedProxy(
            ProxySettings(addresses=("10.0.0.1",), user_header="X-User", secret=f"secret://file/{file}"),
            SECRETS,
        )


def test_a_proxy_header_needs_a_secret_at_all() -> None:
    with pytest.raises(UsageError, match=r"server\.proxy\.secret"):
        TrustedProxy(ProxySettings(addresses=("10.0.0.1",), user_header="X-User"), SECRETS)


def test_a_token_is_a_program_and_wrong_ones_are_held_up_by_address(site: IdentitySite) -> None:
    genuine = site.services.tokens.issue("alice", actor="admin").secret
    browser = site.browser("192.0.2.9")
    assert ask(browser, Authorization=f"Bearer {genuine}").json()["channel"] == "api"
    wrong = [ask(browser, Authorization="Bearer spt_x").status_code for _ in range(103)]
    assert wrong == [401] * 101 + [429] * 2
    held_up = ask(browser, Authorization=f"Bearer {genuine}")
    assert (held_up.status_code, int(held_up.headers["retry-after"]) >= 1) == (429, True)
    assert (held_up.json()["kind"], held_up.json()["exit_code"]) == ("TooManyAttemptsError", 4)
    assert ask(site.browser("192.0.2.10"), Authorization=f"Bearer {genuine}").status_code == 200
    assert len(site.recorded("token.refuse")) == 101


def test_a_wrong_token_does_not_fall_back_to_a_session(site: IdentitySite) -> None:
    alice = site.services.principals.get("alice")
    assert alice is not None
    opened = site.services.sessions.open(alice, method="password", address=None)
    browser = site.browser()
    browser.cookies.set("secure_platform_session", opened.secret, domain="127.0.0.1", path="/")
    assert ask(browser).status_code == 200
    assert ask(browser, Authorization="Bearer spt_x").status_code == 401


@contextmanager
def served(site: IdentitySite) -> Iterator[str]:
    """The site on a free port with TLS."""
    server = site.settings.server
    with listen(server) as listener:
        config = uvicorn.Config(site.app, log_level="critical", lifespan="off", **tls_options(server))
        running = uvicorn.Server(config)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            wait_for(lambda: running.started, 20)
            yield f"https://127.0.0.1:{listener.getsockname()[1]}/whoami"
        finally:
            running.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def with_tls(directory: Path, empty: Path, authority: Authority, **tls: Any) -> IdentitySite:
    certificate, key = authority.server()
    given = {"certificate": str(certificate), "key": str(key), "client_ca": str(authority.file), **tls}
    site = IdentitySite(directory, empty, server={"port": 0, "tls": given})
    site.services.principals.add("alice", roles=["analyst"], actor="admin")
    return site


def test_a_client_certificate_of_our_authority_names_a_principal(
    tmp_path: Path, empty: Path, authority: Authority
) -> None:
    site = with_tls(tmp_path, empty, authority)
    with served(site) as url, httpx.Client(verify=authority.trusting("alice"), trust_env=False) as client:
        shown = client.get(url).json()
        assert (shown["name"], shown["method"], shown["mfa"]) == ("alice", "mtls", False)
    site.close()


@pytest.mark.parametrize("names", [["nobody"], ["alice", "admin"], []], ids=str)
def test_a_certificate_that_names_nobody_here_or_two_is_no_login(
    tmp_path: Path, empty: Path, authority: Authority, names: list[str]
) -> None:
    site = with_tls(tmp_path, empty, authority)
    with served(site) as url, httpx.Client(verify=authority.trusting(*names), trust_env=False) as client:
        assert client.get(url).status_code in {401, 403}
    site.close()


def test_without_a_certificate_others_log_in_as_usual(
    tmp_path: Path, empty: Path, authority: Authority
) -> None:
    site = with_tls(tmp_path, empty, authority)
    token = site.services.tokens.issue("alice", actor="admin").secret
    with served(site) as url, httpx.Client(verify=authority.context(), trust_env=False) as client:
        assert client.get(url).status_code == 401
        assert client.get(url, headers={"Authorization": f"Bearer {token}"}).json()["method"] == "token"
    site.close()


def nobodys(authority: Authority, _: Path) -> Any:
    return authority.context()


def of_another_authority(authority: Authority, directory: Path) -> Any:
    return Authority(directory).trusting("alice", context=authority.context())


def expired(authority: Authority, _: Path) -> Any:
    return authority.trusting("alice", days=-1)


def of_a_server(authority: Authority, _: Path) -> Any:
    return authority.trusting("alice", is_client=False)


@pytest.mark.parametrize("shown", [nobodys, of_another_authority, expired, of_a_server])
def test_where_a_certificate_is_required_no_other_connection_comes_about(
    tmp_path: Path, empty: Path, authority: Authority, shown: Callable[[Authority, Path], Any]
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    site = with_tls(tmp_path, empty, authority, client_required=True)
    with served(site) as url:
        with pytest.raises(httpx.TransportError):
            httpx.get(url, verify=shown(authority, other), trust_env=False)
        with httpx.Client(verify=authority.trusting("alice"), trust_env=False) as client:
            assert client.get(url).json()["name"] == "alice"
    site.close()
