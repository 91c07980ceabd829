"""Contracts, products and keys that the tests of protection share."""

import hashlib
import hmac
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from threading import Lock
from typing import Any, Final

import polars as pl
import pytest

from secure_platform import canonical
from secure_platform.contract.model import Column, Contract, Protect, Reference
from secure_platform.contract.product import Product
from secure_platform.contract.protection import PARTS
from secure_platform.errors import IntegrityError, PlanRefusedError
from secure_platform.keys.book_states import Book
from secure_platform.keys.material import CellKey, TokenKey
from secure_platform.keys.stored_tokens import UNREAD, Made, Page, Seen
from secure_platform.protect.compiler import compile_plan
from secure_platform.protect.plan import ColumnPlan, DatasetPlan, Plan
from secure_platform.taxonomy.classification import Classification

AS_OF: Final = date(2026, 1, 1)
LEVELS: Final = {level.label: level for level in Classification}


class KeptTokens:
    """Books of tokens in memory."""

    def __init__(self) -> None:
        self.kept: dict[Book, list[Page]] = {}
        self._lock = Lock()

    def pages(self, book: Book, after: Seen = UNREAD) -> list[Page]:
        return [page for page in self.kept.get(book, []) if page[0] > after.page]

    def each(self, book: Book) -> Iterator[Page]:
        return iter(self.pages(book))

    def append(self, book: Book, after: Seen, make: Callable[[Sequence[Page], int], Sequence[Made]]) -> None:
        with self._lock:
            kept = self.kept.setdefault(book, [])
            made = make(self.pages(book, after), len(kept) + 1)
            kept += [(number, sealed) for number, (sealed, _) in enumerate(made, len(kept) + 1)]

    def books(self, domain: str) -> list[Book]:
        return sorted(book for book in self.kept if domain == book.domain)


class DerivedKeys:
    """Keys by domain and version, for tests that compute the expected tokens themselves."""

    stored_tokens = KeptTokens()

    def token_key(self, domain: str, version: int) -> TokenKey:
        if version not in (1, 2):
            raise IntegrityError("no such version", "Use 1 or 2.")
        return TokenKey(version, self.bytes(domain, version))

    def cell_key(self, domain: str, version: int) -> CellKey:
        return CellKey(version, self.bytes(domain, version) + self.bytes(f"second|{domain}", version))

    def persons(self, domain: str) -> "DerivedPersons":
        return DerivedPersons(domain)

    @staticmethod
    def bytes(domain: str, version: int = 1) -> bytes:
        return hashlib.sha256(f"{version}|{domain}".encode()).digest()


class DerivedPersons:
    """The keys of persons whose place is the hash of their name, but for who was erased."""

    def __init__(self, domain: str, *erased: str) -> None:
        self._domain = domain
        self._erased = {self._place(person) for person in erased}

    def made(self, persons: Collection[str]) -> dict[str, tuple[bytes, bytes]]:
        places = {person: self._place(person) for person in persons}
        return {
            person: (place, self._key(place)) for person, place in places.items() if place not in self._erased
        }

    def at(self, places: Collection[bytes]) -> dict[bytes, bytes]:
        return {place: self._key(place) for place in places if place not in self._erased}

    def _place(self, person: str) -> bytes:
        return hashlib.sha256(person.encode()).digest()

    def _key(self, place: bytes) -> bytes:
        return hashlib.sha256(self._domain.encode() + place).digest()


KEYS: Final = DerivedKeys()


def token(value: str, domain: str, version: int = 1, prefix: str = "t") -> str:
    """The token as the specification says, computed without Polars."""
    key = KEYS.bytes(domain, version).hex().encode()
    return f"{prefix}{version}_{hmac.digest(key, value.encode(), 'sha256').hex()[:32]}"


def column(name: str, logical_type: Any = "string", level: str = "confidential", **more: Any) -> Column:
    protect = more.pop("protect", None)
    return Column(name, logical_type, "", LEVELS[level], protect=asked_for(protect), **more)


def asked_for(protect: Any) -> Protect | None:
    """What a contract asks for, as it writes it."""
    if protect is None or isinstance(protect, Protect):
        return protect
    if isinstance(protect, str):
        return Protect(protect)
    params = {name: value for name, value in protect.items() if name not in {"transform", *PARTS}}
    parts = {name: part for name in PARTS if (part := asked_for(protect.get(name)))}
    if "when" in params:
        params["when"] = canonical.dumps(params["when"]).decode()
    return Protect(protect["transform"], params, parts)


def contract(dataset: str, *columns: Column) -> Contract:
    return Contract(
        dataset=dataset,
        version="1.0.0",
        description="",
        owner="team:test",
        columns=columns,
        source_file=f"{dataset}.csv",
        digest="sha256:" + "0" * 64,
    )


def product(*contracts: Contract, profile: str = "hipaa_safe_harbor", name: str = "clinic") -> Product:
    return Product(
        name=name,
        owner="team:test",
        description="",
        profile=profile,
        schedule=None,
        contracts={each.dataset: each for each in contracts},
        models=("mart",),
        target="duckdb",
        freshness_hours=None,
        purposes=(),
        deploy_windows=(),
        maintenance_windows=(),
        directory=Path(__file__).parent,
        digest="sha256:" + "0" * 64,
    )


def compiled(
    *contracts: Contract, profile: str = "hipaa_safe_harbor", version: int = 1, **of_domain: int
) -> Plan:
    """The plan when every domain has this version, but for those that are named."""
    return compile_plan(
        product(*contracts, profile=profile), lambda domain: of_domain.get(domain, version), AS_OF
    )


def planned(*columns: Column, profile: str = "hipaa_safe_harbor") -> ColumnPlan:
    """The plan of the first of some columns."""
    return dataset_plan(*columns, profile=profile).columns[0]


def dataset_plan(*columns: Column, profile: str = "hipaa_safe_harbor") -> DatasetPlan:
    return compiled(contract("people", *columns), profile=profile).datasets["people"]


def refused(*columns: Column, profile: str = "hipaa_safe_harbor") -> str:
    """What is said when these columns are refused."""
    with pytest.raises(PlanRefusedError) as caught:
        dataset_plan(*columns, profile=profile)
    return str(caught.value)


def typed(columns: Iterable[Column], values: Mapping[str, list[Any]]) -> pl.LazyFrame:
    return pl.LazyFrame(values, schema={each.name: each.dtype for each in columns})


def clinic() -> tuple[Contract, Contract, Contract]:
    """People, their visits, and notes on these."""
    people = contract(
        "people",
        column("Id", info_type="RECORD_ID", primary_key=True, subject_id=True, token_domain="patient"),
        column("NAME", level="restricted", info_type="PERSON_NAME"),
        column("BORN", "date", level="restricted", info_type="DATE_OF_BIRTH"),
    )
    visits = contract(
        "visits",
        column("Id", info_type="RECORD_ID", primary_key=True),
        column("PERSON", subject_id=True, reference=Reference("people", "Id")),
        column("START", "timestamp"),
        column("CODE", level="internal"),
    )
    notes = contract(
        "notes",
        column("VISIT", info_type="RECORD_ID", reference=Reference("visits", "Id")),
        column("TEXT", level="restricted"),
        column("KIND", level="public"),
    )
    return people, visits, notes


PEOPLE = (
    column("Id", info_type="RECORD_ID", primary_key=True, subject_id=True, token_domain="patient"),
    column("SSN", level="restricted", info_type="US_SSN"),
    column("BORN", "date", level="restricted", info_type="DATE_OF_BIRTH"),
    column("ZIP", level="restricted", info_type="US_ZIP"),
    column("CITY", level="restricted", info_type="CITY"),
    column("STATE"),
    column("SCORE", "number", level="internal"),
)
VISITS = (
    column("Id", "integer", info_type="RECORD_ID", primary_key=True),
    column("PERSON", subject_id=True, reference=Reference("people", "Id")),
    column("PARENT", "integer", info_type="RECORD_ID", reference=Reference("visits", "Id")),
    column("CODE", level="internal"),
)


def clinic_plan() -> Plan:
    return compiled(contract("people", *PEOPLE), contract("visits", *VISITS))


def people(ids: list[str]) -> pl.LazyFrame:
    size = len(ids)
    return typed(
        PEOPLE,
        {
            "Id": ids,
            "SSN": [f"999-17-{i:04}" for i in range(size)],
            "BORN": [None] * size,
            "ZIP": ["02155"] * size,
            "CITY": ["New York"] * size,
            "STATE": ["New York"] * size,
            "SCORE": [float(i) for i in range(size)],
        },
    )


def visits(persons: list[str | None], parents: list[int | None] | None = None) -> pl.LazyFrame:
    size = len(persons)
    values: dict[str, list[Any]] = {
        "Id": list(range(size)),
        "PERSON": persons,
        "PARENT": parents or [None] * size,
        "CODE": ["185345009"] * size,
    }
    return typed(VISITS, values)
