"""Where tokens are kept that were drawn at random, with what each of them stands for: sealed pages of a book.

A book holds the tokens of one domain, key version, spelling and last day: all of them end together. Its pages
are numbered without a gap, and only ever added to, but for what is erased. They are opaque here:
`protect/token_pages.py` seals and reads them, and notices any that was changed, swapped or removed.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, Protocol, TypeAlias

from sqlalchemy import Connection, delete, func, insert, select, update

from secure_platform.control.database import ControlDatabase
from secure_platform.control.tables import token_book, token_page
from secure_platform.errors import DataRefusedError
from secure_platform.keys.material import NotPickled

Page: TypeAlias = tuple[int, bytes]
"""Its number, from 1, and its bytes."""
Made: TypeAlias = tuple[bytes, int]
"""The bytes of a page, and how many tokens are in it."""
MARK: Final = 16
"""So many bytes at the end of a page tell it from others: those of its seal."""
_SAME: Final = ("domain", "version", "until", "form")


@dataclass(frozen=True, order=True)
class Book:
    """What some tokens have in common.

    Attributes:
        domain: Of the key that seals them.
        version: Of that key.
        until: The last day, UTC, on which they stand for anything.
        form: How they are spelled.
    """

    domain: str
    version: int
    until: date
    form: str


@dataclass(frozen=True)
class Seen:
    """How far somebody has read a book.

    Attributes:
        page: The last page; 0 for none.
        tokens: How many tokens are in the pages up to it.
        mark: Its last bytes.
    """

    page: int = 0
    tokens: int = 0
    mark: bytes = b""


UNREAD: Final = Seen()


class TokenStore(Protocol):
    """Where stored tokens are."""

    def pages(self, book: Book, after: Seen = UNREAD) -> Sequence[Page]:
        """The pages of a book after those that the caller knows, in order.

        Raises:
            DataRefusedError: If these are not the book's any more.
        """
        ...

    def each(self, book: Book) -> Iterator[Page]:
        """The pages of a book in order, one at a time in memory."""
        ...

    def append(self, book: Book, after: Seen, make: Callable[[Sequence[Page], int], Sequence[Made]]) -> None:
        """Add pages to a book, while nobody else does.

        Args:
            book: Which; begun if it is not there.
            after: What the caller knows of it.
            make: Given the pages after that one, and the first new number, the new pages; each has the next
                number. They are durable when this returns.

        Raises:
            DataRefusedError: If the book is gone, or other than the caller knows it.
        """
        ...

    def books(self, domain: str | None = None) -> Sequence[Book]:
        """All books, or those of a domain, in order."""
        ...


class StoredTokens(NotPickled):
    """The stored tokens of one home; usable from several threads and processes at once.

    Args:
        database: Holds them.
    """

    def __init__(self, database: ControlDatabase) -> None:
        self._database = database

    def pages(self, book: Book, after: Seen = UNREAD) -> list[Page]:
        """As `TokenStore.pages`."""
        with self._database.read() as connection:
            number = _number(connection, book)
            _require_unchanged(connection, number, book, after)
            return _pages(connection, number, after.page)

    def each(self, book: Book) -> Iterator[Page]:
        """As `TokenStore.each`."""
        with self._database.read() as connection:
            yield from _listed(connection, _number(connection, book), 0)

    def append(self, book: Book, after: Seen, make: Callable[[Sequence[Page], int], Sequence[Made]]) -> None:
        """As `TokenStore.append`."""
        with self._database.write() as connection:
            number = _number(connection, book)
            _require_unchanged(connection, number, book, after)
            if number is None:
                connection.execute(insert(token_book).values(vars(book)))
                number = _number(connection, book)
            newer = _pages(connection, number, after.page)
            first = (newer[-1][0] if newer else after.page) + 1
            for page, (sealed, count) in enumerate(make(newer, first), first):
                row = {"book": number, "page": page, "count": count, "sealed": sealed}
                connection.execute(insert(token_page).values(row))

    def books(self, domain: str | None = None) -> list[Book]:
        """As `TokenStore.books`."""
        query = select(*(token_book.c[name] for name in _SAME))
        if domain is not None:
            query = query.where(token_book.c.domain == domain)
        with self._database.read() as connection:
            return sorted(Book(**row) for row in connection.execute(query).mappings())

    def count(self, domain: str, version: int | None = None) -> int:
        """How many tokens a domain has, or one version of its key seals."""
        query = select(func.coalesce(func.sum(token_page.c.count), 0)).select_from(token_page)
        query = query.join(token_book).where(token_book.c.domain == domain)
        if version is not None:
            query = query.where(token_book.c.version == version)
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def rewrite(self, book: Book, change: Callable[[Page], Made | None]) -> None:
        """Put other bytes in place of some pages for good: `change` says which, None leaves a page."""
        with self._database.write() as connection:
            number = _number(connection, book)
            for page, sealed in _pages(connection, number, 0):
                made = change((page, sealed))
                if made is not None:
                    here = (token_page.c.book == number) & (token_page.c.page == page)
                    anew = {"sealed": made[0], "count": made[1]}
                    connection.execute(update(token_page).where(here).values(anew))
        self._database.scrub()

    def close(self, book: Book) -> None:
        """Delete a book and all that is in it for good."""
        with self._database.write() as connection:
            number = _number(connection, book)
            connection.execute(delete(token_page).where(token_page.c.book == number))
            connection.execute(delete(token_book).where(token_book.c.book == number))
        self._database.scrub()


def _number(connection: Connection, book: Book) -> int | None:
    query = select(token_book.c.book).where(
        *(token_book.c[name] == value for name, value in vars(book).items())
    )
    found = connection.execute(query).scalar_one_or_none()
    return None if found is None else int(found)


def _require_unchanged(connection: Connection, number: int | None, book: Book, after: Seen) -> None:
    if not after.page:
        return
    known = (token_page.c.book == number) & (token_page.c.page <= after.page)
    count = select(func.coalesce(func.sum(token_page.c.count), 0)).where(known)
    last = select(token_page.c.sealed).where(known, token_page.c.page == after.page)
    sealed = connection.execute(last).scalar_one_or_none()
    # SQLite keeps whatever type was written.
    same = isinstance(sealed, bytes) and sealed[-MARK:] == after.mark
    if not same or connection.execute(count).scalar_one() != after.tokens:
        raise DataRefusedError(
            f"Stored tokens of {book.domain} until {book.until} were deleted while they were in use:"
            " their day is over, or somebody was erased",
            "Run it again.",
        )


def _pages(connection: Connection, number: int | None, after: int) -> list[Page]:
    return list(_listed(connection, number, after))


def _listed(connection: Connection, number: int | None, after: int) -> Iterator[Page]:
    query = select(token_page.c.page, token_page.c.sealed).order_by(token_page.c.page)
    query = query.where(token_page.c.book == number, token_page.c.page > after)
    options = {"stream_results": True, "yield_per": 1}
    for row in connection.execute(query, execution_options=options):
        yield row.page, row.sealed
