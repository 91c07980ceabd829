"""Scans what a home contains like any other source: by the policy, audited, decrypted in this process.

A scan of a zone says what the checks of a run say, and asks for the same right; a scan of a release says what
its manifest says. A scan of production reads it, so it needs the right and the purpose of a query.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias, TypeVar

import polars as pl

from secure_platform.access.principals import Principal
from secure_platform.access.resources import Action
from secure_platform.contract.product import Product
from secure_platform.errors import UsageError
from secure_platform.gate.records import ReleaseRecord
from secure_platform.orchestration.steps.deploy import verified_package
from secure_platform.orchestration.steps.protect import product_resource
from secure_platform.release.verify import scan_table
from secure_platform.scan.sources.work import Source
from secure_platform.services import Services
from secure_platform.store.snapshot import Snapshot, Zone

Searched: TypeAlias = Literal["raw", "protected", "marts", "production"]
Table = TypeVar("Table")
PRODUCTION: Final = "production"
AUDITED: Final = "data.scan"


@dataclass(frozen=True)
class Held:
    """What of a home is scanned.

    Attributes:
        dataset: One dataset or table; None for all.
        zone: None if a release is meant.
        release: Its number.
        purpose: What production is read for.
    """

    product: str
    dataset: str | None
    zone: Searched | None
    release: int | None = None
    purpose: str | None = None


@contextmanager
def held_sources(services: Services, held: Held, caller: Principal) -> Iterator[Iterator[Source]]:
    """The tables that are meant, readable in the block.

    Raises:
        AccessDeniedError: If the policy does not let the caller.
        UsageError: If there is no such product, dataset or release.
        IntegrityError: If anything is not what was written.
    """
    product = services.product(held.product)
    _require(services, product, held, caller)
    subject = "/".join(str(part) for part in (held.product, held.zone or f"release {held.release}") if part)
    with services.audit.effect(AUDITED, actor=caller.name, subject=subject) as outcome:
        if held.zone is None or held.zone == PRODUCTION:
            with verified_package(services, _record(services, held)) as release:
                tables = {name: scan_table(release, name, services.keys) for name in release.contents.tables}
                chosen = _chosen(tables, held)
                yield (_source(f"{subject}/{name}", release.digest, frame) for name, frame in chosen.items())
        else:
            snapshots = _snapshots(services, product, Zone(held.zone))
            chosen_snapshots = _chosen(snapshots, held)
            yield (
                _source(f"{subject}/{name}", each.content_digest, services.store.scan(each))
                for name, each in chosen_snapshots.items()
            )
        outcome["done"] = True


def _require(services: Services, product: Product, held: Held, caller: Principal) -> None:
    action = Action.RELEASE_READ if held.zone is None else Action.RUN_READ
    asking = caller
    if held.zone == PRODUCTION:
        action = Action.PRODUCTION_QUERY
        asking = replace(caller, circumstances=replace(caller.circumstances, purpose=held.purpose))
    services.policy.require(asking, action, product_resource(services, product))


def _record(services: Services, held: Held) -> ReleaseRecord:
    if held.zone == PRODUCTION:
        base = services.target.base(held.product)
        if base is None:
            raise UsageError(f"Nothing of {held.product} is in production", "Deploy a release first.")
        return services.gate.get(base)
    return numbered(services, held.product, held.release)


def numbered(services: Services, product: str, number: int | None) -> ReleaseRecord:
    """A release of a product by its number.

    Raises:
        UsageError: If there is none.
    """
    for record in services.gate.list(product):
        if record.number == number:
            return record
    raise UsageError(f"{product} has no release {number}", f"See: secure-platform release list {product}.")


def _snapshots(services: Services, product: Product, zone: Zone) -> dict[str, Snapshot]:
    names = product.models if zone is Zone.MARTS else product.contracts
    heads = {name: services.store.head(product.name, name, zone) for name in names}
    return {name: snapshot for name, snapshot in heads.items() if snapshot is not None}


def _chosen(tables: dict[str, Table], held: Held) -> dict[str, Table]:
    if held.dataset is None and tables:
        return tables
    if held.dataset not in tables:
        known = ", ".join(sorted(tables)) or "nothing; run a build"
        raise UsageError(
            f"There is no {held.dataset or 'table'} in {held.product} there", f"There is: {known}."
        )
    return {held.dataset: tables[held.dataset]}


def _source(name: str, identity: str, frame: pl.LazyFrame) -> Source:
    return Source(name, identity, lambda inspection: inspection.frame(name, frame))
