"""Stored tokens end: all of a book on its day, those of a person when they are erased.

A book that ended, or whose key was destroyed, is deleted by the next run and once a day. What is on legal
hold is not, in whatever product of the domain, and is told to nobody after its day all the same; where it
cannot be told what is, nothing is deleted.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Final

import polars as pl

from secure_platform.access.holds import Hold
from secure_platform.contract.model import Contract
from secure_platform.contract.product import Product
from secure_platform.errors import (
    ContractError,
    GateRefusedError,
    IntegrityError,
    PlanRefusedError,
    UsageError,
)
from secure_platform.gate.records import ReleaseRecord
from secure_platform.keys.book_states import Book
from secure_platform.keys.catalog import KeyState, name_of_domain
from secure_platform.orchestration.steps.deploy import signed_package
from secure_platform.orchestration.steps.protect import current_plan, plan_digest
from secure_platform.orchestration.steps.tombstone import Tombstone
from secure_platform.protect.person import (
    Values,
    all_stored,
    naming_books,
    of_others,
    own_values,
    stood_for,
    stored_of,
    vaults,
)
from secure_platform.protect.plan import Plan
from secure_platform.protect.token_pages import OpenBook
from secure_platform.services import Services
from secure_platform.store import parquet
from secure_platform.store.snapshot import Snapshot, Zone

ENDED: Final = "token.expire"
FORGOTTEN: Final = "token.forget"
Naming = Mapping[str, Mapping[str, set[Book]]]
"""As `naming_books` tells it."""
REWRITTEN: Final = "rewritten"
"""In the provenance of a snapshot: the ones that it stands in place of."""


@dataclass(frozen=True)
class Rows:
    """The rows of one product.

    Attributes:
        plans: The present one and those of all releases.
        values: Keys of those that are about a person.
        typed: The typed rows of a dataset, of every snapshot.
    """

    product: Product
    plans: Iterable[Plan]
    values: Values
    typed: Callable[[Contract], Iterable[pl.LazyFrame]]

    def domains(self) -> dict[str, set[tuple[str, str]]]:
        """As `vaults`, of those columns that the contracts still have."""
        contracts = self.product.contracts.items()
        there = {(name, each.name) for name, contract in contracts for each in contract.columns}
        found: dict[str, set[tuple[str, str]]] = {}
        for plan in self.plans:
            for domain, places in vaults(plan).items():
                found.setdefault(domain, set()).update(places & there)
        return found


def sweep(services: Services, *, actor: str) -> int:
    """Delete every book that ended; returns how many there were.

    Raises:
        IntegrityError: If the log or a key's state is not what was written.
    """
    today, destroyed = datetime.now(UTC).date(), _destroyed(services)
    ended = [
        book
        for book in services.keys.stored_tokens.known()
        if book.until < today or (name_of_domain(book.domain), book.version) in destroyed
    ]
    held = held_domains(services, services.holds.all(), Plans(services)) if ended else set()
    gone = [book for book in ended if held is not None and book.domain not in held]
    for book in gone:
        with services.audit.effect(ENDED, actor=actor, subject=_named(book)):
            services.keys.stored_tokens.close(book)
    return len(gone)


class Plans:
    """The plans of products and their releases; each signed manifest is verified once.

    A plan is held by the digest that its release is registered with: what is found there is the same plan,
    whatever becomes of the files.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._signed: dict[str, Plan] = {}

    def of(self, product: Product) -> list[Plan]:
        """The present plan of a product, and those of all its releases."""
        released = [self.released(record) for record in self._services.gate.list(product.name)]
        return [current_plan(product, self._services.keys), *released]

    def released(self, record: ReleaseRecord) -> Plan:
        """The plan that a release was signed with.

        Raises:
            IntegrityError: If the manifest is not what was signed.
            GateRefusedError: If it is another package than the one that is registered.
        """
        known = self._signed.get(record.digest)
        if known is None:
            signed = signed_package(self._services, record)
            known = self._signed[record.digest] = Plan.from_json(signed.contents.plan.document)
        return known


def held_domains(services: Services, holds: Iterable[Hold], plans: Plans) -> set[str] | None:
    """The domains whose tokens some holds keep; None if that may be all: a plan is not there."""
    held: set[str] = set()
    try:
        for name in {hold.product for hold in holds}:
            for plan in plans.of(services.product(name)):
                held |= vaults(plan).keys()
    except (UsageError, ContractError, PlanRefusedError, GateRefusedError, IntegrityError):
        return None
    return held


def held_of(
    services: Services, products: Collection[str], person: Collection[str], plans: Plans
) -> set[str] | None:
    """As `held_domains`, but for the holds of others in products whose rows tell which are theirs."""
    holds = services.holds.all()
    others = [each for each in holds if each.product not in products or each.person in {None, *person}]
    return held_domains(services, others, plans)


def unsearchable(
    services: Services, product: Product, plans: Iterable[Plan], values: Values, known: dict[str, bool]
) -> Iterator[Snapshot]:
    """The snapshots outside raw in which nobody finds a person: their rows' stored tokens are deleted.

    What was made by none of the plans can be searched all the same, if there is not one row of it whose name
    is no stored token that is still there.

    Args:
        services: The rooms.
        product: Whose snapshots.
        plans: The present one and those of all releases.
        values: Of keys.
        known: Which of those snapshots can be searched, as far as it was looked at; is added to.
    """
    named = [(plan, naming_books(plan, values)) for plan in plans]
    concerned = {dataset for _, columns in named for dataset, found in columns.items() if found}
    if not concerned:
        return
    store = services.keys.stored_tokens
    books = {book for _, each in named for columns in each.values() for book in _books(columns)}
    kept = {book for domain in {book.domain for book in books} for book in store.books(domain)}
    searched = {
        (dataset, plan_digest(plan.datasets[dataset]))
        for plan, columns in named
        for dataset in concerned & columns.keys()
        if _books(columns[dataset]) <= kept
    }
    lost, found = list[Snapshot](), set[str]()
    for snapshot in services.store.stored(product.name, Zone.PROTECTED):
        if snapshot.dataset in concerned:
            place = f"named {snapshot.snapshot_id}"
            if (snapshot.dataset, snapshot.provenance["plan"]) not in searched and place not in known:
                known[place] = _is_named(services, snapshot, [columns for _, columns in named])
            if known.get(place, True):
                found |= {snapshot.snapshot_id, *snapshot.provenance.get(REWRITTEN, ())}
            else:
                lost.append(snapshot)
    for snapshot in services.store.stored(product.name, Zone.MARTS):
        made_of = (each for each in snapshot.provenance["inputs"] if each["dataset"] in concerned)
        if any(each["snapshot_id"] not in found for each in made_of):
            yield snapshot
    # After the marts, which are known by them.
    yield from lost


def require_searchable(services: Services, lost: Iterable[Snapshot]) -> None:
    """Refuse if the newest snapshot of a dataset is among those that are `unsearchable`.

    Raises:
        UsageError: Naming it.
    """
    for snapshot in lost:
        newest = services.store.head(snapshot.product, snapshot.dataset, snapshot.zone)
        if newest is not None and newest.snapshot_id == snapshot.snapshot_id:
            raise UsageError(
                f"Rows of the newest {snapshot.dataset} in {snapshot.zone} are named by stored tokens that "
                "ended and are deleted: what it has of a person cannot be found",
                f"Run the whole build first: secure-platform run {snapshot.product}.",
            )


@dataclass(frozen=True)
class Found:
    """Stored tokens of a person in one book.

    Attributes:
        product: In whose rows their values are.
        book: Where they are.
        known: Keyed hash → token.
        held: Whether they stay.
    """

    product: str
    book: OpenBook
    known: Mapping[bytes, str]
    held: bool


def found(
    services: Services, tombstone: Tombstone, own: Rows, others: Iterable[Rows], held: set[str] | None
) -> Iterator[Found]:
    """The stored tokens of a person: of the keys of their rows, and of what nobody else's rows have.

    Args:
        services: The rooms.
        tombstone: Knows the tokens that were held before.
        own: The rows that tell.
        others: Those of all other products.
        held: As `held_domains`.

    Raises:
        IntegrityError: If a book, or a row, is not what was written.
    """
    if not (domains := own.domains()):
        return
    destroyed, elsewhere = _destroyed(services), [(each, each.domains()) for each in others]
    for domain, places in domains.items():
        rows, is_left = (own.product, places, own.values, own.typed), lambda *key: key not in destroyed
        with parquet.value_free("find a person's values"):
            known_before = stood_for(domain, tombstone.tokens, services.keys, is_left)
            texts = own_values(*rows) | known_before - of_others(*rows, known_before)
            for each, there in elsewhere:
                texts -= of_others(each.product, there.get(domain, ()), each.values, each.typed, texts)
        for book, known in stored_of(domain, texts, services.keys, is_left):
            if known:
                yield Found(own.product.name, book, known, held is None or domain in held)


def forget(
    services: Services,
    tombstone: Tombstone,
    each: Found,
    *,
    actor: str,
    note: Callable[[list[str], str], None],
) -> None:
    """Delete what was found, unless it is held.

    Args:
        services: The rooms.
        tombstone: Is told what is deleted or held, before it is.
        each: What was found.
        actor: Who erases.
        note: Adds a name to a list of the tombstone.
    """
    name = f"{each.product}/{_named(each.book.book)}: {len(each.known)} stored tokens"
    if each.held:
        # The rows that tell these values may be gone when the hold is lifted.
        tombstone.tokens |= set(each.known.values())
        note(tombstone.held, name)
        return
    note(tombstone.deleted, name)
    with services.audit.effect(FORGOTTEN, actor=actor, subject=_named(each.book.book)) as outcome:
        without = partial(each.book.without, each.known.keys())
        services.keys.stored_tokens.rewrite(each.book.book, without)
        outcome["tokens"] = len(each.known)


def _is_named(services: Services, snapshot: Snapshot, named: Iterable[Naming]) -> bool:
    """Whether every row of a snapshot is named by stored tokens that are still there, or by nothing."""
    domains: dict[str, set[str]] = {}
    for columns in named:
        for name, books in columns.get(snapshot.dataset, {}).items():
            domains.setdefault(name, set()).update(book.domain for book in books)
    destroyed, store = _destroyed(services), services.store
    frames = [frame for frame in (store.scan(snapshot), store.quarantine(snapshot)) if frame is not None]
    for name, among in domains.items():
        if len(among) != 1 or any(frame.collect_schema().get(name) != pl.String for frame in frames):
            return False
        with parquet.value_free("look at what names rows"):
            cells = {cell for frame in frames for cell in _distinct(frame, name)}
        (domain,) = among
        if not all_stored(domain, cells, services.keys, lambda *key: key not in destroyed):
            return False
    return True


def _distinct(frame: pl.LazyFrame, name: str) -> pl.Series:
    return frame.select(pl.col(name).drop_nulls().unique()).collect(engine="streaming").to_series()


def _books(columns: Mapping[str, set[Book]]) -> set[Book]:
    return set().union(*columns.values())


def _destroyed(services: Services) -> set[tuple[str, int]]:
    return {
        (each.name, each.version) for each in services.keys.versions() if each.state == KeyState.DESTROYED
    }


def _named(book: Book) -> str:
    return f"{name_of_domain(book.domain)}/{book.version} until {book.until}"
