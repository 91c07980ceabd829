"""The rows of a dataset that are there because of their own person, whoever else is in the data.

A row is left out if the row that it references is missing. If that one may belong to another person, one
person could change what others contribute to a number. For numbers with noise, a row therefore counts only if
every row it depends on belongs to the same person and counts itself. Taking a person out of all datasets then
takes out their own rows and nobody else's (docs/adr/0035-rows-of-the-same-person.md). If the contracts do not
prove that it is the same person, the plan is refused.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from secure_platform.contract.model import Column, Contract
from secure_platform.contract.product import Product
from secure_platform.errors import DataRefusedError
from secure_platform.protect.decide import Decider, Place
from secure_platform.protect.plan import DatasetPlan
from secure_platform.protect.profile import load_profile
from secure_platform.protect.strength import strengths
from secure_platform.validate.dependencies import RULE as DEPENDENCY

_OWN: Final = "__own"


@dataclass(frozen=True)
class Follows:
    """A foreign key whose row stays behind with the row that it references.

    Attributes:
        column: Of the dataset.
        parent: The dataset that it references.
        matched: Columns of the dataset, and those of the parent that equal them where both rows are of one
            person.
    """

    column: str
    parent: str
    matched: Mapping[str, str]


@dataclass(frozen=True)
class Made:
    """A protected dataset, and those that it was made with.

    Attributes:
        dataset: Its name.
        rows: As they were released.
        parents: By name, every other dataset that it references, as it was then.
    """

    dataset: str
    rows: pl.LazyFrame
    parents: Mapping[str, "Made"]


def subject_in(contract: Contract) -> Column | None:
    """The column that says whom a row is about; None if the contract names none."""
    return next((column for column in contract.columns if column.subject_id), None)


def keeps_persons(plan: DatasetPlan, column: str) -> bool:
    """Whether a column is, after protection, the same in all rows of a person, and of nobody else."""
    found = next((each for each in plan.outputs if each.column == column), None)
    return found is not None and all(strengths().named(each.full_name).keeps_keys for each in found.every())


def reaching(product: Product, dataset: str) -> Iterator[str]:
    """The dataset, and all datasets whose missing rows could make rows of it stay behind."""
    yield dataset
    for parent in product.contracts[dataset].parents:
        yield from reaching(product, parent)


def follows(
    product: Product, plans: Mapping[str, DatasetPlan], dataset: str
) -> Iterator[tuple[str, Follows | None]]:
    """The foreign keys of a dataset whose row stays behind if the row they reference is missing.

    Where invalid rows are refused, and no row stays behind, none goes: the build stops.

    Yields:
        Each such column, and how to find its row of the same person; None where that is not to be known.
    """
    contract = product.contracts[dataset]
    for planned in plans[dataset].outputs:
        key = planned.reference
        if key is None:
            continue
        stays_behind = any(plans[each].suppression for each in reaching(product, key.dataset))
        if contract.on_invalid == "quarantine" or stays_behind:
            yield planned.column, _same_person(product, plans, contract, contract.column(planned.column))


def own_rows(made: Made, product: Product, plans: Mapping[str, DatasetPlan]) -> pl.LazyFrame:
    """The rows that count.

    Args:
        made: The dataset, with the very ones that it was made with.
        product: Its contracts.
        plans: Of its datasets; every column that `follows` yields can be followed.
    """
    rows = made.rows
    for column, found in follows(product, plans, made.dataset):
        if found is None:
            return rows.clear()
        theirs = own_rows(made.parents[found.parent], product, plans).select(
            pl.col(theirs).alias(own) for own, theirs in found.matched.items()
        )
        marked = theirs.unique().with_columns(pl.lit(value=True).alias(_OWN))
        there = rows.join(marked, on=list(found.matched), how="left")
        rows = there.filter(pl.col(column).is_null() | pl.col(_OWN).is_not_null()).drop(_OWN)
    return rows


def require_own_keys(
    contract: Contract, person: str, aside: pl.LazyFrame, keys: Iterable[Sequence[str]]
) -> None:
    """Refuse data in which rows of several persons were set aside because they share a key.

    Who is taken out would bring the others' rows back.

    Args:
        contract: Of the dataset.
        person: The column that says whom a row is about.
        aside: The rows that validation set aside, typed.
        keys: The columns of each key.

    Raises:
        DataRefusedError: Naming the dataset and the key.
    """
    for columns in keys:
        shared = (
            aside.filter(pl.all_horizontal(pl.col(*columns).is_not_null()))
            .group_by(*columns)
            .agg(pl.col(person).n_unique().alias(_OWN))
            .filter(pl.col(_OWN) > 1)
        )
        if shared.head(1).collect(engine="streaming").height:
            raise DataRefusedError(
                f"Rows of several persons in {contract.dataset} have one {'+'.join(columns)}, and were set "
                "aside for it: numbers with noise would reveal more about each of them than they state",
                "Correct the key at the source.",
            )


def require_undisputed(contract: Contract, aside: pl.LazyFrame) -> None:
    """Refuse data in which rows were set aside because of what most rows say of them (`dependencies`).

    Whoever is taken out may turn a majority: then the others' rows come back, or go.

    Args:
        contract: Of the dataset.
        aside: The `rule` of each row that validation set aside.

    Raises:
        DataRefusedError: Naming the dataset.
    """
    disputed = aside.filter(pl.col("rule").str.contains(f":{DEPENDENCY}", literal=True))
    if disputed.head(1).collect(engine="streaming").height:
        raise DataRefusedError(
            f"Rows of {contract.dataset} contradict what other rows say (`dependencies`), and were set aside "
            "for it: numbers with noise would reveal more about a person than they state",
            "Correct them at the source, or leave out the dependency.",
        )


def _same_person(
    product: Product, plans: Mapping[str, DatasetPlan], contract: Contract, column: Column
) -> Follows | None:
    key, own = column.reference, subject_in(contract)
    if key is None or own is None or key.dataset == contract.dataset:
        return None
    parent = product.contracts[key.dataset]
    theirs = subject_in(parent)
    if theirs is None:
        # The key is the person's, if it is the subject that points at it.
        return Follows(column.name, key.dataset, {column.name: key.column}) if column is own else None
    # Else it points at another person, or at a row of the subject's that is about somebody else.
    pairs = (column is own) is (key.column == theirs.name)
    root = Decider(product, load_profile(product.profile)).root
    same = str(root(Place(contract, own))) == str(root(Place(parent, theirs)))
    if not (pairs and same and keeps_persons(plans[key.dataset], theirs.name)):
        return None
    return Follows(column.name, key.dataset, {column.name: key.column, own.name: theirs.name})
