"""Dagster's UI and our own pages behind one door: nothing in here is reached by nobody.

Every request passes, in this order: a trusted proxy says who is calling; Host, Origin, method and body are
this server's own; what goes wrong from here on is answered without a value; the caller is somebody; the route
has a right that they have; and every field of Dagster's API asks again.
"""

import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Final

import uvicorn
from dagster import __version__ as dagster_version
from dagster._core.workspace.load_target import WorkspaceFileTarget
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount

from secure_platform.errors import UsageError
from secure_platform.orchestration.home import open_instance
from secure_platform.services import Services
from secure_platform.site import ServerSettings
from secure_platform.web import api, health, login, telemetry
from secure_platform.web.address import Forwarded, SiteAddress
from secure_platform.web.api_server import GuardedApi
from secure_platform.web.authentication import Authentication, principal_of
from secure_platform.web.authorization import authorized, own_route
from secure_platform.web.failures import Failures
from secure_platform.web.guard import RequestGuard
from secure_platform.web.pages import (
    access,
    account,
    approvals,
    audit,
    data_map,
    keys,
    measured,
    observability,
    outcomes,
    people,
    releases,
    rights,
    sla,
)
from secure_platform.web.permissions import PolicyProcessContext, Rights
from secure_platform.web.routes import PUBLIC
from secure_platform.web.sockets import SocketLifetime
from secure_platform.web.tls import tls_options
from secure_platform.web.tracing import Tracing

# Our own pages: one line for each module with `routes(services)`.
ROOMS: Final[Sequence[ModuleType]] = (
    health,
    login,
    approvals,
    releases,
    data_map,
    observability,
    outcomes,
    sla,
    measured,
    audit,
    people,
    access,
    keys,
    rights,
    account,
    api,
    telemetry,
)
API: Final = "/api/"
GRAPHQL: Final = "/graphql"
BACKLOG: Final = 128
GRACE_SECONDS: Final = 5
LOG_LEVEL: Final = "warning"


class SecureWebserver(GuardedApi):
    """The stock UI and API, and our own pages, with our guards in front.

    Args:
        process_context: Dagster's workspace.
        services: The rooms.
        address: Where the server is reached.
    """

    def __init__(
        self, process_context: PolicyProcessContext, services: Services, address: SiteAddress
    ) -> None:
        self._services = services
        self._address = address
        self._own: list[BaseRoute] = [route for room in ROOMS for route in room.routes(services)]
        super().__init__(process_context, address.prefix)

    def build_middleware(self) -> list[Middleware]:
        """The guards, outermost first."""
        proxy = self._services.settings.server.proxy
        return [
            Middleware(Forwarded, proxies=proxy.addresses if proxy else (), prefix=self._address.prefix),
            Middleware(RequestGuard, address=self._address, is_form=self._is_form),
            Middleware(Failures),
            Middleware(Authentication, services=self._services, is_public=self._is_public),
            Middleware(Tracing, traces=self._services.traces, route=self._route),
            Middleware(SocketLifetime, services=self._services),
            *super().build_middleware(),
        ]

    def build_routes(self) -> list[BaseRoute]:
        """Our own before the stock server's, whose last one takes every path; each behind its right."""
        stock = super().build_routes()  # type: ignore[no-untyped-call]  # Dagster's has no annotation.
        if self._address.prefix:
            # The prefix is in the request's root path already.
            stock = next(route.routes for route in stock if isinstance(route, Mount))
        return list(authorized([*self._own, *stock], self._services))

    async def download_debug_file_endpoint(self, request: Request) -> Response:
        """All that is known about a run, which is recorded as having been taken away.

        Raises:
            HTTPException: If there is no such run.
        """
        run_id = request.path_params["run_id"]
        await run_in_threadpool(self._note_download, request, run_id)
        response: Response = await super().download_debug_file_endpoint(request)
        return response

    def _note_download(self, request: Request, run_id: str) -> None:
        if not self._process_context.instance.has_run(run_id):
            raise HTTPException(404)
        actor = principal_of(request).name
        self._services.audit.append("run.download", actor=actor, subject=f"run:{run_id}")

    def _is_public(self, path: str) -> bool:
        route = own_route(self._own, path.removeprefix(self._address.prefix))
        return route is not None and route.right == PUBLIC

    def _route(self, path: str) -> str | None:
        below = path.removeprefix(self._address.prefix)
        own = own_route(self._own, below)
        return own.path if own else below if below == GRAPHQL else None

    def _is_form(self, path: str) -> bool:
        below = path.removeprefix(self._address.prefix)
        return not below.startswith(API) and own_route(self._own, below) is not None


def create_app(process_context: PolicyProcessContext, services: Services, address: SiteAddress) -> Starlette:
    """The guarded application."""
    app: Starlette = SecureWebserver(process_context, services, address).create_asgi_app()
    app.state.process_context = process_context
    return app


def listen(server: ServerSettings) -> socket.socket:
    """Take the server's port; 0 takes a free one.

    Raises:
        UsageError: If it is in use or not allowed.
    """
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((server.host, server.port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise UsageError(
            f"Port {server.port} of {server.host} cannot be used: {error.strerror}",
            "Choose another one with --port.",
        ) from None
    return listener


def serve_ui(
    services: Services, listener: socket.socket, workspace: Path, *, ready: Callable[[SiteAddress], None]
) -> None:
    """Serve the UI until SIGINT or SIGTERM.

    Args:
        services: The rooms; the home must be prepared.
        listener: From `listen`.
        workspace: File that names the code locations.
        ready: Called when requests will be answered.
    """
    settings = services.settings
    address = SiteAddress.of(settings.server, listener.getsockname()[1])
    with (
        open_instance(settings) as instance,
        PolicyProcessContext(
            rights=Rights(services),
            instance=instance,
            workspace_load_target=WorkspaceFileTarget([str(workspace)]),
            version=dagster_version,
            code_server_log_level=LOG_LEVEL,
        ) as context,
    ):
        instance.optimize_for_webserver(-1, 3600, 20)
        config = uvicorn.Config(
            create_app(context, services, address),
            log_level=LOG_LEVEL,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
            **tls_options(settings.server),
        )
        ready(address)
        uvicorn.Server(config).run(sockets=[listener])
