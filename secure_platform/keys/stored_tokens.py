"""Where tokens are kept that were drawn at random, with what each of them stands for: sealed pages of a book.

A book holds the tokens of one domain, key version, spelling and last day: all of them end together. Its pages
are numbered without a gap, and only ever added to, but for what is erased. They are opaque here:
`protect/token_pages.py` seals and reads them, and notices any that was changed, swapped or removed. That they
are the newest, the audit log witnesses (`book_states.py`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from sqlalchemy import Connection, delete, func, insert, select, update

from secure_platform.control.database import ControlDatabase
from secure_platform.control.tables import token_book, token_page
from secure_platform.errors import DataRefusedError
from secure_platform.keys.book_states import EMPTY, MARK, Book, BookStates, chained
from secure_platform.keys.material import NotPickled

Page: TypeAlias = tuple[int, bytes]
"""Its number, from 1, and its bytes."""
Made: TypeAlias = tuple[bytes, int]
"""The bytes of a page, and how many tokens are in it."""
_SAME: Final = ("domain", "version", "until", "form")


@dataclass(frozen=True)
class Seen:
    """How far somebody has read a book.

    Attributes:
        page: The last page; 0 for none.
        tokens: How many tokens are in the pages up to it.
        mark: Its last bytes.
        state: Of all pages up to it; see `book_states.py`.
    """

    page: int = 0
    tokens: int = 0
    mark: bytes = b""
    state: str = EMPTY

    def then(self, sealed: bytes, tokens: int) -> "Seen":
        """After the next page."""
        page = self.page + 1
        return Seen(page, self.tokens + tokens, sealed[-MARK:], chained(self.state, page, sealed))


UNREAD: Final = Seen()


class TokenStore(Protocol):
    """Where stored tokens are."""

    def pages(self, book: Book, after: Seen = UNREAD) -> Sequence[Page]:
        """The pages of a book after those that the caller knows, in order.

        Raises:
            DataRefusedError: If these are not the book's any more.
            IntegrityError: If the book is not as it was recorded last.
        """
        ...

    def each(self, book: Book) -> Iterator[Page]:
        """The pages of a book in order, one at a time in memory.

        Raises:
            IntegrityError: At its end, if the book is not as it was recorded last.
        """
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
            IntegrityError: If it is not as it was recorded last.
        """
        ...

    def books(self, domain: str) -> Sequence[Book]:
        """The books of a domain, in order.

        Raises:
            IntegrityError: If one was deleted behind our back.
        """
        ...


class StoredTokens(NotPickled):
    """The stored tokens of one home; usable from several threads and processes at once.

    Args:
        database: Holds them.
        states: Witness which pages are the newest.
    """

    def __init__(self, database: ControlDatabase, states: BookStates) -> None:
        self._database = database
        self._states = states

    def pages(self, book: Book, after: Seen = UNREAD) -> list[Page]:
        """As `TokenStore.pages`."""
        since = self._states.seen()
        with self._database.read() as connection:
            number = _number(connection, book)
            _require_unchanged(connection, number, book, after)
            found = _pages(connection, number, after.page)
        self._states.require(book, _state(after.state, found), since)
        return found

    def each(self, book: Book) -> Iterator[Page]:
        """As `TokenStore.each`."""
        since, state = self._states.seen(), EMPTY
        with self._database.read() as connection:
            for page in _listed(connection, _number(connection, book), 0):
                state = chained(state, *page)
                yield page
        self._states.require(book, state, since)

    def append(self, book: Book, after: Seen, make: Callable[[Sequence[Page], int], Sequence[Made]]) -> None:
        """As `TokenStore.append`."""
        with ExitStack() as changes, self._database.write() as connection:
            since = self._states.seen()
            number = _number(connection, book)
            _require_unchanged(connection, number, book, after)
            newer = _pages(connection, number, after.page)
            state = _state(after.state, newer)
            self._states.require(book, state, since)
            first = (newer[-1][0] if newer else after.page) + 1
            made = list(enumerate(make(newer, first), first))
            if not made:
                return
            if number is None:
                connection.execute(insert(token_book).values(vars(book)))
                number = _number(connection, book)
            for page, (sealed, count) in made:
                row = {"book": number, "page": page, "count": count, "sealed": sealed}
                connection.execute(insert(token_page).values(row))
            # Nothing takes the two locks the other way round: who writes to the log has read all keys before.
            self._states.announce(changes, book, _state(state, ((page, each) for page, (each, _) in made)))

    def books(self, domain: str) -> list[Book]:
        """As `TokenStore.books`."""
        since, expected = self._states.seen(), list(self._states.kept())
        found = self.all(domain)
        for book in expected:
            if book.domain == domain and book not in found:
                self._states.require(book, EMPTY, since)
        return found

    def all(self, domain: str | None = None) -> list[Book]:
        """The books that are in the database, whether or not others should be, in order."""
        query = select(*(token_book.c[name] for name in _SAME))
        if domain is not None:
            query = query.where(token_book.c.domain == domain)
        with self._database.read() as connection:
            return sorted(Book(**row) for row in connection.execute(query).mappings())

    def known(self) -> list[Book]:
        """The books that are in the database, and those of which the log says that they should be."""
        expected = list(self._states.kept())
        return sorted({*self.all(), *expected})

    def count(self, domain: str, version: int | None = None) -> int:
        """How many tokens a domain has, or one version of its key seals."""
        query = select(func.coalesce(func.sum(token_page.c.count), 0)).select_from(token_page)
        query = query.join(token_book).where(token_book.c.domain == domain)
        if version is not None:
            query = query.where(token_book.c.version == version)
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def rewrite(self, book: Book, change: Callable[[Page], Made | None]) -> None:
        """Put other bytes in place of some pages for good: `change` says which, None leaves a page.

        Raises:
            IntegrityError: If the book is not as it was recorded last.
        """
        with ExitStack() as changes, self._database.write() as connection:
            since = self._states.seen()
            number = _number(connection, book)
            pages = _pages(connection, number, 0)
            self._states.require(book, _state(EMPTY, pages), since)
            made = {page: anew for page, sealed in pages if (anew := change((page, sealed)))}
            if not made:
                return
            after = ((page, made[page][0] if page in made else sealed) for page, sealed in pages)
            for page, (sealed, count) in made.items():
                here = (token_page.c.book == number) & (token_page.c.page == page)
                row = {"sealed": sealed, "count": count}
                connection.execute(update(token_page).where(here).values(row))
            self._states.announce(changes, book, _state(EMPTY, after))
        self._database.scrub()

    def close(self, book: Book) -> None:
        """Delete a book and all that is in it for good, as it is or should be."""
        with ExitStack() as changes, self._database.write() as connection:
            number = _number(connection, book)
            connection.execute(delete(token_page).where(token_page.c.book == number))
            connection.execute(delete(token_book).where(token_book.c.book == number))
            self._states.announce(changes, book, EMPTY)
        self._database.scrub()


def _state(state: str, pages: Iterable[Page]) -> str:
    for page, sealed in pages:
        state = chained(state, page, sealed)
    return state


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
