"""The SLA report of a product: what its contracts promise now, and all that its sources have delivered.

A dataset is reported in the time zone of its contract, the product in that of its contracts if they agree. An
incident counts for every dataset that one of its signals concerns in the raw or protected zone, and once for
the product.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from secure_platform.contract.product import Product
from secure_platform.monitor.history import delivered
from secure_platform.monitor.sla import SlaMonth, containments, deliveries, months
from secure_platform.orchestration.steps.observe import product_terms, terms_of
from secure_platform.services import Services
from secure_platform.store.snapshot import Zone

MONTHS: Final = 12
COLUMNS: Final = (
    *("product", "dataset", "clock", "promised_hours"),
    *(each.name for each in fields(SlaMonth)),
)
"""Of a row, in their order."""
_PLACES: Final = frozenset({str(Zone.RAW), str(Zone.PROTECTED)})
_DIGITS: Final = 4


@dataclass(frozen=True)
class Sla:
    """What was kept of one promise.

    Attributes:
        dataset: None for the product as a whole.
        clock: Whose months they are.
        promised: The greatest age that is allowed; None if nothing is promised, or for the product.
        months: The newest first.
    """

    product: str
    dataset: str | None
    clock: str
    promised: timedelta | None
    months: tuple[SlaMonth, ...]


def sla_report(services: Services, product: Product, now: datetime) -> list[Sla]:
    """The product as a whole, then its datasets in order of name."""
    incidents = services.incidents.all(product.name)
    found, counted = [], []
    for name, contract in sorted(product.contracts.items()):
        terms = terms_of(contract)
        clock = terms.monitor.timezone
        zone = ZoneInfo(clock)
        came = services.metrics.arrivals(product.name, name, str(Zone.RAW), limit=None)
        counts = deliveries(delivered(came), now, promised=terms.promised, zone=zone)
        about = [
            each
            for each in incidents
            if any(signal.dataset == name and signal.zone in _PLACES for signal in each.signals)
        ]
        counted.append(counts)
        told = months([counts, containments(about, zone)])
        found.append(Sla(product.name, name, clock, terms.promised, tuple(told)))
    clock = product_terms(product).monitor.timezone
    whole = months([*counted, containments(incidents, ZoneInfo(clock))])
    return [Sla(product.name, None, clock, None, tuple(whole)), *found]


def sla_rows(reports: Sequence[Sla], most: int = MONTHS) -> list[Mapping[str, Any]]:
    """One flat row per dataset and month, the newest first; hours and shares to four digits."""
    latest = sorted({month.month for each in reports for month in each.months}, reverse=True)[:most]
    return [
        {
            "product": each.product,
            "dataset": each.dataset,
            "clock": each.clock,
            "promised_hours": each.promised / timedelta(hours=1) if each.promised else None,
            **{name: _rounded(value) for name, value in asdict(month).items()},
        }
        for label in latest
        for each in reports
        for month in each.months
        if month.month == label
    ]


def _rounded(value: Any) -> Any:
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value
