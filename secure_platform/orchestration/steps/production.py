"""What is in production is looked at after every deployment: compared with its release and with its own past.

The numbers of a table are those of the mart that it was packed from, which were taken when that was written:
that readers get exactly these rows is what the comparison shows.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from secure_platform import canonical
from secure_platform.contract.product import Product
from secure_platform.monitor.history import Record
from secure_platform.orchestration.steps.context import CheckOutcome
from secure_platform.orchestration.steps.deploy import Deployed, deploy, matches_release, signed_package
from secure_platform.orchestration.steps.observe import PRODUCTION, keep, product_terms, said_of
from secure_platform.release.manifest import Table
from secure_platform.services import Services

MATCHES: Final = "matches_release"
ZONE: Final = "production"
_OWN: Final = frozenset({"seconds", "lateness_hours", "bytes"})
"""What is another number in production than in the mart."""


@dataclass(frozen=True)
class Live:
    """What is in production, and the checks on each of its tables."""

    deployed: Deployed
    checks: Mapping[str, tuple[CheckOutcome, ...]]


def go_live(services: Services, product: Product) -> Live:
    """Deploy, and look at what readers get.

    Raises:
        IntegrityError: If that is not what was approved; and what `deploy` raises.
    """
    began = time.monotonic()
    deployed = deploy(services, product)
    seconds = time.monotonic() - began
    compared = CheckOutcome(MATCHES, passed=True, detail=matches_release(services, deployed.production))
    tables = signed_package(services, deployed.record).contents.tables
    said = {
        name: _said(services, product, deployed, _record(services, product, deployed, name, table, seconds))
        for name, table in tables.items()
    }
    return Live(deployed, {name: (compared, *checks) for name, checks in said.items()})


def _said(
    services: Services, product: Product, deployed: Deployed, record: Record
) -> tuple[CheckOutcome, ...]:
    terms = product_terms(product)
    keep(services.metrics, record, terms)
    return said_of(services.metrics, record.snapshot_id, terms, PRODUCTION, again=deployed.reused)


def production_record(release: str, table: str) -> str:
    """What the metrics history calls a table of a release: it is recorded when it first goes live."""
    return canonical.sha256(canonical.dumps([release, table])).removeprefix("sha256:")[:32]


def _record(
    services: Services, product: Product, deployed: Deployed, name: str, table: Table, seconds: float
) -> Record:
    mart = services.metrics.find(table.source.snapshot_id)
    numbers = {metric: value for metric, value in mart.numbers.items() if metric not in _OWN} if mart else {}
    own = {"rows": float(table.rows), "bytes": float(table.bytes), "seconds": seconds}
    return Record(
        product=product.name,
        dataset=name,
        zone=ZONE,
        snapshot_id=production_record(deployed.record.digest, name),
        numbers={**numbers, **own},
        sketches=mart.sketches if mart else {},
        columns={column.name: column.type for column in table.columns},
    )
