"""Whether the process lives, and whether it is ready to serve; neither says anything else about the home."""

from typing import Final

from dagster._core.instance import DagsterInstance
from dagster._daemon.controller import all_daemons_live
from sqlalchemy import text
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response

from secure_platform.services import Services
from secure_platform.web.permissions import PolicyProcessContext, process_context
from secure_platform.web.rendering import STATIC
from secure_platform.web.routes import PUBLIC, OwnRoute

UNREADY: Final = 503


def routes(services: Services) -> list[OwnRoute]:
    """What answers anybody: probes, and the files that the login page needs."""

    def readyz(request: Request) -> Response:
        workspace = process_context(request)
        parts = {
            "database": _database(services),
            "code": _code(workspace),
            "daemon": _daemon(workspace.instance),
        }
        return JSONResponse(parts, status_code=200 if all(parts.values()) else UNREADY)

    return [
        OwnRoute("/healthz", _healthz, right=PUBLIC),
        OwnRoute("/readyz", readyz, right=PUBLIC),
        OwnRoute("/platform-static/{name}", _static, right=PUBLIC),
    ]


def _healthz(_request: Request) -> Response:
    return PlainTextResponse("ok\n")


def _static(request: Request) -> Response:
    """One of our files; which there are is looked up, never put together from the path."""
    files = {path.name: path for path in STATIC.iterdir()}
    found = files.get(request.path_params["name"])
    if found is None:
        return PlainTextResponse("Not Found", status_code=404)
    return FileResponse(found, headers={"Cache-Control": "public, max-age=300"})


def _database(services: Services) -> bool:
    try:
        with services.database.read() as connection:
            connection.execute(text("SELECT 1"))
    except Exception:  # noqa: BLE001 - whatever it is, it is not ready
        return False
    return True


def _code(context: PolicyProcessContext) -> bool:
    entries = context.get_current_workspace().code_location_entries.values()
    return all(entry.code_location is not None for entry in entries)


def _daemon(instance: DagsterInstance) -> bool:
    try:
        return bool(all_daemons_live(instance))
    except Exception:  # noqa: BLE001 - the same
        return False
