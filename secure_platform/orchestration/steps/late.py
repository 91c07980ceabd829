"""What does not come says nothing: somebody has to look whether it is late.

A source is as old as its newest new snapshot, production as old as the last deployment that found or made it
right. What was never made is late as soon as what it is made from is older than the promise.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from secure_platform.contract.product import Product
from secure_platform.control.database import utc_now
from secure_platform.monitor.anomaly import State
from secure_platform.monitor.freshness import judge_freshness
from secure_platform.monitor.incident import Severity, Sighting
from secure_platform.orchestration.steps.observe import Terms, product_terms, terms_of
from secure_platform.orchestration.steps.production import FRESHNESS, ZONE
from secure_platform.services import Services
from secure_platform.store.snapshot import Zone

NEVER: Final = "never"
Deployed = Callable[[str], datetime | None]
"""When a table was last found or made right in production."""


def look_for_late(services: Services, product: Product, deployed: Deployed) -> list[str]:
    """Let the incidents take in what of a product is late, and what came after all; returns what is late."""
    sightings = [*_sources(services, product), *_production(services, product, deployed)]
    services.incidents.report(product.name, sightings)
    return [f"{each.zone}/{each.dataset}" for each in sightings if each.state is not None]


def _sources(services: Services, product: Product) -> Iterator[Sighting]:
    for name, contract in product.contracts.items():
        came = services.metrics.arrivals(product.name, name, str(Zone.RAW))
        if came:
            state = _judged([at for _, at in came], terms_of(contract))
            yield Sighting(str(Zone.RAW), name, FRESHNESS, came[-1][0], state)


def _production(services: Services, product: Product, deployed: Deployed) -> Iterator[Sighting]:
    terms = product_terms(product)
    for table in product.models:
        at = deployed(table)
        known = services.metrics.arrivals(product.name, table, ZONE)
        if at is not None:
            yield Sighting(ZONE, table, FRESHNESS, known[-1][0] if known else NEVER, _judged([at], terms))
            continue
        waiting = services.metrics.arrivals(product.name, table, str(Zone.MARTS))
        if waiting:
            yield Sighting(ZONE, table, FRESHNESS, NEVER, _judged([waiting[0][1]], terms))


def _judged(arrivals: list[datetime], terms: Terms) -> Severity | None:
    found = judge_freshness(
        arrivals, utc_now(), promised=terms.promised, zone=ZoneInfo(terms.monitor.timezone)
    )
    wrong: dict[State, Severity] = {"warn": "warn", "fail": "fail"}
    return wrong.get(found.state)
