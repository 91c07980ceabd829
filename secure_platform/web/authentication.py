"""Nobody reaches a page, an answer or a socket before we know who they are.

A program shows its token, a browser its session's cookie; failing both, a client certificate or a trusted
proxy may vouch for somebody. Who shows nothing gets the login page as a person, 401 as a program and no
socket at all; only routes that say they are public answer anybody.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from secure_platform.access.principals import ANONYMOUS, Principal
from secure_platform.access.sessions import Session
from secure_platform.errors import AccessDeniedError
from secure_platform.services import Services
from secure_platform.web.cookies import note_tls, read_cookie
from secure_platform.web.guard import POLICY_VIOLATION
from secure_platform.web.proofs import TrustedProxy, certificate_name, vouched

COOKIE: Final = "secure_platform_session"
LOGIN: Final = "/login"
_PRINCIPAL: Final = "secure_platform.principal"
_SESSION: Final = "secure_platform.session"
_BEARER: Final = "bearer "
_TOKEN: Final = "token"  # noqa: S105 - names a counter


class Authentication:
    """Puts the principal of every connection into its scope.

    Args:
        app: What runs once we know who is calling.
        services: The rooms.
        is_public: Whether a path answers anybody.
    """

    def __init__(self, app: ASGIApp, services: Services, is_public: Callable[[str], bool]) -> None:
        self._app = app
        self._services = services
        self._is_public = is_public
        server = services.settings.server
        self._proxy = None if server.proxy is None else TrustedProxy(server.proxy, services.secrets)
        self._secure = server.tls is not None or (server.url or "").startswith("https://")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Identify the caller, or answer here."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        note_tls(scope, secure=self._secure)
        principal, session = await run_in_threadpool(self._identify, HTTPConnection(scope))
        scope[_PRINCIPAL], scope[_SESSION] = principal, session
        if principal is not ANONYMOUS or self._is_public(scope["path"]):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": "Log in first."})
        else:
            await _refusal(scope)(scope, receive, send)

    def _identify(self, connection: HTTPConnection) -> tuple[Principal, Session | None]:
        address = connection.client.host if connection.client else None
        proxied = None if self._proxy is None else self._proxy.user(connection)
        shown = connection.headers.getlist("authorization")
        if len(shown) == 1 and shown[0].lower().startswith(_BEARER):
            return self._by_token(shown[0][len(_BEARER) :], address), None
        found = self._services.sessions.authenticate(read_cookie(connection, COOKIE))
        if found is not None:
            principal, session = found
            how = replace(principal.circumstances, address=address)
            return replace(principal, circumstances=how), session
        principals, certified = self._services.principals, certificate_name(connection.scope)
        if certified is not None:
            return vouched(principals, certified, method="mtls", address=address), None
        if proxied is not None:
            return vouched(principals, proxied, method="proxy", address=address), None
        return ANONYMOUS, None

    def _by_token(self, token: str, address: str | None) -> Principal:
        throttle = self._services.throttle
        throttle.require_free(_TOKEN, address)
        try:
            principal = self._services.tokens.authenticate(token)
        except AccessDeniedError:
            throttle.note_wrong(_TOKEN, address)
            return ANONYMOUS
        how = replace(principal.circumstances, channel="api", address=address)
        return replace(principal, circumstances=how)


def principal_of(connection: HTTPConnection) -> Principal:
    """Who is calling, and how they come."""
    principal: Principal = connection.scope.get(_PRINCIPAL, ANONYMOUS)
    return principal


def session_of(connection: HTTPConnection) -> Session | None:
    """The browser session of the call; None for a program."""
    session: Session | None = connection.scope.get(_SESSION)
    return session


def _refusal(scope: Scope) -> Response:
    headers = Headers(scope=scope)
    wants_page = scope["method"] == "GET" and "text/html" in headers.get("accept", "")
    if wants_page:
        query = scope.get("query_string", b"").decode("ascii", "replace")
        wanted = quote(f"{scope['path']}?{query}" if query else scope["path"])
        return RedirectResponse(f"{scope.get('root_path', '')}{LOGIN}?next={wanted}", status_code=303)
    message = "Log in, or present a token: Authorization: Bearer spt_…"
    return JSONResponse({"error": message}, status_code=401, headers={"WWW-Authenticate": "Bearer"})
