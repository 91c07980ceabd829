"""What identifies a person: their identifier, the keys of the rows about them, and the tokens of these.

A row is about a person if its subject id names them, or if it references a row that is. Outside the raw zone,
such rows are recognised by their tokens: a value has the same token in every column of its domain, in
whatever table SQL has put it.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import date
from typing import Final

import polars as pl

from secure_platform.contract.model import DTYPES, Column, Contract
from secure_platform.contract.product import Product
from secure_platform.errors import UsageError
from secure_platform.keys.book_states import Book
from secure_platform.keys.catalog import name_of_domain
from secure_platform.keys.material import TokenKey
from secure_platform.keys.stored_tokens import TokenStore
from secure_platform.protect.decide import Decider, Place
from secure_platform.protect.execute import PlanKeys, apply
from secure_platform.protect.keyed import canonical_text
from secure_platform.protect.persons import PERSONS
from secure_platform.protect.plan import ColumnPlan, DatasetPlan, Plan
from secure_platform.protect.profile import load_profile
from secure_platform.protect.resolve import domain_of
from secure_platform.protect.token_pages import OpenBook
from secure_platform.protect.vault import FORM, UNTIL, VAULT, kept_values, known_tokens, unknown_tokens
from secure_platform.validate.casts import typed

FOUND_BY: Final = frozenset({"tokenize", "hash", "encrypt.deterministic", VAULT})
_NOTHING_LEFT: Final = frozenset({"drop", "redact"})
Values = dict[tuple[str, str], set[str]]
"""Dataset and column of a key → values of it, as canonical text."""
Parted = Callable[[Contract], Iterable[tuple[pl.LazyFrame, pl.Expr]]]
"""A contract → the typed rows of every snapshot that has its columns, and which are about the person."""


def subject_roots(product: Product) -> dict[str, set[tuple[str, str]]]:
    """Domain of persons → the columns that name its persons and refer to no other."""
    decider = Decider(product, load_profile(product.profile))
    found: dict[str, set[tuple[str, str]]] = {}
    for contract in product.contracts.values():
        for column in contract.columns:
            if column.subject_id:
                root = decider.root(Place(contract, column))
                place = (root.contract.dataset, root.column.name)
                found.setdefault(domain_of(product, root), set()).add(place)
    return found


def identifier_of(roots: Iterable[Column], given: str) -> str:
    """A person's identifier, in the one spelling by which it is compared.

    Args:
        roots: The columns that name persons of one domain and refer to no other.
        given: As it is in the data of one of them.

    Raises:
        UsageError: If it is a value of none, or one value in one and another one in another.
    """
    read = {text for column in roots if (text := _as_text(column, given)) is not None}
    if len(read) != 1:
        raise UsageError(
            "The identifier is spelled as none that the contracts let in, or stands for several",
            "Give it as it is in the source, letter for letter, and as a value of the type of its column.",
        )
    return read.pop()


def subject_columns(product: Product, contract: Contract) -> dict[str, str]:
    """The columns of a dataset that name a person, foreign keys included, and the domain of each."""
    decider = Decider(product, load_profile(product.profile))
    domains = {place: domain for domain, places in subject_roots(product).items() for place in places}
    found = {}
    for column in contract.columns:
        root = decider.root(Place(contract, column))
        if domain := domains.get((root.contract.dataset, root.column.name)):
            found[column.name] = domain
    return found


def about(contract: Contract, values: Values) -> dict[str, set[str]]:
    """The columns of a dataset by which its rows may be about the person, and the values that say so."""
    found = {}
    for column in contract.columns:
        place = (contract.dataset, column.name)
        if column.reference is not None:
            place = (column.reference.dataset, column.reference.column)
        if values.get(place):
            found[column.name] = values[place]
    return found


def follow(product: Product, values: Values, rows: Callable[[Contract], Iterable[pl.LazyFrame]]) -> None:
    """Add the keys of all rows that are about the person, parents before children.

    Args:
        product: Its contracts.
        values: What is known; the identifier itself, at first.
        rows: The typed rows of a dataset, of every snapshot.
    """
    referenced = {
        (column.reference.dataset, column.reference.column)
        for contract in product.contracts.values()
        for column in contract.columns
        if column.reference
    }
    for contract in product.contracts.values():
        keys = [column for column in contract.columns if (contract.dataset, column.name) in referenced]
        named = about(contract, values)
        if not keys or not named:
            continue
        for frame in rows(contract):
            own = frame.filter(is_about(contract, named)).select(_text(column) for column in keys).collect()
            for column in keys:
                found = own[column.name].drop_nulls().to_list()
                values.setdefault((contract.dataset, column.name), set()).update(found)


def is_about(contract: Contract, named: Mapping[str, set[str]]) -> pl.Expr:
    """Whether a typed row is about the person."""
    if not named:
        return pl.lit(value=False)
    return pl.any_horizontal(
        _text(contract.column(name)).is_in(sorted(texts)).fill_null(value=False)
        for name, texts in named.items()
    )


def cells_of(
    plans: Iterable[Plan], values: Values, keys: PlanKeys, is_left: Callable[[str, int], bool]
) -> set[str]:
    """All tokens and cells of these values outside the raw zone, under any key version that is left.

    Args:
        plans: The present one and those of all releases.
        values: Of keys.
        keys: Opens the keys of the plans.
        is_left: Whether a version of a key was not destroyed.

    Raises:
        UsageError: If something stands for one of them by which it cannot be found.
        IntegrityError: If a key is disabled.
    """
    found: set[str] = set()
    for column, texts in _columns(plans, values):
        if column.full_name in _NOTHING_LEFT:
            continue
        if column.full_name not in FOUND_BY or PERSONS in column.params:
            raise UsageError(
                f"{column.column} names rows and is {column.full_name}: what is left of it cannot be found",
                "Tokenize it, and build and deploy the product, before anybody can be erased from it.",
            )
        domain, newest = column.token_domain or "", column.token_version or 1
        if column.full_name == VAULT:
            for _, known in stored_of(domain, texts, keys, is_left):
                found |= set(known.values())
            continue
        for version in range(1, newest + 1):
            if is_left(name_of_domain(domain), version):
                found |= _cells(replace(column, token_version=version), texts, keys)
    return found


def require_books(plans: Iterable[Plan], values: Values, store: TokenStore) -> None:
    """Refuse if rows have stored tokens by which they cannot be found any more.

    Args:
        plans: Those of releases whose packages are there.
        values: Of keys.
        store: Where tokens are.

    Raises:
        UsageError: If the tokens of one of these keys ended, and were deleted.
    """
    for column, _ in _columns(plans, values):
        for part in column.every():
            if part.full_name == VAULT and (book := _book_of(part)) not in store.books(book.domain):
                raise UsageError(
                    f"{column.column} names rows of a release by stored tokens that ended on"
                    f" {part.params[UNTIL]} and are deleted: what it has of a person cannot be found",
                    "Put another release into production, delete the files in the payload of that one, and"
                    " say it again. Tokenize a key that names people.",
                )


def naming_books(plan: Plan, values: Values) -> dict[str, dict[str, set[Book]]]:
    """Dataset → those of its columns that name rows by stored tokens, or refer to such → the books of these.

    Args:
        plan: Of a product.
        values: Of keys.
    """
    found: dict[str, dict[str, set[Book]]] = {dataset: {} for dataset in plan.datasets}
    for dataset, each in plan.datasets.items():
        for column in each.columns:
            key = column.reference
            place = (key.dataset, key.column) if key else (dataset, column.column)
            books = {_book_of(part) for part in column.every() if part.full_name == VAULT}
            if books and values.get(place):
                found[dataset][column.column] = books
    return found


def all_stored(
    domain: str, cells: Collection[str], keys: PlanKeys, is_left: Callable[[str, int], bool]
) -> bool:
    """Whether each of some cells is a stored token that is still there."""
    return not unknown_tokens(domain, cells, keys.stored_tokens, _opener(domain, keys, is_left))


def stored_of(
    domain: str, texts: Collection[str], keys: PlanKeys, is_left: Callable[[str, int], bool]
) -> Iterator[tuple[OpenBook, Mapping[bytes, str]]]:
    """The tokens that were drawn for some values, as `known_tokens`; of no key that was destroyed."""
    return known_tokens(domain, texts, keys.stored_tokens, _opener(domain, keys, is_left))


def stood_for(
    domain: str, cells: Collection[str], keys: PlanKeys, is_left: Callable[[str, int], bool]
) -> set[str]:
    """The reverse of `stored_of`."""
    return kept_values(domain, cells, keys.stored_tokens, _opener(domain, keys, is_left)) if cells else set()


def vaults(plan: Plan) -> dict[str, set[tuple[str, str]]]:
    """Domain of stored tokens → the datasets and columns whose values have them."""
    found: dict[str, set[tuple[str, str]]] = {}
    for dataset, each in plan.datasets.items():
        for column in each.columns:
            for part in column.every():
                if part.full_name == VAULT:
                    found.setdefault(part.token_domain or "", set()).add((dataset, column.column))
    return found


def own_values(
    product: Product,
    places: Iterable[tuple[str, str]],
    values: Values,
    rows: Parted,
) -> set[str]:
    """The values that stand in some columns of the rows about the person, and in nobody else's.

    Args:
        product: Its contracts.
        places: Datasets and columns whose tokens are of one domain.
        values: Of keys, as `follow` left them.
        rows: The typed rows of a dataset, of every snapshot, and which are about the person.
    """
    own = set(values_at(values, places))
    for frame, text, mine in _parted(product, places, rows):
        own |= set(frame.filter(mine).select(text).drop_nulls().unique().collect().to_series())
    return own - of_others(product, places, rows, own) | set(values_at(values, places))


def of_others(
    product: Product, places: Iterable[tuple[str, str]], rows: Parted, asked: Collection[str]
) -> set[str]:
    """Which of some values stand in rows that are not about the person; else as `own_values`."""
    found: set[str] = set()
    for frame, text, mine in _parted(product, places, rows):
        shared = frame.filter(~mine).select(text).filter(pl.all().is_in(sorted(asked))).unique().collect()
        found |= set(shared.to_series())
    return found


def values_at(values: Values, places: Iterable[tuple[str, str]]) -> Iterator[str]:
    """The keys of rows about the person that stand in some columns."""
    for place in places:
        yield from values.get(place, ())


def _book_of(column: ColumnPlan) -> Book:
    domain, until = column.token_domain or "", date.fromisoformat(str(column.params[UNTIL]))
    return Book(domain, column.token_version or 1, until, str(column.params[FORM]))


def _opener(
    domain: str, keys: PlanKeys, is_left: Callable[[str, int], bool]
) -> Callable[[int], TokenKey | None]:
    def key(version: int) -> TokenKey | None:
        return keys.token_key(domain, version) if is_left(name_of_domain(domain), version) else None

    return key


def _parted(
    product: Product, places: Iterable[tuple[str, str]], rows: Parted
) -> Iterator[tuple[pl.LazyFrame, pl.Expr, pl.Expr]]:
    """Rows, the text of one of the columns, and whether a row is about the person."""
    for dataset, name in sorted(places):
        contract = product.contracts[dataset]
        text = _text(contract.column(name))
        yield from ((frame, text, mine) for frame, mine in rows(contract))


def _columns(plans: Iterable[Plan], values: Values) -> Iterator[tuple[ColumnPlan, set[str]]]:
    for plan in plans:
        for dataset, each in plan.datasets.items():
            for column in each.columns:
                if texts := values.get((dataset, column.column)):
                    yield column, texts


def _cells(column: ColumnPlan, texts: set[str], keys: PlanKeys) -> set[str]:
    kind = next(kind for kind, dtype in DTYPES.items() if str(dtype) == column.input_type)
    named = Column(column.column, kind, "", column.input_classification)
    # What is no value of this type is in no such column: another product, or contract, has another one.
    values = pl.LazyFrame({column.column: sorted(texts)}).select(typed(named)).drop_nulls()
    made = apply(DatasetPlan("", (column,)), values, keys)
    return set(made.collect()[column.column].to_list())


def _as_text(column: Column, given: str) -> str | None:
    frame = pl.DataFrame({column.name: [given]}).select(canonical_text(typed(column), column.dtype))
    text: str | None = frame.item()
    return text


def _text(column: Column) -> pl.Expr:
    return canonical_text(pl.col(column.name), column.dtype)
