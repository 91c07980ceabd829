"""A socket is open as long as the login that opened it is good, and no longer."""

import asyncio
import json
from collections.abc import Callable, Iterator

import dagster as dg
import pytest
from starlette.applications import Starlette
from starlette.types import Message
from web_login import BASE, bearer, logged_in, person, web_app
from web_support import Client

from secure_platform.homes import initialise
from secure_platform.services import Services
from secure_platform.settings import load_settings
from secure_platform.web import sockets

EVENTS = "subscription{locationStateChangeEvents{event{message}}}"


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Services:
    found = load_settings(home=tmp_path_factory.mktemp("sockets") / "home")
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


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "CHECK_SECONDS", 0.05)


def socket_until_closed(app: Starlette, headers: dict[str, str], end: Callable[[], object]) -> list[Message]:
    """Open a socket, end the login, and wait until the server has closed it."""

    async def converse() -> list[Message]:
        sent: list[Message] = []
        incoming: asyncio.Queue[Message] = asyncio.Queue()
        opened, closed = asyncio.Event(), asyncio.Event()

        async def send(message: Message) -> None:
            sent.append(message)
            opened.set()
            if message["type"] == "websocket.close":
                closed.set()

        scope = {
            "type": "websocket",
            "path": "/graphql",
            "raw_path": b"/graphql",
            "query_string": b"",
            "root_path": "",
            "scheme": "ws",
            "subprotocols": ["graphql-ws"],
            "client": ("127.0.0.1", 5),
            "headers": [
                (name.lower().encode(), value.encode())
                for name, value in {"host": "127.0.0.1:3000", "origin": BASE, **headers}.items()
            ],
        }
        await incoming.put({"type": "websocket.connect"})
        await incoming.put({"type": "websocket.receive", "text": json.dumps({"type": "connection_init"})})
        start = {"type": "start", "id": "1", "payload": {"query": EVENTS}}
        await incoming.put({"type": "websocket.receive", "text": json.dumps(start)})
        serving = asyncio.ensure_future(app(scope, incoming.get, send))
        await asyncio.wait_for(opened.wait(), 20)
        await asyncio.to_thread(end)
        await asyncio.wait_for(closed.wait(), 20)
        await asyncio.wait_for(serving, 20)
        return sent

    return asyncio.run(converse())


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("how", ["session", "token", "disabled", "roles"])
def test_an_open_socket_closes_when_the_login_that_opened_it_is_over(
    how: str, services: Services, app: Starlette
) -> None:
    who = person(services, "data_engineer", name=f"socket-{how}")
    headers = bearer(services, who) if how == "token" else logged_in(services, who)
    token_id = headers.get("Authorization", "___").split("_")[1]
    sessions = [each.session_id for each in services.sessions.list(who.name)]
    ends = {
        "session": lambda: services.sessions.revoke(sessions[0], actor="admin"),
        "token": lambda: services.tokens.revoke(token_id, actor="admin"),
        "disabled": lambda: services.principals.disable(who.name, actor="admin"),
        "roles": lambda: services.principals.change(who.name, roles=["analyst"], actor="admin"),
    }
    sent = socket_until_closed(app, headers, ends[how])
    assert sent[0]["type"] == "websocket.accept"
    assert (sent[-1]["type"], sent[-1]["code"]) == ("websocket.close", 1008)


@pytest.mark.usefixtures("impatient")
def test_no_socket_is_open_for_ever(
    services: Services, app: Starlette, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "LONGEST_SECONDS", 0.2)
    headers = logged_in(services, person(services, "analyst"))
    assert socket_until_closed(app, headers, lambda: None)[-1]["code"] == 1008


def test_nobody_opens_a_socket(app: Starlette) -> None:
    (refusal,) = Client(app, BASE).websocket(
        "subscription{locationStateChangeEvents{event{message}}}", origin=BASE
    )
    assert (refusal["type"], refusal["code"]) == ("websocket.close", 1008)
