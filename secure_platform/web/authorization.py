"""A route answers whoever has its right, and nobody else; a route without a right is not served.

What the stock server's routes need is listed here, so that one that a new version brings stays closed until
somebody has decided about it. Denials are audited; that somebody read a page is not.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute, Match, Mount, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from secure_platform.access.principals import ANONYMOUS
from secure_platform.access.resources import Action, PlatformResource
from secure_platform.errors import AccessDeniedError
from secure_platform.services import Services
from secure_platform.web.authentication import principal_of
from secure_platform.web.routes import AUTHENTICATED, PUBLIC, OwnRoute, Right

STOCK: Final[dict[str, Right]] = {
    "/graphql": AUTHENTICATED,  # Every field has a right of its own: `web.rights`.
    "/server_info": Action.UI_READ,
    "/download_debug/{run_id:str}": Action.RUN_READ,
    "/{path:path}": Action.UI_READ,
    "/": Action.UI_READ,
}
# They read any notebook of the code location, any file that looks like a log (this platform keeps none), and
# report what never happened.
CLOSED: Final = frozenset(
    {
        *("/dagit_info", "/notebook", "/dagit/notebook", "/logs/{path:path}"),
        *(f"/report_asset_{what}/{{asset_key:path}}" for what in ("materialization", "check", "observation")),
    }
)
STATIC_NAME: Final = "_static"
"""How the names of the stock server's routes of its UI's files end."""


class Authorization:
    """Asks the policy before a route's endpoint is reached.

    Args:
        app: The endpoint.
        services: The rooms.
        right: Of the route.
    """

    def __init__(self, app: ASGIApp, services: Services, right: Right) -> None:
        self._app = app
        self._policy = services.policy
        self._right = right

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the caller through, or raise.

        Raises:
            AccessDeniedError: If they may not.
        """
        principal = principal_of(HTTPConnection(scope))
        if self._right != PUBLIC and principal == ANONYMOUS:
            raise AccessDeniedError("Nobody is logged in", "Log in, or present a token.")
        if isinstance(self._right, Action):
            platform = PlatformResource()
            if not self._policy.evaluate(principal, self._right, platform).allowed:
                self._policy.require(principal, self._right, platform)
        await self._app(scope, receive, send)


def authorized(routes: Iterable[BaseRoute], services: Services) -> Iterator[BaseRoute]:
    """The routes that have a right, each behind it."""
    for route in routes:
        right = right_of(route)
        if right is not None and isinstance(route, Route | WebSocketRoute | Mount):
            route.app = Authorization(route.app, services, right)
            yield route


def right_of(route: BaseRoute) -> Right | None:
    """What a caller needs to use a route; None for one that nobody decided about."""
    if isinstance(route, OwnRoute):
        return route.right
    if not isinstance(route, Route | WebSocketRoute | Mount):
        return None
    return AUTHENTICATED if (route.name or "").endswith(STATIC_NAME) else STOCK.get(route.path)


def own_route(routes: Iterable[BaseRoute], path: str) -> OwnRoute | None:
    """Our own route that a path below the prefix leads to, as the router will decide."""
    scope: Scope = {"type": "http", "method": "GET", "path": path}
    found = next((route for route in routes if route.matches(scope)[0] is not Match.NONE), None)
    return found if isinstance(found, OwnRoute) else None
