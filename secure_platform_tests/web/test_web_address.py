"""Where the server is reached: its own names, a believed proxy, a prefix, and nothing in the clear."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send
from web_login import BASE, admin_token, web_app
from web_support import Client

from secure_platform.errors import UsageError
from secure_platform.homes import initialise
from secure_platform.services import Services
from secure_platform.settings import load_settings
from secure_platform.site import ProxySettings, ServerSettings, TlsSettings
from secure_platform.web.address import Forwarded, SiteAddress

PROXY = ProxySettings(addresses=("10.0.0.0/8",))
BEHIND = ServerSettings(host="0.0.0.0", url="https://data.example.org/platform", proxy=PROXY)  # noqa: S104
TLS = TlsSettings(certificate=Path("c.pem"), key=Path("k.pem"))


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Services:
    found = load_settings(home=tmp_path_factory.mktemp("address") / "home")
    initialise(found)
    return Services(found)


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp() as opened:
        yield opened


@pytest.fixture(scope="module")
def app(services: Services, instance: dg.DagsterInstance) -> Iterator[Starlette]:
    with web_app(services, instance) as served:
        yield served


@pytest.fixture(scope="module")
def admin(services: Services, app: Starlette) -> Client:
    return Client(app, BASE, admin_token(services.settings))


@pytest.mark.parametrize(
    ("peer", "said", "caller"),
    [
        ("10.1.2.3", "192.0.2.7", "192.0.2.7"),
        ("10.1.2.3", "127.0.0.1, 192.0.2.7", "192.0.2.7"),
        ("10.1.2.3", "192.0.2.7, 10.9.9.9", "192.0.2.7"),
        ("192.0.2.1", "127.0.0.1", "192.0.2.1"),
        ("127.0.0.1", "10.1.2.3", "127.0.0.1"),
    ],
)
def test_a_forwarded_address_is_believed_from_a_trusted_proxy_only(peer: str, said: str, caller: str) -> None:
    seen = forwarded(peer, {"x-forwarded-for": said, "x-forwarded-host": "data.example.org", "host": "inner"})
    assert seen["client"][0] == caller
    host = dict(seen["headers"])[b"host"]
    assert host == (b"data.example.org" if peer.startswith("10.") else b"inner")
    assert not any(name.startswith(b"x-forwarded") for name, _ in seen["headers"])
    assert seen["root_path"] == "/platform"


def forwarded(peer: str, headers: dict[str, str]) -> Scope:
    seen: list[Scope] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        del receive, send
        seen.append(scope)

    scope = {
        "type": "http",
        "client": (peer, 1),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    asyncio.run(Forwarded(application, PROXY.addresses, "/platform")(scope, None, None))  # type: ignore[arg-type]  # Neither is used.
    return seen[0]


@pytest.mark.parametrize(
    "server",
    [
        ServerSettings(host="0.0.0.0"),  # noqa: S104
        ServerSettings(host="192.0.2.1"),
        ServerSettings(url="https://data.example.org"),
        ServerSettings(url="ftp://x", proxy=PROXY),
        ServerSettings(url="https://user@x", proxy=PROXY),
        ServerSettings(url="nothing", proxy=PROXY),
        ServerSettings(url="https://x/?a=b", proxy=PROXY),
    ],
)
def test_an_address_without_protection_or_sense_is_refused(server: ServerSettings) -> None:
    with pytest.raises(UsageError):
        SiteAddress.of(server, 3000)


def test_a_server_with_tls_or_behind_a_proxy_is_reached_under_its_url() -> None:
    behind = SiteAddress.of(BEHIND, 3000)
    assert behind.hosts == {"data.example.org"}
    assert behind.origins == {"https://data.example.org"}
    assert (behind.prefix, behind.secure, behind.url) == ("/platform", True, BEHIND.url)
    own = SiteAddress.of(ServerSettings(tls=TLS), 3000)
    assert own.origins == {"https://127.0.0.1:3000", "https://localhost:3000"}


def test_below_a_prefix_everything_is_below_it(services: Services, instance: dg.DagsterInstance) -> None:
    address = SiteAddress.of(BEHIND, 3000)
    with web_app(services, instance, address=address) as app:
        base = "https://data.example.org"
        client = Client(app, base, admin_token(services.settings))
        assert client.get("/platform/healthz").status_code == 200
        assert client.get("/platform/approvals", headers={"Accept": "text/html"}).status_code == 200
        page = client.get("/platform/overview", headers={"Accept": "text/html"})
        assert "/platform" in page.text
        assert page.headers["Strict-Transport-Security"].startswith("max-age=")
        answer = client.post("/platform/graphql", json={"query": "{version}"}, headers={"Origin": base})
        assert answer.status_code == 200
        for path in ("/healthz", "/graphql", "/", "/platformx/graphql", "/PLATFORM/healthz"):
            assert client.get(path).status_code == 404
        login = Client(app, base).get("/platform/runs", headers={"Accept": "text/html"})
        assert login.headers["Location"].startswith("/platform/login?next=/platform/runs")


def test_a_proxys_headers_do_not_change_who_this_server_is(admin: Client) -> None:
    spoofed = {
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-For": "10.0.0.1",
    }
    assert admin.get("/healthz", headers=spoofed).status_code == 200
    assert admin.get("/healthz", headers={**spoofed, "Host": "evil.example"}).status_code == 421
