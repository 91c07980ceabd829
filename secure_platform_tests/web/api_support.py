"""The guarded application over a built home: asked in this process, or served on a port of its own."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
import uvicorn
from starlette.types import ASGIApp
from waiting import wait_for
from web_login import BASE, bearer, person, web_app
from web_support import Client

from secure_platform.orchestration.home import open_instance
from secure_platform.services import Services
from secure_platform.site import ServerSettings
from secure_platform.web.address import SiteAddress
from secure_platform.web.server import listen

API = "/api/v1"
START_SECONDS = 30


@contextmanager
def api(services: Services) -> Iterator["Api"]:
    """The application in this process; its workspace has no code."""
    with dg.DagsterInstance.local_temp() as instance, web_app(services, instance) as app:
        yield Api(services, app)


class Api:
    """Asks in the name of whoever has these roles."""

    def __init__(self, services: Services, app: ASGIApp) -> None:
        self.services = services
        self._app = app

    def of(self, *roles: str, name: str | None = None, scopes: tuple[str, ...] = ()) -> Client:
        who = person(self.services, *roles, name=name)
        return Client(self._app, BASE, bearer(self.services, who, *scopes))

    @property
    def anonymous(self) -> Client:
        return Client(self._app, BASE)


@contextmanager
def served_api(services: Services, *, own_runs: bool = False) -> Iterator[str]:
    """The application over real HTTP; its URL. It knows the home's own runs, or none."""
    opened = open_instance(services.settings) if own_runs else dg.DagsterInstance.local_temp()
    with listen(ServerSettings(port=0)) as listener:
        port = listener.getsockname()[1]
        address = SiteAddress.of(services.settings.server, port)
        with opened as instance, web_app(services, instance, address=address) as app:
            server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
            thread.start()
            try:
                assert wait_for(lambda: server.started, START_SECONDS)
                yield f"http://127.0.0.1:{port}"
            finally:
                server.should_exit = True
                thread.join()
