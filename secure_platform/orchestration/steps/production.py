"""After every deployment, production is compared with its release and with its own past.

The numbers of a table are those of the mart that it was packed from, taken when that was written; the
comparison shows that readers get exactly these rows. A failure opens an incident that stops the next
deployment. If there is an earlier release, production is rolled back to it, past the policy, as
`service:monitor`.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from secure_platform import canonical
from secure_platform.contract.product import Product
from secure_platform.errors import DataRefusedError, IntegrityError, SecurePlatformError
from secure_platform.gate.records import ReleaseRecord
from secure_platform.monitor.history import Record
from secure_platform.orchestration.steps.context import CheckOutcome
from secure_platform.orchestration.steps.deploy import (
    Deployed,
    deploy,
    matches_release,
    rollback,
    signed_package,
)
from secure_platform.orchestration.steps.observe import PRODUCTION, keep, product_terms, said_of
from secure_platform.orchestration.steps.protect import current_plan
from secure_platform.orchestration.steps.reports import sighting
from secure_platform.release.manifest import Table
from secure_platform.services import Services
from secure_platform.store.snapshot import Zone

MATCHES: Final = "matches_release"
FRESHNESS: Final = "freshness"
ZONE: Final = "production"
_OWN: Final = frozenset({"seconds", "lateness_hours", "bytes"})
"""What is another number in production than in the mart."""


def recorded_places(product: Product) -> Iterator[tuple[str, str]]:
    """The zones and datasets that the metrics history knows of a product, from production to the source."""
    for zone in (ZONE, str(Zone.MARTS)):
        yield from ((zone, table) for table in product.models)
    for zone in (str(Zone.PROTECTED), str(Zone.RAW)):
        yield from ((zone, dataset) for dataset in product.contracts)


@dataclass(frozen=True)
class Live:
    """What is in production, and the checks on each of its tables."""

    deployed: Deployed
    checks: Mapping[str, tuple[CheckOutcome, ...]]


def go_live(services: Services, product: Product) -> Live:
    """Deploy, and check what readers get.

    Raises:
        IntegrityError: If that is not what was approved; it was rolled back, if possible.
        DataRefusedError: If another check stops what comes after; the same happened then.
        PlanRefusedError: If the product's plan is: nothing is deployed of what could not be built.
    """
    current_plan(product, services.keys)
    began = time.monotonic()
    deployed = deploy(services, product)
    live = _look(services, product, deployed, time.monotonic() - began)
    wrong = {
        f"{check.name} of {table}": check.name
        for table, checks in live.checks.items()
        for check in checks
        if _stops(check)
    }
    error = IntegrityError if MATCHES in wrong.values() else DataRefusedError
    if _report(services, live) and wrong:
        raise error(*_take_back(services, deployed.record, ", ".join(wrong)))
    if error is IntegrityError:
        raise error(*_told(deployed.record, ", ".join(wrong), "it is still in production"))
    return live


def _look(services: Services, product: Product, deployed: Deployed, seconds: float) -> Live:
    tables = signed_package(services, deployed.record).contents.tables
    try:
        compared = CheckOutcome(MATCHES, passed=True, detail=matches_release(services, deployed.production))
    except IntegrityError as error:
        differs = CheckOutcome(MATCHES, passed=False, detail={"problem": error.culprit})
        return Live(deployed, dict.fromkeys(tables, (differs,)))
    said = {
        name: _said(services, product, _record(services, product, deployed, name, table, seconds))
        for name, table in tables.items()
    }
    return Live(deployed, {name: (compared, *checks) for name, checks in said.items()})


def _stops(check: CheckOutcome) -> bool:
    """Whether a check failed that stops what follows; not freshness, which no rollback improves."""
    return not check.passed and check.severity == "ERROR" and check.name != FRESHNESS


def _report(services: Services, live: Live) -> bool:
    """Report the checks as incidents; returns whether something blocks that did not before."""
    release = live.deployed.record
    sightings = [
        sighting((ZONE, table, production_record(release.digest, table)), check, blocking=_stops(check))
        for table, checks in live.checks.items()
        for check in checks
        # Whether what was deployed before is late by now is looked for elsewhere.
        if not (live.deployed.reused and check.name == FRESHNESS)
    ]
    changed = services.incidents.report(release.product, sightings, release=release.digest)
    return any(incident.blocking and incident.state == "open" for incident in changed)


def _take_back(services: Services, release: ReleaseRecord, why: str) -> tuple[str, str]:
    """Roll back to the release before; returns what happened, and what to do."""
    try:
        before = rollback(services, release, services.monitor(), reason=f"Failed after the deployment: {why}")
    except SecurePlatformError as error:
        return _told(release, why, f"it is still in production: {error.culprit}")
    return _told(release, why, f"{before.record.title} is back in production")


def _told(release: ReleaseRecord, why: str, now: str) -> tuple[str, str]:
    fix = f"Look at the incident and settle it: secure-platform incident list {release.product}."
    return f"{release.title} failed after its deployment ({why}); {now}", fix


def _said(services: Services, product: Product, record: Record) -> tuple[CheckOutcome, ...]:
    terms = product_terms(product)
    keep(services, record, terms)
    return said_of(services.metrics, record.snapshot_id, terms, PRODUCTION)


def production_record(release: str, table: str) -> str:
    """The id of a released table in the metrics history, where it is recorded when it first goes live."""
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
