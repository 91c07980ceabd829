"""A request of a known caller becomes a span, below the one that it names; of others nothing is recorded.

The span has the method, the route as the code names it, and the status. It has neither the path, which
contains names, nor the caller. A `traceparent` from an unknown caller is ignored: it would let them put what
they like beside what we did.
"""

from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from secure_platform.access.principals import ANONYMOUS
from secure_platform.notify.spans import About, Place, Traces
from secure_platform.web.authentication import principal_of


class Tracing:
    """Notes the requests of those who are known.

    Args:
        app: Answers them.
        traces: Who collects; None for nobody.
        route: Path → the route as the code names it; None for what is not noted.
    """

    def __init__(self, app: ASGIApp, traces: Traces | None, route: Callable[[str], str | None]) -> None:
        self._app = app
        self._traces = traces
        self._route = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and note it."""
        known = scope["type"] == "http" and principal_of(HTTPConnection(scope)) is not ANONYMOUS
        route = self._route(scope["path"]) if known and self._traces else None
        if self._traces is None or route is None:
            await self._app(scope, receive, send)
            return
        parent = Place.parse(Headers(scope=scope).get("traceparent"))
        name, about = f"{scope['method']} {route}", About(route=route)
        # What is collected is sent by the server's own rounds: nobody waits for it here.
        with self._traces.root(name, about, parent, send=False) as span:

            async def noted(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.state = str(message["status"])
                await send(message)

            await self._app(scope, receive, noted)
