"""Stored tokens end: all of a book on its day, those of a person when they are erased.

A book that ended, or whose key was destroyed, is deleted by the next run and once a day. What is on legal
hold is not, in whatever product of the domain, and is told to nobody after its day all the same; where it
cannot be told what is, nothing is deleted.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
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
    naming_books,
    of_others,
    own_values,
    stood_for,
    stored_of,
    vaults,
)
from secure_platform.protect.plan import Plan
from secure_platform.services import Services
from secure_platform.store import parquet
from secure_platform.store.snapshot import Snapshot, Zone

ENDED: Final = "token.expire"
FORGOTTEN: Final = "token.forget"
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
    services: Services, product: Product, plans: Iterable[Plan], values: Values
) -> Iterator[Snapshot]:
    """The snapshots outside raw in which nobody finds a person: their rows' stored tokens are deleted.

    Args:
        services: The rooms.
        product: Whose snapshots.
        plans: The present one and those of all releases; what was made by another cannot be searched.
        values: Of keys.
    """
    named = [(plan, naming_books(plan, values)) for plan in plans]
    concerned = {dataset for _, books in named for dataset, found in books.items() if found}
    if not concerned:
        return
    store = services.keys.stored_tokens
    domains = {book.domain for _, books in named for found in books.values() for book in found}
    kept = {book for domain in domains for book in store.books(domain)}
    searched = {
        (dataset, plan_digest(plan.datasets[dataset]))
        for plan, books in named
        for dataset in concerned & books.keys()
        if books[dataset] <= kept
    }
    lost, found = list[Snapshot](), set[str]()
    for snapshot in services.store.stored(product.name, Zone.PROTECTED):
        if snapshot.dataset in concerned:
            if (snapshot.dataset, snapshot.provenance["plan"]) in searched:
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


def forget(
    services: Services,
    tombstone: Tombstone,
    own: Rows,
    others: Iterable[Rows],
    held: set[str] | None,
    *,
    actor: str,
    note: Callable[[list[str], str], None],
) -> None:
    """Delete the stored tokens of a person: of the keys of their rows, and of what nobody else's rows have.

    Args:
        services: The rooms.
        tombstone: Is told what is deleted or held, before it is; knows the tokens that were held before.
        own: The rows that tell.
        others: Those of all other products.
        held: As `held_domains`.
        actor: Who erases.
        note: Adds a name to a list of the tombstone.
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
            name = f"{own.product.name}/{_named(book.book)}: {len(known)} stored tokens"
            if known and (held is None or domain in held):
                # The rows that tell these values may be gone when the hold is lifted.
                tombstone.tokens |= set(known.values())
                note(tombstone.held, name)
            elif known:
                note(tombstone.deleted, name)
                with services.audit.effect(FORGOTTEN, actor=actor, subject=_named(book.book)) as outcome:
                    services.keys.stored_tokens.rewrite(book.book, partial(book.without, known.keys()))
                    outcome["tokens"] = len(known)


def _destroyed(services: Services) -> set[tuple[str, int]]:
    return {
        (each.name, each.version) for each in services.keys.versions() if each.state == KeyState.DESTROYED
    }


def _named(book: Book) -> str:
    return f"{name_of_domain(book.domain)}/{book.version} until {book.until}"
