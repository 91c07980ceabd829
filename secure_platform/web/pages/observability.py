"""The state of the products at a glance; the history of every metric; and every incident.

Settling an incident is bound to what its reader saw: if it got worse meanwhile, nothing is settled.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final, get_args
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from secure_platform.access.resources import Action
from secure_platform.contract.product import Product
from secure_platform.errors import GateRefusedError, IntegrityError, SecurePlatformError, UsageError
from secure_platform.monitor.anomaly import UNUSUAL
from secure_platform.monitor.history import Record, delivered
from secure_platform.monitor.incident import HISTORY_SEALED, Signal, timeline
from secure_platform.monitor.incidents import FROM, Verb
from secure_platform.orchestration.steps.named import named_resource
from secure_platform.orchestration.steps.production import ZONE, recorded_places
from secure_platform.services import Services
from secure_platform.store.snapshot import Zone
from secure_platform.web.authentication import principal_of
from secure_platform.web.courses import HEIGHT, POINTS, WIDTH, Course, course
from secure_platform.web.forms import form_of
from secure_platform.web.pages.watching import Watching
from secure_platform.web.rendering import go
from secure_platform.web.routes import OwnRoute

MOST_SETTLED: Final = 50
_ALWAYS: Final = "rows"
_SHOWN: Final = 5


@dataclass(frozen=True)
class Health:
    """How a product is.

    Attributes:
        worst: Gravest severity among what is not settled; `pass` if there is nothing.
        incidents: How many are not settled.
        blocked: Whether deployments wait.
        newest: When something new last came from its sources.
        deployed: When a release was last recorded in production.
    """

    product: str
    worst: str
    incidents: int
    blocked: bool
    newest: datetime | None
    deployed: datetime | None


class Observability(Watching):
    """Health, courses and incidents."""

    def overview(self, request: Request) -> Response:
        """Every product that the reader may look at, and what is not settled."""
        products = [each for each in self.services.products.values() if self.may_read(request, each.name)]
        unsettled = [
            each
            for each in reversed(self.services.incidents.all())
            if each.unsettled and self.may_read(request, each.product)
        ]
        return self.show(
            request, "observability.html", health=list(map(self._health, products)), incidents=unsettled
        )

    def product(self, request: Request) -> Response:
        """The courses of a product's metrics, and its incidents."""
        product = self.services.product(request.path_params["product"])
        self.require_read(request, product.name)
        incidents = self.services.incidents.all(product.name)
        return self.show(
            request,
            "watched.html",
            product=product.name,
            health=self._health(product),
            courses=list(self._courses(product)),
            incidents=list(reversed(incidents))[:MOST_SETTLED],
            width=WIDTH,
            height=HEIGHT,
        )

    def incident(self, request: Request) -> Response:
        """One incident: what was found, what happened, and what can be said about it."""
        return self._incident(request, request.path_params["incident"])

    def settle(self, request: Request) -> Response:
        """Acknowledge, resolve, or call it a false alarm; what is refused is shown above it."""
        name, form = request.path_params["incident"], form_of(request)
        try:
            self._settle(request, name, form)
        except SecurePlatformError as error:
            return self._incident(request, name, error=error, given=form)
        return go(request, f"/incidents/{name}")

    def _settle(self, request: Request, name: str, form: Mapping[str, str]) -> None:
        found = self.services.incidents.get(name)
        verb: Verb | None = next((each for each in get_args(Verb) if each == form.get("verb")), None)
        if verb is None:
            raise UsageError("The form names nothing to do", "Use one of the buttons.")
        if form.get("revision") != str(found.revision):
            raise GateRefusedError(
                "The incident got worse since you looked", "Look at it again, then decide."
            )
        self.services.incidents.settle(
            principal_of(request),
            named_resource(self.services, found.product),
            found,
            verb,
            note=form.get("reason", ""),
        )

    def _incident(
        self,
        request: Request,
        name: str,
        *,
        error: SecurePlatformError | None = None,
        given: Mapping[str, str] | None = None,
    ) -> Response:
        found = self.services.incidents.get(name)
        self.require_read(request, found.product)
        manages = self.may_on(request, Action.INCIDENT_MANAGE, found.product)
        return self.show(
            request,
            "incident.html",
            status=409 if error else 200,
            incident=found,
            timeline=timeline(found),
            drawn_at=[self._place(found.product, signal) for signal in found.signals],
            verbs=[verb for verb, states in FROM.items() if manages and found.state in states],
            error=error,
            reason=(given or {}).get("reason", ""),
        )

    def _place(self, product: str, signal: Signal) -> str | None:
        """Where what a signal found is drawn, as it was then; None where nothing was measured."""
        known = self.services.products.get(product)
        if known is None or signal.check == HISTORY_SEALED:
            return None
        if (signal.zone, signal.dataset) not in recorded_places(known):
            return None
        about = urlencode({"snapshot": signal.snapshots[-1].partition("/")[0]})
        return f"/observability/{product}/{signal.zone}/{signal.dataset}?{about}"

    def _health(self, product: Product) -> Health:
        unsettled = [each for each in self.services.incidents.all(product.name) if each.unsettled]
        severities = {each.severity for each in unsettled}
        return Health(
            product.name,
            worst=next((word for word in ("fail", "warn") if word in severities), "pass"),
            incidents=len(unsettled),
            blocked=self.services.incidents.blocks(product.name),
            newest=self._newest(product.name, str(Zone.RAW), product.contracts),
            deployed=self._newest(product.name, ZONE, product.models),
        )

    def _newest(self, product: str, zone: str, datasets: Iterable[str]) -> datetime | None:
        known: list[datetime] = []
        for dataset in datasets:
            # A history that was tampered with is an incident, and hides nothing else.
            with suppress(IntegrityError):
                known += delivered(self.services.metrics.arrivals(product, dataset, zone))[-1:]
        return max(known, default=None)

    def _courses(self, product: Product) -> Iterator[tuple[str, list[Course]]]:
        """Place → its row count, and what was unusual lately."""
        for zone, dataset in recorded_places(product):
            try:
                records = self.services.metrics.before(product.name, dataset, zone, limit=POINTS)
            except IntegrityError:
                continue
            names = dict.fromkeys([_ALWAYS, *_unusual(records)])
            drawn = [found for name in names if (found := course(name, records)) is not None]
            if drawn:
                yield f"{zone}/{dataset}", drawn


def _unusual(records: Sequence[Record]) -> list[str]:
    """The first few metrics of the newest record that stand out."""
    said = records[-1].verdicts if records else {}
    return [name for name, verdict in sorted(said.items()) if verdict["state"] in UNUSUAL][:_SHOWN]


def routes(services: Services) -> list[OwnRoute]:
    """The pages of this room."""
    room = Observability(services)
    return [
        room.get("/observability", room.overview, Action.INCIDENT_READ),
        room.get("/observability/{product}", room.product, Action.INCIDENT_READ),
        room.get("/incidents/{incident}", room.incident, Action.INCIDENT_READ),
        room.post("/incidents/{incident}", room.settle, Action.INCIDENT_READ),
    ]
