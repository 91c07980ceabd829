"""The guard alone, in front of an application that records what reaches it."""

import asyncio
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from secure_platform.site import ServerSettings
from secure_platform.web.address import SiteAddress
from secure_platform.web.guard import RequestGuard

HOST = "127.0.0.1:3000"
OWN = "http://127.0.0.1:3000"
ADDRESS = SiteAddress.of(ServerSettings(), 3000)
FORM_PATH = "/approvals"
Pair = tuple[str, str]


class Recorder:
    """The guarded application: answers everything and remembers that it was asked."""

    def __init__(self) -> None:
        self.reached: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        self.reached.append(scope["type"])
        if scope["type"] == "http":
            headers = [(b"content-security-policy", b"script-src 'self'"), (b"x-frame-options", b"ALLOW")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"ok"})
        elif scope["type"] == "websocket":
            await send({"type": "websocket.accept"})


def _call(headers: list[Pair], *, kind: str = "http", method: str = "GET") -> tuple[list[str], list[Message]]:
    recorder, sent = Recorder(), []
    guard = RequestGuard(recorder, ADDRESS, is_form=lambda path: path == FORM_PATH)
    scope: dict[str, Any] = {
        "type": kind,
        "method": method,
        "path": "/graphql",
        "headers": [(name.encode(), value.encode()) for name, value in headers],
    }

    async def receive() -> Message:
        return {"type": "websocket.connect" if kind == "websocket" else "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(guard(scope, receive, send))
    return recorder.reached, sent


def _status(sent: list[Message]) -> int:
    return int(sent[0]["status"])


@pytest.mark.parametrize("host", [HOST, "localhost:3000", "LOCALHOST:3000"])
def test_our_own_names_pass(host: str) -> None:
    assert _call([("host", host)])[0] == ["http"]


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("host", "")],
        [("host", "evil.example")],
        [("host", "evil.example:3000")],
        [("host", "127.0.0.1")],
        [("host", "127.0.0.1:3001")],
        [("host", "127.0.0.1.evil.example:3000")],
        [("host", "127.0.0.1:3000@evil.example")],
        [("host", "0.0.0.0:3000")],
        [("host", "[::1]:3000")],
        [("host", HOST), ("host", "evil.example")],
        [("host", HOST), ("host", HOST)],
        [("x-forwarded-host", HOST)],
    ],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_a_foreign_or_missing_host_reaches_nothing(headers: list[Pair], kind: str) -> None:
    reached, sent = _call(headers, kind=kind)
    assert reached == []
    if kind == "http":
        assert _status(sent) == 421
    else:
        assert sent[0]["type"] == "websocket.close"


@pytest.mark.parametrize(
    "origins",
    [
        ["http://evil.example"],
        ["null"],
        [""],
        ["http://127.0.0.1"],
        ["http://127.0.0.1:3001"],
        ["https://127.0.0.1:3000"],
        ["http://127.0.0.1:3000.evil.example"],
        ["http://evil.example/http://127.0.0.1:3000"],
        [f"{OWN} http://evil.example"],
        [OWN, "http://evil.example"],
        [OWN, OWN],
    ],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_foreign_origin_reaches_nothing(origins: list[str], kind: str, method: str) -> None:
    headers = [("host", HOST), ("content-type", "application/json"), *(("origin", o) for o in origins)]
    reached, sent = _call(headers, kind=kind, method=method)
    assert reached == []
    if kind == "http":
        assert _status(sent) == 403
    else:
        assert sent[0] == {
            "type": "websocket.close",
            "code": 1008,
            "reason": "Requests from another origin are refused.",
        }


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize("origin", [None, OWN, "http://localhost:3000"])
def test_our_own_pages_and_clients_without_origin_pass(kind: str, origin: str | None) -> None:
    headers = [("host", HOST), *([("origin", origin)] if origin else [])]
    assert _call(headers, kind=kind)[0] == [kind]


@pytest.mark.parametrize(
    "types",
    [
        [],
        [""],
        ["text/plain"],
        ["text/plain; application/json"],
        ["text/plain;application/json"],
        ["application/graphql"],
        ["application/x-www-form-urlencoded"],
        ["multipart/form-data; boundary=application/json"],
        ["application/json, text/plain"],
        ["application/jsonx"],
        ["application/json", "text/plain"],
        ["text/plain", "application/json"],
    ],
)
def test_a_post_that_is_not_json_reaches_nothing(types: list[str]) -> None:
    reached, sent = _call([("host", HOST), *(("content-type", t) for t in types)], method="POST")
    assert reached == []
    assert _status(sent) == 415


@pytest.mark.parametrize(
    "media_type", ["application/json", "application/json; charset=utf-8", "Application/JSON"]
)
def test_a_json_post_passes(media_type: str) -> None:
    assert _call([("host", HOST), ("content-type", media_type)], method="POST")[0] == ["http"]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "get", "PROPFIND"])
def test_other_methods_reach_nothing_even_as_json(method: str) -> None:
    reached, sent = _call([("host", HOST), ("content-type", "application/json")], method=method)
    assert reached == []
    assert _status(sent) == 405


@pytest.mark.parametrize("headers", [[("host", HOST)], [("host", "evil.example")]])
def test_no_other_site_may_frame_or_embed_a_response(headers: list[Pair]) -> None:
    sent = _call(headers)[1]
    values = [value for name, value in sent[0]["headers"] if name == b"content-security-policy"]
    assert b"frame-ancestors 'none'" in values
    flat = dict(sent[0]["headers"])
    assert flat[b"x-frame-options"] == b"DENY"
    assert flat[b"x-content-type-options"] == b"nosniff"
    assert flat[b"cross-origin-resource-policy"] == b"same-origin"


def test_the_policy_of_a_page_is_kept_beside_ours() -> None:
    headers = _call([("host", HOST)])[1][0]["headers"]
    assert (b"content-security-policy", b"script-src 'self'") in headers


def test_what_is_no_request_passes() -> None:
    assert _call([], kind="lifespan")[0] == ["lifespan"]


def test_the_port_of_http_may_be_left_out() -> None:
    assert SiteAddress.of(ServerSettings(), 80).hosts == {"127.0.0.1", "localhost"}
    assert ADDRESS.hosts == {"127.0.0.1:3000", "localhost:3000"}
