"""Whose the raw rows of a product are is told by its contracts of today and by those of its releases.

A snapshot is read by each of them whose columns it has. Where the one that it was pulled under is not among
them, its other columns may tell, too: it is searched for whatever names the person in any cell.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

import polars as pl
from polars import selectors as cs

from secure_platform.contract.model import Contract
from secure_platform.contract.product import Product
from secure_platform.errors import UsageError
from secure_platform.orchestration.steps.plans import Plans
from secure_platform.orchestration.steps.searchable import is_built, is_newest
from secure_platform.orchestration.steps.stored_tokens import Rows
from secure_platform.protect.person import Values, about, follow, is_about, subject_roots
from secure_platform.services import Services
from secure_platform.source.csv import LINE
from secure_platform.store import parquet
from secure_platform.store.snapshot import Snapshot, Zone
from secure_platform.validate.rules import cast_typed

_NONE: Final = pl.DataFrame(schema={LINE: pl.UInt64})


@dataclass(frozen=True)
class RawRows:
    """The raw rows of one product.

    Attributes:
        plans: And contracts, of all products.
    """

    services: Services
    product: Product
    plans: Plans

    def about(self, domain: str, person: str) -> Values:
        """The identifier wherever it is a key of the domain, and the keys of all rows about the person.

        Raises:
            UsageError: If the newest snapshot of a dataset can be read by no contract that is known.
            IntegrityError: If a snapshot or a release is not what was written.
        """
        self.require_readable()
        versions = self.plans.versions(self.product)
        values: Values = {
            place: {person} for version in versions for place in subject_roots(version).get(domain, ())
        }
        while True:
            before = sum(map(len, values.values()))
            for version in versions:
                follow(version, values, self.typed)
            # A row may be known by one version only through a row that another one tells of.
            if len(versions) == 1 or sum(map(len, values.values())) == before:
                return values

    def by_version(self, values: Values) -> list[Rows]:
        """The rows as each version of the contracts has them.

        Args:
            values: Keys of those that are about a person.

        Raises:
            UsageError: As `about`.
        """
        self.require_readable()
        plans = self.plans.of(self.product)
        parted = partial(self._parted, values)
        return [Rows(each, plans, values, parted) for each in self.plans.versions(self.product)]

    def typed(self, contract: Contract) -> Iterator[pl.LazyFrame]:
        """The typed rows of a dataset, of every snapshot that has the columns."""
        return (self._read(contract, each) for each in self._fitting(contract))

    def require_readable(self) -> None:
        """Refuse if the newest snapshot of a dataset has not the columns of any known contract.

        Raises:
            UsageError: Naming the dataset.
        """
        for dataset in self.product.contracts:
            newest = self.services.store.head(self.product.name, dataset, Zone.RAW)
            if newest is not None and not self._contracts(newest):
                raise self._other_contract(dataset)

    def require_told(self, lost: Iterable[Snapshot]) -> None:
        """Refuse if a build would make anew what is the newest among those that are `lost`.

        Raises:
            UsageError: Naming the dataset.
        """
        for snapshot in lost:
            if is_newest(self.services, snapshot) and is_built(self.product, snapshot):
                raise self._other_contract(snapshot.dataset)

    def lost(self, values: Values) -> list[Snapshot]:
        """The snapshots that may have rows about the person which nobody can tell from others.

        The contracts that they were pulled under are gone. If one of them has a key of the person in any
        cell, all may: a row may refer to theirs. Those that have none come first.

        Args:
            values: Keys of the rows about the person.
        """
        texts = {text for each in values.values() for text in each}
        stored = self.services.store.stored(self.product.name, Zone.RAW)
        found = {False: list[Snapshot](), True: list[Snapshot]()}
        for snapshot in stored:
            if not self.is_known(snapshot):
                found[has(self.services, snapshot, texts)].append(snapshot)
        return [*found[False], *found[True]] if found[True] else []

    def lines(self, snapshot: Snapshot, values: Values) -> pl.DataFrame:
        """Which rows of a snapshot are about the person, by any contract that it can be read by."""
        found = [_NONE]
        for contract in self._contracts(snapshot):
            if named := about(contract, values):
                mine = self._read(contract, snapshot).filter(is_about(contract, named)).select(LINE)
                with parquet.value_free("find a person's rows"):
                    found.append(mine.collect(engine="streaming"))
        return pl.concat(found).unique()

    def is_known(self, snapshot: Snapshot) -> bool:
        """Whether the contract that a snapshot was pulled under is known."""
        return snapshot.contract_digest in {each.digest for each in self._contracts(snapshot)}

    def children_first(self) -> list[Snapshot]:
        """Every snapshot, in an order in which datasets come before those that they refer to."""
        stored = list(self.services.store.stored(self.product.name, Zone.RAW))
        parents: dict[str, set[str]] = {}
        for version in self.plans.versions(self.product):
            for name, contract in version.contracts.items():
                parents.setdefault(name, set()).update(contract.parents)
        place = {name: rank for rank, name in enumerate(_parents_first(parents))}
        return sorted(stored, key=lambda each: place.get(each.dataset, 0), reverse=True)

    def _other_contract(self, dataset: str) -> UsageError:
        return UsageError(
            f"The newest raw snapshot of {dataset} was pulled under another contract",
            f"Run the whole build first: secure-platform run {self.product.name}.",
        )

    def _contracts(self, snapshot: Snapshot) -> list[Contract]:
        """Those that a snapshot can be read by."""
        named = (version.contracts.get(snapshot.dataset) for version in self.plans.versions(self.product))
        found = {contract.digest: contract for contract in named if contract and _fits(snapshot, contract)}
        return list(found.values())

    def _parted(self, values: Values, contract: Contract) -> Iterator[tuple[pl.LazyFrame, pl.Expr]]:
        for snapshot in self._fitting(contract):
            mine = is_about(contract, about(contract, values))
            if len(self._contracts(snapshot)) > 1:
                mine = pl.col(LINE).is_in(self.lines(snapshot, values)[LINE].implode())
            yield self._read(contract, snapshot), mine

    def _fitting(self, contract: Contract) -> Iterator[Snapshot]:
        for each in self.services.store.stored(self.product.name, Zone.RAW):
            if each.dataset == contract.dataset and _fits(each, contract):
                yield each

    def _read(self, contract: Contract, snapshot: Snapshot) -> pl.LazyFrame:
        return cast_typed(contract, self.services.store.scan(snapshot))


def untold(services: Services, plans: Plans, products: Collection[str], person: str) -> Iterator[Snapshot]:
    """The raw snapshots of other products whose contracts are gone, and which have this identifier somewhere.

    Such a product may have known the person, too: it left the project, or changed without a release.

    Args:
        services: The rooms.
        plans: And contracts, of all products.
        products: Which are not looked at, for all of theirs is.
        person: The identifier.
    """
    for name in services.store.products():
        if name not in products:
            product = services.products.get(name)
            raw = None if product is None else RawRows(services, product, plans)
            for snapshot in services.store.stored(name, Zone.RAW):
                if (raw is None or not raw.is_known(snapshot)) and has(services, snapshot, {person}):
                    yield snapshot


def has(services: Services, snapshot: Snapshot, texts: Collection[str]) -> bool:
    """Whether a raw snapshot has one of some texts in any cell."""
    cells = services.store.scan(snapshot).select(cs.string()).select(pl.all().is_in(sorted(texts)).any())
    with parquet.value_free("look for an identifier"):
        return any(any(row) for row in cells.collect(engine="streaming").rows())


def _parents_first(parents: dict[str, set[str]]) -> list[str]:
    """In a circle, which two versions together may have, somebody comes first all the same."""
    found = list[str]()
    waiting, seen = [(name, False) for name in sorted(parents)], set[str]()
    while waiting:
        name, done = waiting.pop()
        if done:
            found.append(name)
        elif name not in seen:
            seen.add(name)
            waiting += [(name, True), *((each, False) for each in sorted(parents.get(name, ())))]
    return found


def _fits(snapshot: Snapshot, contract: Contract) -> bool:
    """Whether a raw snapshot has all columns of the contract."""
    return {column.name for column in contract.columns} <= snapshot.columns.keys()
