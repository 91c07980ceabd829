"""Dagster's UI on loopback, without the openings of the stock server.

Mutations run from a JSON POST only, never from a GET or a query string; the endpoints that let anyone report
materializations and check results are not served.
"""

import socket
from collections.abc import Callable
from typing import Any, Final

import uvicorn
from dagster import __version__ as dagster_version
from dagster._core.workspace.context import WorkspaceProcessContext, WorkspaceRequestContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster_webserver.webserver import DagsterWebserver
from graphql import GraphQLError, OperationDefinitionNode, OperationType, parse
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route

from secure_platform.errors import UsageError
from secure_platform.orchestration.home import open_instance
from secure_platform.settings import Settings
from secure_platform.web.guard import RequestGuard, is_json, loopback_hosts
from secure_platform.web.workspace import workspace_file

HOST: Final = "127.0.0.1"
REPORTING_PREFIX: Final = "/report_asset_"
BACKLOG: Final = 128
GRACE_SECONDS: Final = 5
LOG_LEVEL: Final = "warning"


class SecureWebserver(DagsterWebserver[WorkspaceProcessContext, WorkspaceRequestContext]):
    """The stock UI and API with our guards in front.

    Args:
        process_context: Dagster's workspace.
        port: The port it is served on; part of the Host values it answers to.
    """

    def __init__(self, process_context: WorkspaceProcessContext, port: int) -> None:
        self._hosts = loopback_hosts(port)
        super().__init__(process_context)

    def build_middleware(self) -> list[Middleware]:
        """The guard comes first."""
        return [Middleware(RequestGuard, hosts=self._hosts), *super().build_middleware()]

    def build_routes(self) -> list[BaseRoute]:
        """Without the endpoints that report events from outside."""
        routes = super().build_routes()  # type: ignore[no-untyped-call]  # Dagster's has no annotation.
        return [
            route
            for route in routes
            if not (isinstance(route, Route) and route.path.startswith(REPORTING_PREFIX))
        ]

    async def execute_graphql_request(
        self, request: Request, query: str, variables: dict[str, Any] | None, operation_name: str | None
    ) -> JSONResponse:
        """Run the operation, unless it changes something and is not a JSON POST."""
        if not (request.method == "POST" and is_json(request.headers)) and _may_change(query):
            message = "Mutations are accepted as POST with Content-Type application/json only."
            return JSONResponse({"data": None, "errors": [{"message": message}]}, status_code=405)
        return await super().execute_graphql_request(request, query, variables, operation_name)


def create_app(process_context: WorkspaceProcessContext, port: int) -> Starlette:
    """The guarded application."""
    app = SecureWebserver(process_context, port).create_asgi_app()
    app.state.process_context = process_context
    return app


def listen(port: int) -> socket.socket:
    """Take the port on loopback; 0 takes a free one.

    Raises:
        UsageError: If it is in use or not allowed.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise UsageError(
            f"Port {port} of {HOST} cannot be used: {error.strerror}", "Choose another one with --port."
        ) from None
    return listener


def serve_ui(settings: Settings, listener: socket.socket, *, ready: Callable[[], None]) -> None:
    """Serve the UI until SIGINT or SIGTERM.

    Args:
        settings: The home and the project; the home must be prepared.
        listener: From `listen`.
        ready: Called when requests will be answered.
    """
    workspace = WorkspaceFileTarget([str(workspace_file(settings))])
    with (
        open_instance(settings) as instance,
        WorkspaceProcessContext(
            instance,
            workspace_load_target=workspace,
            version=dagster_version,
            code_server_log_level=LOG_LEVEL,
        ) as context,
    ):
        instance.optimize_for_webserver(-1, 3600, 20)
        app = create_app(context, listener.getsockname()[1])
        config = uvicorn.Config(app, log_level=LOG_LEVEL, timeout_graceful_shutdown=GRACE_SECONDS)
        ready()
        uvicorn.Server(config).run(sockets=[listener])


def _may_change(query: str) -> bool:
    """Whether the document holds anything but queries; what cannot be parsed is the server's to refuse."""
    try:
        document = parse(query)
    except GraphQLError:
        return False
    return any(
        isinstance(definition, OperationDefinitionNode) and definition.operation is not OperationType.QUERY
        for definition in document.definitions
    )
