"""Our pages behind the real server's guards, and people logged in to them in one browser each."""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from html.parser import HTMLParser

import httpx
import uvicorn
from asgi_browser import Browser
from built_home import PRODUCT, Built, built_release
from starlette.applications import Starlette
from waiting import wait_for
from web_login import BASE, session_cookie, web_app

from secure_platform.access.principals import Principal
from secure_platform.gate.records import ReleaseRecord
from secure_platform.monitor.distribution import Sketch
from secure_platform.monitor.incident import Sighting
from secure_platform.orchestration.home import open_instance
from secure_platform.orchestration.steps.deploy import deploy
from secure_platform.services import Services
from secure_platform.site import ServerSettings
from secure_platform.web.address import SiteAddress
from secure_platform.web.authentication import COOKIE
from secure_platform.web.server import listen

START_SECONDS = 30
UNUSUAL = Sighting("production", "patient_summary", "quality", "p1", "warn", metrics=("null_rate:age",))
HTML = {"accept": "text/html", "origin": BASE}
STAFF = {
    "ana": ("analyst",),
    "dana": ("data_engineer",),
    "mel": ("ml_engineer",),
    "sam": ("data_steward",),
    "tess": ("data_steward",),
    "petra": ("privacy_officer",),
    "otto": ("auditor",),
    "admin": ("admin",),
    "nil": (),
}


def person(services: Services, name: str) -> Principal:
    found = services.principals.get(name)
    return found or services.principals.add(name, roles=STAFF[name], actor="service:scheduler")


class Reader(Browser):
    """A browser in which one person is logged in, or nobody."""

    def __init__(self, app: Starlette, services: Services, name: str | None, *, mfa: bool = True) -> None:
        super().__init__(app, BASE)
        if name is not None:
            self.cookies.set(COOKIE, session_cookie(services, person(services, name), mfa=mfa))

    def open(self, path: str) -> httpx.Response:
        return self.get(path, headers=HTML)

    def submit(self, path: str, to: str | None = None, **fields: str) -> httpx.Response:
        """Fill in the form of a page that posts to a path, keep what it has hidden, and send it."""
        target = to or path
        forms = Forms.of(self.open(path).text)
        hidden = next((form for action, form in forms if action == target), None)
        assert hidden is not None, f"{path} shows no form for {target}"
        return self.post(target, data={**hidden, **fields}, headers=HTML)


class Forms(HTMLParser):
    """The forms of a page: where each posts to, and its hidden fields."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []

    @classmethod
    def of(cls, text: str) -> list[tuple[str, dict[str, str]]]:
        parser = cls()
        parser.feed(text)
        return parser.found

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form":
            self.found.append((given.get("action") or "", {}))
        if tag == "input" and given.get("type") == "hidden":
            self.found[-1][1][given["name"] or ""] = given.get("value") or ""


class Elements(HTMLParser):
    """What a page is made of: every element with its attributes, and all text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(name for name, _ in attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def governed(built: Built) -> tuple[Services, ReleaseRecord, ReleaseRecord]:
    """A home with one release in production and one that waits; everybody is there."""
    services = built.services
    for name in STAFF:
        person(services, name)
    first = built.approve()
    deploy(services, built.product)
    services.incidents.report(PRODUCT, [UNUSUAL])
    second = built_release(built, "second")
    assert services.target.base(PRODUCT) == first.digest == second.base
    return services, first, second


def watched_for_a_month(services: Services) -> None:
    """The marts of the thirty days before, one of which was unusual."""
    for table in services.product(PRODUCT).models:
        (today,) = services.metrics.before(PRODUCT, table, "marts")
        for day in range(1, 31):
            rows = today.numbers["rows"]
            value = rows * (1 + 0.06 * math.sin(day * 1.7)) * (0.4 if day == 9 else 1)
            said = {"value": value, "expected": rows, "low": 0.85 * rows, "high": 1.15 * rows}
            verdict = {**said, "state": "fail" if day == 9 else "pass", "chance": 0.5, "note": ""}
            record = replace(
                today,
                snapshot_id=f"{table[:20]}{day}",
                numbers={"rows": value},
                sketches={column: _smaller(sketch) for column, sketch in today.sketches.items()},
                verdicts={"rows": verdict},
                recorded_at=today.recorded_at - timedelta(days=day),
            )
            services.metrics.add(record)
    # They were added in another order than that of their days.
    services.metrics.adopt()


def _smaller(sketch: Sketch) -> Sketch:
    """Numbers a fifth smaller; categories as they are."""
    return {label if ":" in label else str(int(label) - 4): count for label, count in sketch.items()}


@contextmanager
def pages(services: Services) -> Iterator[Starlette]:
    with open_instance(services.settings) as instance, web_app(services, instance) as app:
        yield app


@contextmanager
def served(services: Services) -> Iterator[str]:
    """The application on a port of its own, for a real browser."""
    with listen(ServerSettings(port=0)) as listener, open_instance(services.settings) as instance:
        address = SiteAddress.of(ServerSettings(), listener.getsockname()[1])
        with web_app(services, instance, address=address) as app:
            server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none"))
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
            thread.start()
            try:
                wait_for(lambda: server.started, START_SECONDS)
                yield address.url
            finally:
                server.should_exit = True
                thread.join()


@dataclass(frozen=True)
class Site:
    """A home with a release in production and one that waits, served in this process."""

    app: Starlette
    services: Services
    built: Built
    first: ReleaseRecord
    second: ReleaseRecord

    def reader(self, name: str | None, *, mfa: bool = True) -> Reader:
        return Reader(self.app, self.services, name, mfa=mfa)

    @property
    def incident(self) -> str:
        """The first incident there was."""
        return self.services.incidents.all(PRODUCT)[0].incident_id

    def present(self) -> ReleaseRecord:
        return self.services.gate.get(self.second.digest)

    @classmethod
    def of(cls, built: Built, app: Starlette, services: Services) -> "Site":
        first, second = services.gate.list(PRODUCT)
        return cls(app, services, built, first, second)
