"""Stored tokens end: all of a book on its day, those of a person when they are erased.

A book that ended, or whose key was destroyed, is deleted by the next run and once a day. What is on legal
hold is not, in whatever product of the domain, and is told to nobody after its day all the same; where it
cannot be told what is, nothing is deleted.
"""

from collections.abc import Callable, Collection, Iterable
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
from secure_platform.orchestration.steps.protect import current_plan
from secure_platform.orchestration.steps.tombstone import Tombstone
from secure_platform.protect.person import Values, of_others, own_values, stood_for, stored_of, vaults
from secure_platform.protect.plan import Plan
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
    held = held_domains(services, services.holds.all()) if ended else set()
    gone = [book for book in ended if held is not None and book.domain not in held]
    for book in gone:
        with services.audit.effect(ENDED, actor=actor, subject=_named(book)):
            services.keys.stored_tokens.close(book)
    return len(gone)


def held_domains(services: Services, holds: Iterable[Hold]) -> set[str] | None:
    """The domains whose tokens some holds keep; None if that may be all: a plan is not there."""
    held: set[str] = set()
    try:
        for name in {hold.product for hold in holds}:
            for plan in plans_of(services, services.product(name)):
                held |= vaults(plan).keys()
    except (UsageError, ContractError, PlanRefusedError, GateRefusedError, IntegrityError):
        return None
    return held


def held_of(services: Services, products: Collection[str], person: Collection[str]) -> set[str] | None:
    """As `held_domains`, but for the holds of others in products whose rows tell which are theirs."""
    holds = services.holds.all()
    return held_domains(
        services, [each for each in holds if each.product not in products or each.person in {None, *person}]
    )


def plans_of(services: Services, product: Product) -> list[Plan]:
    """The present plan of a product, and those of all its releases."""
    released = [released_plan(services, record) for record in services.gate.list(product.name)]
    return [current_plan(product, services.keys), *released]


def released_plan(services: Services, record: ReleaseRecord) -> Plan:
    """The plan that a release was signed with."""
    return Plan.from_json(signed_package(services, record).contents.plan.document)


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
