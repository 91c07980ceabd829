"""Security outcomes by month, for the products that the reader may see; and all waivers.

Nobody is named except who approved a waiver, as the contract does. Temporary rights are shown to readers who
may see rights.
"""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from secure_platform.access.resources import Action
from secure_platform.access.situation import Grant
from secure_platform.control.database import utc_now
from secure_platform.orchestration.outcomes import Month, months, waivers
from secure_platform.orchestration.tally import tally_of
from secure_platform.services import Services
from secure_platform.web.pages.watching import Watching
from secure_platform.web.plots import BarPlot, bar_plot
from secure_platform.web.routes import OwnRoute

INCIDENTS: Final[Mapping[str, str]] = {"after": "opened", "before": "contained by a person"}
POLICY: Final[Mapping[str, str]] = {"after": "denied", "before": "denied on restricted data"}
_HOUR: Final = 3600.0
_DAY: Final = 24.0


class Outcomes(Watching):
    """The page *Security outcomes*."""

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self._tally = tally_of(services)

    def overview(self, request: Request) -> Response:
        """Twelve months, and what is excepted now."""
        seen = {name for name in self.services.products if self.may_read(request, name)}
        now, counted = utc_now(), self._tally.count()
        everything = seen == set(self.services.products)
        found = months(
            now,
            [each for each in self.services.incidents.all() if each.product in seen],
            {
                asked: count
                for asked, count in self._tally.decisions().items()
                if asked.product in seen or everything
            },
            [each for each in self.services.gate.list() if each.product in seen],
            self._tally.deployed(),
        )
        shown = [each for each in self.services.products.values() if each.name in seen]
        return self.show(
            request,
            "outcomes.html",
            months=found,
            counted=counted,
            products=sorted(seen),
            incidents=_incidents(found),
            incident_words=INCIDENTS,
            denials=_denials(found),
            denial_words=POLICY,
            lasting=lasting,
            waivers=waivers(shown, now.date()),
            grants=self._grants(request),
        )

    def _grants(self, request: Request) -> list[Grant] | None:
        """Rights for a time that hold now, the first to end at the front; None for who may not see them."""
        if not self.may(request, Action.ACCESS_READ):
            return None
        held = (each for each in self.services.situation.grants() if each.holds(utc_now()))
        return sorted(held, key=lambda each: each.expires_at)


def lasting(time: timedelta) -> str:
    """How long something took, in words."""
    hours = time.total_seconds() / _HOUR
    if hours < 1:
        return f"{round(60 * hours)} min"
    return f"{hours:.1f} h" if hours < 2 * _DAY else f"{hours / _DAY:.1f} d"


def _incidents(found: Iterable[Month]) -> BarPlot:
    groups = [(each.name, {"after": each.opened, "before": each.contained}) for each in found if each.opened]
    return bar_plot("Incidents by the month in which they opened", groups)


def _denials(found: Iterable[Month]) -> BarPlot:
    groups = [(each.name, {"after": each.denied, "before": each.restricted}) for each in found if each.denied]
    return bar_plot("What the policy denied", groups)


def routes(services: Services) -> list[OwnRoute]:
    """The page of this room."""
    room = Outcomes(services)
    return [room.get("/outcomes", room.overview, Action.INCIDENT_READ)]
