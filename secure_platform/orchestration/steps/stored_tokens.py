"""Stored tokens end: all of a book on its day, those of a person when they are erased.

A book that ended, or whose key was destroyed, is deleted by the next run and once a day. What is on legal
hold is not, and is told to nobody any more all the same; where it cannot be told what is, nothing is
deleted.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Final

import polars as pl

from secure_platform.contract.model import Contract
from secure_platform.contract.product import Product
from secure_platform.errors import ContractError, PlanRefusedError, UsageError
from secure_platform.keys.catalog import KeyState, name_of_domain
from secure_platform.keys.stored_tokens import Book
from secure_platform.orchestration.steps.protect import current_plan
from secure_platform.protect.person import Values, own_values, stored_of, vaults
from secure_platform.protect.plan import Plan
from secure_platform.services import Services
from secure_platform.store import parquet

ENDED: Final = "token.expire"
FORGOTTEN: Final = "token.forget"


def sweep(services: Services, *, actor: str) -> int:
    """Delete every book that ended; returns how many there were.

    Raises:
        IntegrityError: If the log or a key's state is not what was written.
    """
    today, destroyed = datetime.now(UTC).date(), _destroyed(services)
    ended = [
        book
        for book in services.keys.stored_tokens.books()
        if book.until < today or (name_of_domain(book.domain), book.version) in destroyed
    ]
    held = held_domains(services) if ended else set()
    gone = [book for book in ended if held is not None and book.domain not in held]
    for book in gone:
        with services.audit.effect(ENDED, actor=actor, subject=_named(book)):
            services.keys.stored_tokens.close(book)
    return len(gone)


def held_domains(services: Services) -> set[str] | None:
    """The domains whose tokens are on legal hold; None if all may be: a held product has no plan now."""
    held: set[str] = set()
    try:
        for name in {hold.product for hold in services.holds.all()}:
            held |= vaults(current_plan(services.product(name), services.keys)).keys()
    except (UsageError, ContractError, PlanRefusedError):
        return None
    return held


def forget(
    services: Services,
    product: Product,
    plans: Iterable[Plan],
    values: Values,
    rows: Callable[[Contract], Iterable[pl.LazyFrame]],
    *,
    actor: str,
    note: Callable[[str], None],
) -> None:
    """Delete the stored tokens of a person: of the keys of their rows, and of what nobody else's rows have.

    Args:
        services: The rooms.
        product: Whose rows tell.
        plans: The present one and those of all releases.
        values: Of keys.
        rows: The typed rows of a dataset, of every snapshot.
        actor: Who erases.
        note: Is told what is deleted, before it is.
    """
    destroyed = _destroyed(services)
    for domain, places in _domains(product, plans).items():
        with parquet.value_free("find a person's values"):
            texts = own_values(product, places, values, rows)
        for book, known in stored_of(domain, texts, services.keys, lambda *key: key not in destroyed):
            if not known:
                continue
            note(f"{product.name}/{_named(book.book)}: {len(known)} stored tokens")
            with services.audit.effect(FORGOTTEN, actor=actor, subject=_named(book.book)) as outcome:
                services.keys.stored_tokens.rewrite(book.book, partial(book.without, known.keys()))
                outcome["tokens"] = len(known)


def _domains(product: Product, plans: Iterable[Plan]) -> dict[str, set[tuple[str, str]]]:
    """As `vaults`, of those columns that the contracts still have."""
    there = {(name, each.name) for name, contract in product.contracts.items() for each in contract.columns}
    found: dict[str, set[tuple[str, str]]] = {}
    for plan in plans:
        for domain, places in vaults(plan).items():
            found.setdefault(domain, set()).update(places & there)
    return found


def _destroyed(services: Services) -> set[tuple[str, int]]:
    return {
        (each.name, each.version) for each in services.keys.versions() if each.state == KeyState.DESTROYED
    }


def _named(book: Book) -> str:
    return f"{name_of_domain(book.domain)}/{book.version} until {book.until}"
