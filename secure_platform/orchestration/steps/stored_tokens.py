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

from secure_platform.access.holds import Hold
from secure_platform.contract.product import Product
from secure_platform.keys.book_states import Book
from secure_platform.keys.catalog import KeyState, name_of_domain
from secure_platform.orchestration.steps.plans import UNTOLD_BY, Plans
from secure_platform.orchestration.steps.tombstone import Tombstone
from secure_platform.protect.person import (
    Parted,
    Values,
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

ENDED: Final = "token.expire"
FORGOTTEN: Final = "token.forget"


@dataclass(frozen=True)
class Rows:
    """The rows of one product.

    Attributes:
        plans: The present one and those of all releases.
        values: Keys of those that are about a person.
        parted: The typed rows of a dataset, and which are about the person.
    """

    product: Product
    plans: Iterable[Plan]
    values: Values
    parted: Parted

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
        GateRefusedError: If a hold is set meanwhile.
    """
    today, destroyed = datetime.now(UTC).date(), destroyed_keys(services)
    ended = [
        book
        for book in services.keys.stored_tokens.known()
        if book.until < today or (name_of_domain(book.domain), book.version) in destroyed
    ]
    if not ended:
        return 0
    with services.holds.erasing():
        holds = services.holds.all()
        held = held_domains(services, holds, Plans(services))
        gone = [book for book in ended if held is not None and book.domain not in held]
        for book in gone:
            services.holds.require_unchanged(holds)
            with services.audit.effect(ENDED, actor=actor, subject=_named(book)):
                services.keys.stored_tokens.close(book)
    return len(gone)


def held_domains(services: Services, holds: Iterable[Hold], plans: Plans) -> set[str] | None:
    """The domains whose tokens some holds keep; None if that may be all: a plan is not there."""
    held: set[str] = set()
    try:
        for name in {hold.product for hold in holds}:
            for plan in plans.of(services.product(name)):
                held |= vaults(plan).keys()
    except UNTOLD_BY:
        return None
    return held


def held_of(
    services: Services, products: Collection[str], person: Collection[str], plans: Plans
) -> set[str] | None:
    """As `held_domains`, but for the holds of others in products whose rows tell which are theirs."""
    holds = services.holds.all()
    others = [each for each in holds if each.product not in products or each.person in {None, *person}]
    return held_domains(services, others, plans)


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
        others: Those by other versions of the contracts, and of all other products.
        held: As `held_domains`.

    Raises:
        IntegrityError: If a book, or a row, is not what was written.
    """
    if not (domains := own.domains()):
        return
    destroyed, elsewhere = destroyed_keys(services), [(each, each.domains()) for each in others]

    def is_left(*key: object) -> bool:
        return key not in destroyed

    for domain, places in domains.items():
        with parquet.value_free("find a person's values"):
            known_before = stood_for(domain, tombstone.tokens, services.keys, is_left)
            texts = own_values(own.product, places, own.values, own.parted)
            texts |= known_before - of_others(own.product, places, own.parted, known_before)
            for each, there in elsewhere:
                texts -= of_others(each.product, there.get(domain, ()), each.parted, texts)
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


def destroyed_keys(services: Services) -> set[tuple[str, int]]:
    """Name and version of every key that was destroyed."""
    return {
        (each.name, each.version) for each in services.keys.versions() if each.state == KeyState.DESTROYED
    }


def _named(book: Book) -> str:
    return f"{name_of_domain(book.domain)}/{book.version} until {book.until}"
