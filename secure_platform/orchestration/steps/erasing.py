"""What is done in one product when somebody is erased: all is looked for, all is read, and then it goes.

Whatever `forget` reads, `survey` has read before, while nothing is changed yet: what is not as it was
written, or cannot be told any more, is refused there. What it found of a snapshot or a package is not looked
for again, for these never change.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

import polars as pl

from secure_platform.contract.product import Product
from secure_platform.gate.records import ReleaseRecord
from secure_platform.gate.states import OPEN
from secure_platform.keys.catalog import KeyState
from secure_platform.orchestration.steps import stored_tokens
from secure_platform.orchestration.steps.deploy import one_at_a_time, verified_package
from secure_platform.orchestration.steps.payload import ERASED, PERSON, is_being_erased, is_packed, payload_of
from secure_platform.orchestration.steps.plans import Plans
from secure_platform.orchestration.steps.raw_rows import RawRows
from secure_platform.orchestration.steps.searchable import (
    REWRITTEN,
    is_newest,
    require_searchable,
    unsearchable,
)
from secure_platform.orchestration.steps.tombstone import UNTOLD, WHOLE, Tombstone
from secure_platform.protect.person import Values, cells_of, require_books
from secure_platform.protect.persons import PERSONS
from secure_platform.protect.plan import Plan
from secure_platform.release.layout import PAYLOAD
from secure_platform.release.verify import scan_table
from secure_platform.services import Services
from secure_platform.source.csv import LINE
from secure_platform.store import parquet
from secure_platform.store.snapshot import Snapshot, Zone
from secure_platform.store.temporary import claimed_directory

LONG: Final = 16
"""Tokens are longer; shorter cells are looked for as whole cells only."""
_MALFORMED: Final = "record"


@dataclass(frozen=True)
class Work:
    """What is done in one product.

    Attributes:
        tombstone: Knows what stands for the person, and is told what becomes of it.
        save: Writes it down.
        plans: And contracts, of all products.
        require_unchanged: Refuses if a hold was set or lifted since all was read.
        seen: Whether they are in a snapshot or package, and whether one can be searched for them.
    """

    services: Services
    product: Product
    person: str
    actor: str
    tombstone: Tombstone
    save: Callable[[], None]
    plans: Plans
    require_unchanged: Callable[[], None]
    seen: dict[str, bool] = field(default_factory=dict)

    @property
    def raw(self) -> RawRows:
        """The product's raw rows."""
        return RawRows(self.services, self.product, self.plans)

    def look(self) -> Values:
        """The keys of the rows about the person; what stands for these is added to the tombstone."""
        services = self.services
        values = self.raw.about(self.tombstone.domain, self.person)
        destroyed = {
            (each.name, each.version) for each in services.keys.versions() if each.state == KeyState.DESTROYED
        }
        packed = [each for each in services.gate.list(self.product.name) if is_packed(services, each)]
        self.raw.require_told(self.raw.lost(values))
        plans = [self.plans.released(each) for each in packed]
        require_books(plans, values, services.keys.stored_tokens)
        require_searchable(services, self.product, self._unsearchable(values))
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

    def survey(self, known: Mapping[str, Values], held: set[str] | None) -> None:
        """Read all that `forget` reads, with the same arguments, and change nothing.

        Raises:
            UsageError: If whom something is about cannot be told.
            IntegrityError: If anything is not what was written.
            GateRefusedError: If a package is another one than is registered.
        """
        services, values = self.services, known[self.product.name]
        lost = {each.snapshot_id for each in self._unsearchable(values)}
        for zone in (Zone.MARTS, Zone.PROTECTED):
            for snapshot in services.store.stored(self.product.name, zone):
                if snapshot.snapshot_id not in lost and self._has(snapshot):
                    self._require_replaceable(snapshot)
        for record in services.gate.list(self.product.name):
            if is_packed(services, record) and self._package_has(record):
                services.target.base(self.product.name)
        for _ in self._tokens(known, held):
            pass
        for snapshot in services.store.stored(self.product.name, Zone.RAW):
            self.raw.lines(snapshot, values)
            self._require_replaceable(snapshot)

    def forget(self, known: Mapping[str, Values], held: set[str] | None) -> None:
        """Delete and rewrite whatever is about the person.

        Args:
            known: By product, as `look` found it.
            held: The domains whose stored tokens stay; None for all.
        """
        values = known[self.product.name]
        for snapshot in list(self._unsearchable(values)):
            self._forget_whole(snapshot)
        for zone in (Zone.MARTS, Zone.PROTECTED):
            for snapshot in list(self.services.store.stored(self.product.name, zone)):
                self._forget_cells(snapshot)
        with one_at_a_time(self.services, self.product.name):
            for record in self.services.gate.list(self.product.name):
                self._forget_release(record)
        for found in self._tokens(known, held):
            stored_tokens.forget(self.services, self.tombstone, found, actor=self.actor, note=self._note)
        self._forget_raw(values)

    def _unsearchable(self, values: Values) -> Iterator[Snapshot]:
        return unsearchable(self.services, self.product, self._plans(), values, self.seen)

    def _tokens(self, known: Mapping[str, Values], held: set[str] | None) -> Iterator[stored_tokens.Found]:
        own = self.raw.by_version(known[self.product.name])
        for rows in own:
            others = (each for each in chain(own, self._elsewhere(known)) if each is not rows)
            yield from stored_tokens.found(self.services, self.tombstone, rows, others, held)

    def _elsewhere(self, known: Mapping[str, Values]) -> Iterator[stored_tokens.Rows]:
        for name, each in self.services.products.items():
            if name != self.product.name:
                yield from RawRows(self.services, each, self.plans).by_version(known.get(name, {}))

    def _plans(self) -> list[Plan]:
        return self.plans.of(self.product)

    def _forget_whole(self, snapshot: Snapshot) -> None:
        """Delete a snapshot of which nobody can tell whose its rows are; a newest one stays and is named."""
        if is_newest(self.services, snapshot):
            self._note(self.tombstone.standing, f"{snapshot.title}{UNTOLD}")
        else:
            self._replace(snapshot, self.services.store.scan(snapshot), None, whole=True)

    def _forget_raw(self, values: Values) -> None:
        lost = self.raw.lost(values)
        for snapshot in lost:
            # Rows that another contract tells of go with the others, after what they tell of is gone.
            if is_newest(self.services, snapshot) or not self.raw.lines(snapshot, values).height:
                self._forget_whole(snapshot)
        stays = {each.snapshot_id for each in lost if is_newest(self.services, each)}
        for snapshot in self.raw.children_first():
            if snapshot.snapshot_id not in stays:
                self._forget_rows(snapshot, values)

    def _forget_rows(self, snapshot: Snapshot, values: Values) -> None:
        store = self.services.store
        lines = self.raw.lines(snapshot, values)
        if not lines.height:
            return
        quarantine = store.quarantine(snapshot)
        kept = store.scan(snapshot).join(lines.lazy(), on=LINE, how="anti", maintain_order="left")
        if quarantine is not None:
            # Nobody can say whose a line is that could not be read.
            aside = quarantine.filter(pl.col(_MALFORMED).is_null())
            quarantine = aside.join(lines.lazy(), on=LINE, how="anti", maintain_order="left")
        self._replace(snapshot, kept, quarantine)

    def _has(self, snapshot: Snapshot) -> bool:
        """Whether a snapshot has what stands for the person."""
        if snapshot.snapshot_id not in self.seen:
            store = self.services.store
            frames = (store.scan(snapshot), store.quarantine(snapshot))
            found = any(self._count(frame) for frame in frames if frame is not None)
            self.seen[snapshot.snapshot_id] = found
        return self.seen[snapshot.snapshot_id]

    def _require_replaceable(self, snapshot: Snapshot) -> None:
        """Read what `_replace` asks about it."""
        self.services.metrics.find(snapshot.snapshot_id)
        self.services.store.head(snapshot.product, snapshot.dataset, snapshot.zone)

    def _forget_cells(self, snapshot: Snapshot) -> None:
        if not self._has(snapshot):
            return
        store = self.services.store
        data, quarantine = store.scan(snapshot), store.quarantine(snapshot)
        if quarantine is not None:
            quarantine = quarantine.filter(~self._standing(quarantine))
        self._replace(snapshot, data.filter(~self._standing(data)), quarantine)

    def _replace(
        self,
        snapshot: Snapshot,
        rows: pl.LazyFrame,
        quarantine: pl.LazyFrame | None,
        *,
        whole: bool = False,
    ) -> None:
        """Put a snapshot without the person's rows in place of the newest, and delete the one with them."""
        store = self.services.store
        name = snapshot.title
        if self.services.metrics.find(snapshot.snapshot_id) is not None:
            self._note(self.tombstone.counted, name)
        newest = store.head(snapshot.product, snapshot.dataset, snapshot.zone)
        if newest is not None and newest.snapshot_id == snapshot.snapshot_id:
            newest = self._rewrite(snapshot, rows, quarantine)
        if newest is not None and snapshot.snapshot_id in newest.provenance.get(REWRITTEN, ()):
            self._note(self.tombstone.rewritten, f"{name} as {newest.snapshot_id}")
        else:
            self._note(self.tombstone.deleted, f"{name}{WHOLE}" if whole else name)
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

    def _package_has(self, record: ReleaseRecord) -> bool:
        """Whether a verified package has what stands for the person, or is to go anyway."""
        if record.digest not in self.seen and is_being_erased(self.services, record):
            self.seen[record.digest] = True
        if record.digest not in self.seen:
            with verified_package(self.services, record) as release:
                tables = (scan_table(release, name, self.services.keys) for name in release.contents.tables)
                self.seen[record.digest] = any(self._count(frame) for frame in tables)
        return self.seen[record.digest]

    def _forget_release(self, record: ReleaseRecord) -> None:
        services = self.services
        place = f"{record.product}/releases/{record.number}"
        if not is_packed(self.services, record) or not self._package_has(record):
            return
        if record.digest == services.target.base(record.product):
            self._note(self.tombstone.standing, f"{place}: in production")
        elif record.state in OPEN:
            self._note(self.tombstone.standing, f"{place}: {record.state}")
        else:
            self._note(self.tombstone.deleted, f"{place}/{PAYLOAD}")
            whose = {PERSON: self.tombstone.person}
            with (
                claimed_directory(services.temporary, "build") as scratch,
                services.audit.effect(ERASED, actor=self.actor, subject=record.digest, detail=whose),
            ):
                for file in payload_of(services, record).iterdir():
                    file.rename(scratch / file.name)
            for name in services.target.forget(record.product, record.digest, actor=self.actor):
                self._note(self.tombstone.deleted, f"{record.product}/warehouse/{name}")

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
        """Before it happens: who was killed has written down too much rather than too little.

        Raises:
            GateRefusedError: If a hold was set meanwhile.
        """
        self.require_unchanged()
        if name not in names:
            names.append(name)
            self.save()
