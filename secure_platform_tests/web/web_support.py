"""A client of an ASGI application in this process, for HTTP and for GraphQL over WebSocket."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import httpx
from starlette.types import ASGIApp, Message

ANSWER_SECONDS = 20


class Client:
    """Speaks to the application as if it came from `base`; with headers, such as those of a login."""

    def __init__(self, app: ASGIApp, base: str, headers: Mapping[str, str] = {}) -> None:
        self._app = app
        self._base = base
        self._headers = headers

    def get(self, path: str, **arguments: Any) -> httpx.Response:
        return self._request("GET", path, **arguments)

    def post(self, path: str, **arguments: Any) -> httpx.Response:
        return self._request("POST", path, **arguments)

    def request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        return self._request(method, path, **arguments)

    def _request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        async def request() -> httpx.Response:
            transport = httpx.ASGITransport(app=self._app)
            async with httpx.AsyncClient(
                transport=transport, base_url=self._base, headers=self._headers
            ) as client:
                return await client.request(method, path, **arguments)

        return asyncio.run(request())

    def websocket(self, document: str, *, origin: str | None, answers: int = 2) -> list[Message]:
        """Send one GraphQL document; all that the application sent, up to so many answers or its refusal."""
        named = {name.lower(): value for name, value in self._headers.items()}
        headers = {"host": self._base.partition("//")[2], **named, **({"origin": origin} if origin else {})}
        return asyncio.run(_converse(self._app, headers, document, answers))


async def _converse(app: ASGIApp, headers: dict[str, str], document: str, expected: int) -> list[Message]:
    incoming: asyncio.Queue[Message] = asyncio.Queue()
    sent: list[Message] = []
    over = asyncio.Event()
    start = {"type": "start", "id": "1", "payload": {"query": document}}
    await incoming.put({"type": "websocket.connect"})
    for frame in ({"type": "connection_init"}, start):
        await incoming.put({"type": "websocket.receive", "text": json.dumps(frame)})

    async def send(message: Message) -> None:
        sent.append(message)
        answers = [item for item in sent if item["type"] == "websocket.send"]
        if message["type"] == "websocket.close" or len(answers) == expected:
            over.set()

    scope = {
        "type": "websocket",
        "path": "/graphql",
        "raw_path": b"/graphql",
        "query_string": b"",
        "root_path": "",
        "scheme": "ws",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "subprotocols": ["graphql-ws"],
    }
    conversation = asyncio.ensure_future(app(scope, incoming.get, send))
    await asyncio.wait_for(over.wait(), ANSWER_SECONDS)
    await incoming.put({"type": "websocket.disconnect", "code": 1000})
    await asyncio.wait_for(conversation, ANSWER_SECONDS)
    return sent
