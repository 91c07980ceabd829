"""A page of another site, or a name that was rebound to this address, reaches nothing.

Host and Origin must be this server's own, and whatever changes state arrives as a JSON POST: a browser sends
that across sites only after asking, and this server never agrees. Our own forms say where they were shown.
No page of another site may frame this one, and nobody keeps the server busy with an endless or slow body.
Pure ASGI, so WebSockets are guarded too.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from secure_platform.web.address import SiteAddress

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"
POLICY_VIOLATION: Final = 1008
MOST_BODY_BYTES: Final = 1 << 20
BODY_SECONDS: Final = 30.0
FRAMES: Final = "frame-ancestors 'none'"
RESPONSE_HEADERS: Final = {
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "same-origin",
}
HSTS: Final = "max-age=31536000"


class RequestGuard:
    """Refuses requests that did not come from this server's own pages or a non-browser client.

    Args:
        app: The guarded application.
        address: Where this server is reached.
        is_form: Whether a path takes one of our own forms instead of JSON.
    """

    def __init__(self, app: ASGIApp, address: SiteAddress, is_form: Callable[[str], bool]) -> None:
        self._app = app
        self._address = address
        self._is_form = is_form
        self._headers = RESPONSE_HEADERS | ({"Strict-Transport-Security": HSTS} if address.secure else {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request pass, or answer it here."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is None and scope["type"] == "http" and scope["method"] not in SAFE_METHODS:
            body = await _body(receive)
            receive, refusal = (
                (_replayed(body, receive), None) if isinstance(body, bytes) else (receive, body)
            )
        if refusal is None:
            await self._app(scope, receive, self._with_headers(send))
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": refusal[1]})
        else:
            answer = PlainTextResponse(f"{refusal[1]}\n", status_code=refusal[0])
            await answer(scope, receive, self._with_headers(send))

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Status and reason, or None when the request may pass."""
        headers = Headers(scope=scope)
        if not _is_one_of(headers, "host", self._address.hosts):
            return 421, f"This server answers to {' and '.join(sorted(self._address.hosts))} only."
        if "origin" in headers and not _is_one_of(headers, "origin", self._address.origins):
            return 403, "Requests from another origin are refused."
        prefix = self._address.prefix
        if not f"{scope['path']}/".startswith(f"{prefix}/"):
            return 404, f"Everything here is below {prefix}/."
        if scope["type"] == "websocket" or scope["method"] in SAFE_METHODS:
            return None
        if scope["method"] != "POST":
            return 405, "Changes are accepted as POST only."
        return self._unfit(scope["path"], headers)

    def _unfit(self, path: str, headers: Headers) -> tuple[int, str] | None:
        """Why the body is none that may change something at this path."""
        form = self._is_form(path)
        if _media_types(headers) != [FORM if form else JSON]:
            return 415, f"Changes are accepted here as POST with Content-Type {FORM if form else JSON} only."
        if form and "origin" not in headers:
            return 403, "A form says which page it was sent from."
        return None

    def _with_headers(self, send: Send) -> Send:
        """Add our headers to the response; a policy that it has already is kept, and both hold."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.append("Content-Security-Policy", FRAMES)
                # A file of the UI says which version it is; everything else is for its reader alone.
                if not {"cache-control", "etag"} & set(headers):
                    headers["Cache-Control"] = "no-store"
                for name, value in self._headers.items():
                    headers[name] = value
            await send(message)

        return send_with_headers


def is_json(headers: Headers) -> bool:
    """Whether the one media type is JSON; `text/plain; application/json` is text/plain."""
    return _media_types(headers) == [JSON]


async def _body(receive: Receive) -> bytes | tuple[int, str]:
    """The whole body; status and reason if it is too long or does not come."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                body += message.get("body", b"")
                if len(body) > MOST_BODY_BYTES:
                    return 413, f"A body has at most {MOST_BODY_BYTES >> 20} MiB."
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        return 408, f"A body arrives within {BODY_SECONDS:.0f} seconds."


def _replayed(body: bytes, receive: Receive) -> Receive:
    """The body that was read already, then whatever the client says next."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay


def _media_types(headers: Headers) -> list[str]:
    return [value.partition(";")[0].strip().lower() for value in headers.getlist("content-type")]


def _is_one_of(headers: Headers, name: str, allowed: frozenset[str]) -> bool:
    values = headers.getlist(name)
    return len(values) == 1 and values[0].lower() in allowed
