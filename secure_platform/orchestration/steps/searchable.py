"""In which snapshots a person can be found, and in which nobody can tell any more whose the rows are.

What was made by a plan that is neither of today nor of a release tells nothing of its rows: nobody knows
which key made their tokens.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import polars as pl

from secure_platform.contract.product import Product
from secure_platform.errors import UsageError
from secure_platform.keys.book_states import Book
from secure_platform.orchestration.steps.protect import plan_digest
from secure_platform.orchestration.steps.stored_tokens import destroyed_keys
from secure_platform.protect.person import Values, all_stored, naming_books
from secure_platform.protect.plan import Plan
from secure_platform.services import Services
from secure_platform.store import parquet
from secure_platform.store.snapshot import Snapshot, Zone

Naming = Mapping[str, Mapping[str, set[Book]]]
"""As `naming_books` tells it."""
REWRITTEN: Final = "rewritten"
"""In the provenance of a snapshot: the ones that it stands in place of."""


def unsearchable(
    services: Services, product: Product, plans: Iterable[Plan], values: Values, known: dict[str, bool]
) -> Iterator[Snapshot]:
    """The snapshots outside raw in which nobody finds a person.

    They were made by none of the plans, or their rows' stored tokens are deleted. What was made by none can
    be searched all the same, if there is not one row of it whose name is no stored token that is still there.

    Args:
        services: The rooms.
        product: Whose snapshots.
        plans: The present one and those of all releases.
        values: Of keys.
        known: Which of those snapshots can be searched, as far as it was looked at; is added to.
    """
    named = [(plan, naming_books(plan, values)) for plan in plans]
    concerned = {dataset for _, columns in named for dataset, found in columns.items() if found}
    searched = set(_searched(services, named))
    lost, found, gone = list[Snapshot](), set[str](), set[str]()
    for snapshot in services.store.stored(product.name, Zone.PROTECTED):
        place = f"named {snapshot.snapshot_id}"
        if place not in known:
            known[place] = (snapshot.dataset, snapshot.provenance.get("plan")) in searched or (
                snapshot.dataset in concerned
                and _is_named(services, snapshot, [columns for _, columns in named])
            )
        stands_for = {snapshot.snapshot_id, *snapshot.provenance.get(REWRITTEN, ())}
        if known[place]:
            found |= stands_for
        else:
            gone |= stands_for
            lost.append(snapshot)
    for snapshot in services.store.stored(product.name, Zone.MARTS):
        inputs = {each["snapshot_id"]: each["dataset"] in concerned for each in snapshot.provenance["inputs"]}
        if any(each in gone or (named and each not in found) for each, named in inputs.items()):
            yield snapshot
    # After the marts, which are known by them.
    yield from lost


def require_searchable(services: Services, product: Product, lost: Iterable[Snapshot]) -> None:
    """Refuse if a build would make anew what is the newest among those that are `unsearchable`.

    Raises:
        UsageError: Naming it.
    """
    for snapshot in lost:
        if is_newest(services, snapshot) and is_built(product, snapshot):
            raise UsageError(
                f"Rows of the newest {snapshot.dataset} in {snapshot.zone} are named by stored tokens that "
                "ended and are deleted, or by a plan that is gone: what it has of a person cannot be found",
                f"Run the whole build first: secure-platform run {snapshot.product}.",
            )


def is_newest(services: Services, snapshot: Snapshot) -> bool:
    """Whether a snapshot is the newest of its dataset and zone."""
    newest = services.store.head(snapshot.product, snapshot.dataset, snapshot.zone)
    return newest is not None and newest.snapshot_id == snapshot.snapshot_id


def is_built(product: Product, snapshot: Snapshot) -> bool:
    """Whether a build of the product as it is makes such a snapshot."""
    return snapshot.dataset in (product.models if snapshot.zone is Zone.MARTS else product.contracts)


def _searched(
    services: Services, named: Iterable[tuple[Plan, Mapping[str, Mapping[str, set[Book]]]]]
) -> Iterator[tuple[str, str]]:
    """Dataset and digest of what plans make that can be searched."""
    store = services.keys.stored_tokens
    for plan, columns in named:
        for dataset, each in plan.datasets.items():
            if all(book in store.books(book.domain) for book in _books(columns[dataset])):
                yield dataset, plan_digest(each)


def _is_named(services: Services, snapshot: Snapshot, named: Iterable[Naming]) -> bool:
    """Whether every row of a snapshot is named by stored tokens that are still there, or by nothing."""
    domains: dict[str, set[str]] = {}
    for columns in named:
        for name, books in columns.get(snapshot.dataset, {}).items():
            domains.setdefault(name, set()).update(book.domain for book in books)
    destroyed, store = destroyed_keys(services), services.store
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
