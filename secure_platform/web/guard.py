"""A page of another site, or a name that was rebound to this address, reaches nothing.

Host and Origin must be this server's own, and whatever changes state arrives as a JSON POST: a browser sends
that across sites only after asking, and this server never agrees. No page of another site may frame this one.
Pure ASGI, so WebSockets are guarded too.
"""

from collections.abc import Iterable
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
JSON: Final = "application/json"
POLICY_VIOLATION: Final = 1008
HTTP_PORT: Final = 80
RESPONSE_HEADERS: Final = {
    "Content-Security-Policy": "frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class RequestGuard:
    """Refuses requests that did not come from this server's own pages or a non-browser client.

    Args:
        app: The guarded application.
        hosts: Values of the Host header that are this server, lower case, e.g. `127.0.0.1:3000`.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str]) -> None:
        self._app = app
        self._hosts = frozenset(hosts)
        self._origins = frozenset(f"http://{host}" for host in self._hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request pass, or answer it here."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, _with_headers(send))
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": refusal[1]})
        else:
            answer = PlainTextResponse(f"{refusal[1]}\n", status_code=refusal[0])
            await answer(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Status and reason, or None when the request may pass."""
        headers = Headers(scope=scope)
        if not _is_one_of(headers, "host", self._hosts):
            return 421, f"This server answers to {' and '.join(sorted(self._hosts))} only."
        if "origin" in headers and not _is_one_of(headers, "origin", self._origins):
            return 403, "Requests from another origin are refused."
        changes = scope["type"] == "http" and scope["method"] not in SAFE_METHODS
        if changes and not (scope["method"] == "POST" and is_json(headers)):
            return 415, "Changes are accepted as POST with Content-Type application/json only."
        return None


def is_json(headers: Headers) -> bool:
    """Whether the one media type is JSON; `text/plain; application/json` is text/plain."""
    types = [value.partition(";")[0].strip().lower() for value in headers.getlist("content-type")]
    return types == [JSON]


def loopback_hosts(port: int) -> tuple[str, ...]:
    """The Host values of a server on 127.0.0.1; clients leave out the port that is HTTP's own."""
    names = ("127.0.0.1", "localhost")
    return tuple(name if port == HTTP_PORT else f"{name}:{port}" for name in names)


def _is_one_of(headers: Headers, name: str, allowed: frozenset[str]) -> bool:
    values = headers.getlist(name)
    return len(values) == 1 and values[0].lower() in allowed


def _with_headers(send: Send) -> Send:
    """Add our headers to the response; a policy that it has already is kept, and both hold."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in RESPONSE_HEADERS.items():
                if name == "Content-Security-Policy":
                    headers.append(name, value)
                else:
                    headers[name] = value
        await send(message)

    return send_with_headers
