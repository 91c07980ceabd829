"""Who asks to be erased is erased from everything that is kept, as far as no legal hold is on it.

First the person's key goes, and with it every cell under it, wherever it lies. Then what carries their
tokens: marts and protected snapshots, packages and databases that are not in production; then what is stored
of their values, and last the raw rows, which tell what the tokens are, children before parents. Older
snapshots are deleted, the newest is rewritten without the rows. What is in production, or waits for approval,
stays and is named: a new release takes its place, and the same call said again finishes. So it does after it
died: nothing is lost by doing any of it twice.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import polars as pl

from secure_platform import canonical
from secure_platform.access.principals import Principal
from secure_platform.access.resources import Action
from secure_platform.contract.model import Contract
from secure_platform.contract.product import Product
from secure_platform.control.locks import WORK_SECONDS, file_lock
from secure_platform.errors import IntegrityError, UsageError
from secure_platform.gate.records import ReleaseRecord
from secure_platform.gate.states import OPEN
from secure_platform.keys.catalog import KeyState
from secure_platform.orchestration.steps import stored_tokens
from secure_platform.orchestration.steps.deploy import one_at_a_time, verified_package
from secure_platform.orchestration.steps.protect import product_resource
from secure_platform.orchestration.steps.stored_tokens import REWRITTEN
from secure_platform.orchestration.steps.tombstone import Tombstone, Tombstones
from secure_platform.protect.person import (
    Values,
    about,
    cells_of,
    follow,
    is_about,
    require_books,
    subject_roots,
)
from secure_platform.protect.persons import PERSONS
from secure_platform.protect.plan import Plan
from secure_platform.release.layout import PAYLOAD, release_directory
from secure_platform.release.verify import scan_table
from secure_platform.services import Services
from secure_platform.source.csv import LINE
from secure_platform.store import parquet
from secure_platform.store.snapshot import Snapshot, Zone
from secure_platform.store.temporary import claimed_directory
from secure_platform.validate.rules import cast_typed

AUDITED: Final = "subject.erase"
LONG: Final = 16
"""Tokens are longer; shorter cells are looked for as whole cells only."""
_MALFORMED: Final = "record"


def erase(
    services: Services, product: str, person: str, caller: Principal, *, domain: str | None = None
) -> Tombstone:
    """Erase a person from a product, and from all others that know them by the same domain.

    Args:
        services: The rooms.
        product: Name of one of the products.
        person: Their identifier, as it is in the data.
        caller: Who erases.
        domain: The token domain of the persons; None where the product has only one.

    Raises:
        AccessDeniedError: If the policy does not let the caller, in any of the products.
        UsageError: If the product names no persons, or something that stands for one could not be found.
        IntegrityError: If anything that is kept is not what was written.
    """
    known, products = concerned(services, product, domain)
    for each in products:
        services.policy.require(caller, Action.SUBJECT_ERASE, product_resource(services, each))
    identities = identities_of(services, known, person)
    tombstones = Tombstones(services.settings.home, services.keys)
    lock = tombstones.folder / ".lock"
    detail = {"person": identities[0], "products": [each.name for each in products]}
    with (
        file_lock(lock, holder="an erasure", timeout_seconds=WORK_SECONDS),
        services.audit.effect(AUDITED, actor=caller.name, subject=known, detail=detail) as outcome,
    ):
        names = [each.name for each in products]
        tombstone = tombstones.find(identities) or Tombstone(identities[0], known, names)
        tombstone.products = names
        save = partial(tombstones.save, tombstone)
        _carry_out(services, products, person, caller, tombstone, save, identities)
        outcome |= {
            "complete": tombstone.complete,
            "tombstone": canonical.sha256(canonical.dumps(tombstone.to_json())),
            **{
                name: len(getattr(tombstone, name))
                for name in ("shredded", "deleted", REWRITTEN, "held", "standing")
            },
        }
    return tombstone


def concerned(services: Services, product: str, domain: str | None) -> tuple[str, list[Product]]:
    """The domain of the persons of a product, and every product that knows them by it.

    Raises:
        UsageError: If there is no such product, or not exactly one domain is meant.
    """
    roots = subject_roots(services.product(product))
    named = {domain} & roots.keys() if domain is not None else set(roots)
    if len(named) != 1:
        raise UsageError(
            f"{product} names persons in {', '.join(sorted(roots)) or 'no domain'}",
            "Mark the column that names them with `subjectId: true`, or name one domain: --domain.",
        )
    (known,) = named
    return known, [each for each in services.products.values() if known in subject_roots(each)]


def identities_of(services: Services, domain: str, person: str) -> list[str]:
    """Every keyed hash that may stand for a person in the audit log, the present one first."""
    return services.keys.identifiers(f"person {domain} {person}")


def still_there(services: Services, product: str, dataset: str, zone: Zone, snapshot_id: str) -> Snapshot:
    """A snapshot that something was made of, or what stands in its place since somebody was erased from it.

    Raises:
        IntegrityError: If neither is there.
    """
    try:
        return services.store.load(product, dataset, zone, snapshot_id)
    except IntegrityError:
        for each in services.store.stored(product, zone):
            if each.dataset == dataset and snapshot_id in each.provenance.get(REWRITTEN, ()):
                return each
        raise


def _carry_out(
    services: Services,
    products: Sequence[Product],
    person: str,
    caller: Principal,
    tombstone: Tombstone,
    save: Callable[[], None],
    identities: Sequence[str],
) -> None:
    held = {each.name: services.holds.on(each.name, identities) for each in products}
    tombstone.held = [f"{hold.product}: {hold.matter}" for each in held.values() for hold in each]
    tombstone.standing, tombstone.ended_at = [], None
    free = [each for each in products if not held[each.name]]
    plans = stored_tokens.Plans(services)
    works = [_Work(services, each, person, caller.name, tombstone, save, plans) for each in free]
    known = {work.product.name: work.look() for work in works}
    kept = stored_tokens.held_of(services, [each.name for each in products], identities, plans)
    save()
    if len(free) == len(products):
        services.keys.destroy_subject_key(tombstone.domain, person, actor=caller.name)
        tombstone.shredded = sorted(
            {*tombstone.shredded, *(name for work in works for name in work.shredded())}
        )
        save()
    for work in works:
        work.forget(known, kept)
    if not tombstone.held and not tombstone.standing:
        tombstone.ended_at = datetime.now(UTC).isoformat(timespec="seconds")
        tombstone.cells, tombstone.tokens = set(), set()
    save()


@dataclass(frozen=True)
class _Work:
    """What is done in one product."""

    services: Services
    product: Product
    person: str
    actor: str
    tombstone: Tombstone
    save: Callable[[], None]
    plans: stored_tokens.Plans

    def look(self) -> Values:
        """The keys of the rows about the person; what stands for these is added to the tombstone."""
        services = self.services
        values: Values = {
            place: {self.person} for place in subject_roots(self.product)[self.tombstone.domain]
        }
        follow(self.product, values, self._typed)
        destroyed = {
            (each.name, each.version) for each in services.keys.versions() if each.state == KeyState.DESTROYED
        }
        packed = [
            each for each in services.gate.list(self.product.name) if any(self._payload(each).iterdir())
        ]
        plans = [self.plans.released(each) for each in packed]
        require_books(plans, values, services.keys.stored_tokens)
        stored_tokens.require_searchable(services, self._unsearchable(values))
        left = cells_of(self._plans(), values, services.keys, lambda *key: key not in destroyed)
        self.tombstone.cells |= left
        return values

    def shredded(self) -> Iterator[str]:
        """The columns that were under the person's key."""
        for plan in self._plans():
            for dataset, each in plan.datasets.items():
                for column in each.outputs:
                    if any(part.params.get(PERSONS) == self.tombstone.domain for part in column.every()):
                        yield f"{self.product.name}/{dataset}.{column.column}"

    def forget(self, known: Mapping[str, Values], held: set[str] | None) -> None:
        """Delete and rewrite whatever is about the person.

        Args:
            known: By product, as `look` found it.
            held: The domains whose stored tokens stay; None for all.
        """
        values = known[self.product.name]
        for snapshot in list(self._unsearchable(values)):
            self._note(self.tombstone.deleted, _named(snapshot))
            self.services.store.delete(snapshot, actor=self.actor)
        for zone in (Zone.MARTS, Zone.PROTECTED):
            for snapshot in list(self.services.store.stored(self.product.name, zone)):
                self._forget_cells(snapshot)
        with one_at_a_time(self.services, self.product.name):
            for record in self.services.gate.list(self.product.name):
                self._forget_release(record)
        own, others = (
            self._rows(known),
            (
                replace(self, product=each)._rows(known)  # noqa: SLF001 - its own kind
                for name, each in self.services.products.items()
                if name != self.product.name
            ),
        )
        stored_tokens.forget(
            self.services, self.tombstone, own, others, held, actor=self.actor, note=self._note
        )
        for contract in reversed(list(self.product.contracts.values())):
            if named := about(contract, values):
                for snapshot in list(self._raw(contract)):
                    self._forget_rows(contract, named, snapshot)

    def _unsearchable(self, values: Values) -> Iterator[Snapshot]:
        return stored_tokens.unsearchable(self.services, self.product, self._plans(), values)

    def _plans(self) -> list[Plan]:
        return self.plans.of(self.product)

    def _rows(self, known: Mapping[str, Values]) -> stored_tokens.Rows:
        values = known.get(self.product.name, {})
        return stored_tokens.Rows(self.product, self._plans(), values, self._typed)

    def _raw(self, contract: Contract) -> Iterator[Snapshot]:
        stored = self.services.store.stored(self.product.name, Zone.RAW)
        return (snapshot for snapshot in stored if snapshot.dataset == contract.dataset)

    def _typed(self, contract: Contract) -> Iterator[pl.LazyFrame]:
        newest = self.services.store.head(self.product.name, contract.dataset, Zone.RAW)
        if newest is not None and not _fits(newest, contract):
            raise UsageError(
                f"The newest raw snapshot of {contract.dataset} was pulled under another contract",
                f"Run the whole build first: secure-platform run {self.product.name}.",
            )
        return (self._read(contract, each) for each in self._raw(contract) if _fits(each, contract))

    def _read(self, contract: Contract, snapshot: Snapshot) -> pl.LazyFrame:
        return cast_typed(contract, self.services.store.scan(snapshot))

    def _forget_rows(self, contract: Contract, named: dict[str, set[str]], snapshot: Snapshot) -> None:
        store = self.services.store
        if not _fits(snapshot, contract):
            # Whom its rows are about cannot be told, and it is not the newest.
            self._replace(snapshot, store.scan(snapshot), None)
            return
        with parquet.value_free("find a person's rows"):
            rows = self._read(contract, snapshot).filter(is_about(contract, named)).select(LINE)
            lines = rows.collect(engine="streaming")
        if not lines.height:
            return
        quarantine = store.quarantine(snapshot)
        kept = store.scan(snapshot).join(lines.lazy(), on=LINE, how="anti", maintain_order="left")
        if quarantine is not None:
            # Nobody can say whose a line is that could not be read.
            aside = quarantine.filter(pl.col(_MALFORMED).is_null())
            quarantine = aside.join(lines.lazy(), on=LINE, how="anti", maintain_order="left")
        self._replace(snapshot, kept, quarantine)

    def _forget_cells(self, snapshot: Snapshot) -> None:
        store = self.services.store
        data, quarantine = store.scan(snapshot), store.quarantine(snapshot)
        if not any(self._count(frame) for frame in (data, quarantine) if frame is not None):
            return
        if quarantine is not None:
            quarantine = quarantine.filter(~self._standing(quarantine))
        self._replace(snapshot, data.filter(~self._standing(data)), quarantine)

    def _replace(self, snapshot: Snapshot, rows: pl.LazyFrame, quarantine: pl.LazyFrame | None) -> None:
        """Put a snapshot without the person's rows in place of the newest, and delete the one with them."""
        store = self.services.store
        name = _named(snapshot)
        if self.services.metrics.find(snapshot.snapshot_id) is not None:
            self._note(self.tombstone.counted, name)
        newest = store.head(snapshot.product, snapshot.dataset, snapshot.zone)
        if newest is not None and newest.snapshot_id == snapshot.snapshot_id:
            newest = self._rewrite(snapshot, rows, quarantine)
        if newest is not None and snapshot.snapshot_id in newest.provenance.get(REWRITTEN, ()):
            self._note(self.tombstone.rewritten, f"{name} as {newest.snapshot_id}")
        else:
            self._note(self.tombstone.deleted, name)
        store.delete(snapshot, actor=self.actor)

    def _rewrite(self, snapshot: Snapshot, rows: pl.LazyFrame, quarantine: pl.LazyFrame | None) -> Snapshot:
        place = (snapshot.product, snapshot.dataset, snapshot.zone)
        with self.services.store.draft(*place, actor=self.actor) as draft:
            draft.write(rows)
            if quarantine is not None:
                draft.write_quarantine(quarantine.collect(engine="streaming"))
            for stage, verdict in snapshot.verdicts.items():
                draft.verdict(stage, passed=verdict.passed, **verdict.detail)
            former = [*snapshot.provenance.get(REWRITTEN, ()), snapshot.snapshot_id]
            return draft.commit(
                input_key=snapshot.input_key,
                contract_version=snapshot.contract_version,
                contract_digest=snapshot.contract_digest,
                provenance={**snapshot.provenance, REWRITTEN: former},
            )

    def _forget_release(self, record: ReleaseRecord) -> None:
        services = self.services
        payload = self._payload(record)
        place = f"{record.product}/releases/{record.number}"
        if not any(payload.iterdir()):
            return
        with verified_package(services, record) as release:
            tables = (scan_table(release, name, services.keys) for name in release.contents.tables)
            if not any(self._count(frame) for frame in tables):
                return
        if record.digest == services.target.base(record.product):
            self._note(self.tombstone.standing, f"{place}: in production")
        elif record.state in OPEN:
            self._note(self.tombstone.standing, f"{place}: {record.state}")
        else:
            self._note(self.tombstone.deleted, f"{place}/{PAYLOAD}")
            with (
                claimed_directory(services.temporary, "build") as scratch,
                services.audit.effect("release.erase", actor=self.actor, subject=record.digest),
            ):
                for file in payload.iterdir():
                    file.rename(scratch / file.name)
            for name in services.target.forget(record.product, record.digest, actor=self.actor):
                self._note(self.tombstone.deleted, f"{record.product}/warehouse/{name}")

    def _payload(self, record: ReleaseRecord) -> Path:
        return release_directory(self.services.releases, record.product, record.number) / PAYLOAD

    def _count(self, frame: pl.LazyFrame) -> int:
        with parquet.value_free("look for a person's tokens"):
            found = frame.select(self._standing(frame).sum()).collect(engine="streaming")
        return int(found.item())

    def _standing(self, frame: pl.LazyFrame) -> pl.Expr:
        """Whether a row has what stands for the person."""
        texts = [name for name, dtype in frame.collect_schema().items() if dtype == pl.String]
        cells = sorted(self.tombstone.cells)
        long = pl.lit([cell for cell in cells if len(cell) >= LONG], dtype=pl.List(pl.String))
        # A token may be inside JSON.
        found = [
            (pl.col(name).is_in(cells) | pl.col(name).str.contains_any(long)).fill_null(value=False)
            for name in texts
        ]
        return pl.any_horizontal(found) if found else pl.lit(value=False)

    def _note(self, names: list[str], name: str) -> None:
        """Before it happens: who was killed has written down too much rather than too little."""
        if name not in names:
            names.append(name)
            self.save()


def _named(snapshot: Snapshot) -> str:
    return f"{snapshot.product}/{snapshot.zone}/{snapshot.dataset}/{snapshot.snapshot_id}"


def _fits(snapshot: Snapshot, contract: Contract) -> bool:
    """Whether a raw snapshot has all columns of the contract."""
    return {column.name for column in contract.columns} <= snapshot.columns.keys()
