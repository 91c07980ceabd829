"""What does not come says nothing: somebody has to look whether it is late.

A source is as old as its newest new content, production as old as the last deployment that found or made it
right. What was never made is late as soon as what it is made from is older than the promise. What is said of
a source's newest snapshot (that it is the one before once more, for example) holds until another comes: that
the promise is not broken yet takes none of it back.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, TypeAlias
from zoneinfo import ZoneInfo

from secure_platform.contract.product import Product
from secure_platform.control.database import utc_now
from secure_platform.errors import IntegrityError
from secure_platform.monitor.anomaly import State
from secure_platform.monitor.freshness import judge_freshness
from secure_platform.monitor.history import Arrival, delivered
from secure_platform.monitor.incident import HISTORY_SEALED, Severity, Sighting
from secure_platform.orchestration.steps.observe import Terms, product_terms, terms_of
from secure_platform.orchestration.steps.production import FRESHNESS, ZONE, recorded_places
from secure_platform.services import Services
from secure_platform.store.snapshot import Zone

NEVER: Final = "never"
Deployed = Callable[[str], datetime | None]
"""When a table was last found or made right in production."""
_Known: TypeAlias = Mapping[tuple[str, str], Sequence[Arrival]]
"""(Zone, dataset) → snapshots that came, oldest first."""


def look_for_late(services: Services, product: Product, deployed: Deployed) -> list[str]:
    """Let the incidents take in what of a product is late, and what came after all; returns what is late.

    A history that was tampered with is a security incident of the product, and hides no other dataset.
    """
    known, seals = _arrivals(services, product)
    found = [*_sources(product, known, _unsettled(services, product)), *_production(product, known, deployed)]
    services.incidents.report(product.name, [*seals, *found])
    return [f"{each.zone}/{each.dataset}" for each in found if each.state is not None]


def _arrivals(services: Services, product: Product) -> tuple[_Known, list[Sighting]]:
    """When what came, without the places whose history cannot be believed; and which these are."""
    known: dict[tuple[str, str], list[Arrival]] = {}
    seals: list[Sighting] = []
    # A point of its own every day: what is still wrong after somebody settled it is told again.
    today = f"{utc_now():%Y-%m-%d}"
    for zone, dataset in recorded_places(product):
        state: Severity | None = None
        try:
            known[zone, dataset] = services.metrics.arrivals(product.name, dataset, zone)
        except IntegrityError:
            state = "fail"
        seals.append(Sighting(zone, dataset, HISTORY_SEALED, today, state))
    return known, seals


def _unsettled(services: Services, product: Product) -> set[tuple[str, str, str, str]]:
    """Zone, dataset, check and snapshot of everything that is still wrong."""
    return {
        (*signal.place, snapshot)
        for incident in services.incidents.all(product.name)
        if incident.unsettled
        for signal in incident.signals
        if signal.recovered_at is None
        for snapshot in signal.snapshots
    }


def _sources(
    product: Product, known: _Known, unsettled: Collection[tuple[str, str, str, str]]
) -> Iterator[Sighting]:
    for name, contract in product.contracts.items():
        came = known.get((str(Zone.RAW), name))
        if came:
            state = _judged(delivered(came), terms_of(contract))
            newest = (str(Zone.RAW), name, FRESHNESS, came[-1].snapshot_id)
            if state is not None or newest not in unsettled:
                yield Sighting(*newest, state)


def _production(product: Product, known: _Known, deployed: Deployed) -> Iterator[Sighting]:
    terms = product_terms(product)
    for table in product.models:
        at = deployed(table)
        if at is not None:
            here = known.get((ZONE, table))
            yield Sighting(
                ZONE, table, FRESHNESS, here[-1].snapshot_id if here else NEVER, _judged([at], terms)
            )
            continue
        waiting = known.get((str(Zone.MARTS), table))
        if waiting:
            yield Sighting(ZONE, table, FRESHNESS, NEVER, _judged([waiting[0].at], terms))


def _judged(arrivals: list[datetime], terms: Terms) -> Severity | None:
    found = judge_freshness(
        arrivals, utc_now(), promised=terms.promised, zone=ZoneInfo(terms.monitor.timezone)
    )
    wrong: dict[State, Severity] = {"warn": "warn", "fail": "fail"}
    return wrong.get(found.state)
