"""Our pages in an application of their own, and people logged in to them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import uvicorn
from asgi_browser import Browser
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from waiting import wait_for

from secure_platform.control.database import utc_now
from secure_platform.services import Services
from secure_platform.web.authentication import COOKIE, Authentication
from secure_platform.web.pages import access, account, approvals, audit, data_map, people, releases, rights
from secure_platform.web.rendering import STATIC
from secure_platform.web.routes import OwnRoute
from secure_platform.web.server import listen

ROOMS = (approvals, releases, data_map, audit, people, access, rights, account)
START_SECONDS = 30


def own_routes(services: Services) -> list[OwnRoute]:
    return [route for room in ROOMS for route in room.routes(services)]


def pages(services: Services) -> Starlette:
    static = Mount("/platform-static", StaticFiles(directory=STATIC))
    guard = Middleware(Authentication, services=services, is_public=lambda path: "/platform-static/" in path)
    return Starlette(routes=[*own_routes(services), static], middleware=[guard])


def secret_of(services: Services, name: str, *, mfa_at: datetime | None = None) -> str:
    principal = services.principals.get(name)
    assert principal is not None
    opened = services.sessions.open(
        principal, method="password", address="127.0.0.1", client="Test/1.0", mfa_at=mfa_at or utc_now()
    )
    return opened.secret


def logged_in(services: Services, name: str, *, app: Starlette | None = None) -> Browser:
    browser = Browser(app or pages(services))
    browser.cookies.set(COOKIE, secret_of(services, name))
    return browser


@contextmanager
def served(app: Starlette) -> Iterator[str]:
    """The application on a port of its own."""
    with listen(0) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            wait_for(lambda: server.started, START_SECONDS)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
