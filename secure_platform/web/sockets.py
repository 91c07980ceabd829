"""An open socket is worth no more than the login that opened it, and is asked about it every few seconds."""

import asyncio
from contextlib import suppress
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from secure_platform.services import Services
from secure_platform.web.authentication import principal_of, session_of
from secure_platform.web.guard import POLICY_VIOLATION

CHECK_SECONDS: Final = 2.0
LONGEST_SECONDS: Final = 3600.0


class SocketLifetime:
    """Closes sockets whose session or token was revoked or has run out, or whose principal changed.

    Args:
        app: What serves the socket; the principal is in its scope.
        services: The rooms.
    """

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the socket for as long as its login is good."""
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        over = asyncio.Event()

        async def heard() -> Message:
            waiting = [asyncio.ensure_future(receive()), asyncio.ensure_future(over.wait())]
            done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in pending:
                task.cancel()
            if waiting[0] in done:
                message: Message = waiting[0].result()  # type: ignore[assignment]  # The two futures differ.
                return message
            return {"type": "websocket.disconnect", "code": POLICY_VIOLATION}

        async def said(message: Message) -> None:
            if not over.is_set():
                await send(message)

        watching = asyncio.ensure_future(self._watch(HTTPConnection(scope), over))
        serving = asyncio.ensure_future(self._app(scope, heard, said))
        await asyncio.wait([watching, serving], return_when=asyncio.FIRST_COMPLETED)
        if over.is_set():
            with suppress(RuntimeError, OSError):  # The client may have gone already.
                await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": "Log in again."})
        watching.cancel()
        await serving

    async def _watch(self, connection: HTTPConnection, over: asyncio.Event) -> None:
        opened = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() - opened < LONGEST_SECONDS:
            await asyncio.sleep(CHECK_SECONDS)
            if not await run_in_threadpool(self._is_good, connection):
                break
        over.set()

    def _is_good(self, connection: HTTPConnection) -> bool:
        """Whether the login still stands; what cannot be told does not."""
        try:
            return self._stands(connection)
        except Exception:  # noqa: BLE001 - a socket that nobody watches must not stay open
            return False

    def _stands(self, connection: HTTPConnection) -> bool:
        principal, session = principal_of(connection), session_of(connection)
        if session is not None and not self._services.sessions.lives(session.session_id):
            return False
        if principal.circumstances.method == "token":
            token = connection.headers["authorization"].partition(" ")[2]
            return self._services.tokens.authenticate(token) == principal
        return self._services.principals.get(principal.name) == principal
