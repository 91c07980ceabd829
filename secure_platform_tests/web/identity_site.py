"""The login pages of a home in this process, with one page behind them that says who is calling."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asgi_browser import Browser
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from secure_platform.homes import initialise
from secure_platform.services import Services
from secure_platform.settings import Settings, load_settings
from secure_platform.web import login
from secure_platform.web.authentication import Authentication, principal_of, session_of
from secure_platform.web.failures import Failures
from secure_platform.web.routes import AUTHENTICATED, PUBLIC, OwnRoute

BASE = "http://127.0.0.1:3000"
PASSWORD = "seventeen purple kites over Graz"


def make_home(directory: Path) -> Path:
    """An initialised home to copy."""
    initialise(load_settings(home=directory / "home"))
    return directory / "home"


class IdentitySite:
    """A home and its login pages."""

    def __init__(self, directory: Path, home: Path, *, root_path: str = "", **settings: Any) -> None:
        shutil.copytree(home, directory / "home")
        self.settings: Settings = load_settings(home=directory / "home", **settings)
        self.services = Services(self.settings)
        self.root_path = root_path
        routes = [*login.routes(self.services), OwnRoute("/whoami", who_am_i, right=AUTHENTICATED)]
        public = {f"{root_path}{route.path}" for route in routes if route.right == PUBLIC}
        door = Middleware(Authentication, services=self.services, is_public=public.__contains__)
        self.app = Starlette(routes=routes, middleware=[Middleware(Failures), door])

    def browser(self, address: str = "127.0.0.1", base: str = BASE) -> Browser:
        return Browser(self.app, base, root_path=self.root_path, address=(address, 50_000))

    def close(self) -> None:
        self.services.audit.close()
        self.services.database.close()

    def recorded(self, action: str) -> list[Mapping[str, Any]]:
        return [entry.body for entry in self.services.audit.entries() if entry.body["action"] == action]


def who_am_i(request: Request) -> Response:
    principal, session = principal_of(request), session_of(request)
    how = principal.circumstances
    return JSONResponse(
        {
            "name": principal.name,
            "roles": sorted(principal.roles),
            "groups": sorted(principal.groups),
            "channel": how.channel,
            "method": how.method,
            "mfa": how.mfa_at is not None,
            "mfa_at": how.mfa_at and how.mfa_at.isoformat(),
            "session": session and session.session_id,
        }
    )
