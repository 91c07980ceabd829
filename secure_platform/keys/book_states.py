"""A book of stored tokens counts only as the audit log recorded it last: an older copy is noticed.

The pages of a book are a chain of hashes over their seals. Every change announces the new end of the chain in
the log before it is durable, and records it after, as those of sealed rows are (`audit/seals.py`). A book
that the log never told of, of a home of an earlier version, counts as it is until it is changed.
"""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from secure_platform.audit.log import JSON, SEALED
from secure_platform.audit.seals import SealWitness
from secure_platform.errors import IntegrityError
from secure_platform.keys.material import NotPickled
from secure_platform.keys.rows import KeyLog

TABLE: Final = "key_book"
"""What the log names with this beginning is found by the index of those that tell of keys."""
CHANGED: Final = "token.book"
EMPTY: Final = "empty"
"""The end of the chain of a book without pages."""
MARK: Final = 16
"""So many bytes at the end of a page tell it from others: those of its seal."""
_ACTOR: Final = "service:key-ring"


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

    @property
    def name(self) -> str:
        """How the log names it."""
        return f"{TABLE}:{self.domain}/{self.version}/{self.until.isoformat()}/{self.form}"

    @classmethod
    def named(cls, name: str) -> "Book":
        """The one that the log names so."""
        domain, version, until, form = name.removeprefix(f"{TABLE}:").rsplit("/", 3)
        return cls(domain, int(version), date.fromisoformat(until), form)


def chained(state: str, page: int, sealed: Any) -> str:
    """The end of the chain after one more page.

    Args:
        state: The end before it.
        page: Its number.
        sealed: Its bytes; SQLite keeps whatever type was written.
    """
    mark = sealed[-MARK:] if isinstance(sealed, bytes) else repr(sealed).encode()
    return hashlib.sha256(f"{state}|{page}|".encode() + mark).hexdigest()


class BookStates(NotPickled):
    """What the log says of books; usable from several threads and processes at once.

    Args:
        log: Is told of every change.
        witness: Reads what it tells of keys.
    """

    def __init__(self, log: KeyLog, witness: SealWitness) -> None:
        self._log = log
        self._witness = witness

    def seen(self) -> int:
        """How much of the log was looked at: asked before a book is read, and given to `require`."""
        return self._witness.seen()

    def require(self, book: Book, state: str, since: int) -> None:
        """Refuse a book that is not as it was recorded last.

        Raises:
            IntegrityError: If pages of it were put back, exchanged or removed, or it was deleted.
        """
        if self._witness.was_known(book.name, since) and not self._witness.counts(book.name, state, since):
            raise _older(book)

    def announce(self, changes: ExitStack, book: Book, state: str) -> None:
        """Announce the next state, as the last thing before its commit.

        It is recorded as reached when `changes` end without an error.
        """
        sealed: JSON = {book.name: state}
        effect = self._log.effect(CHANGED, actor=_ACTOR, subject=book.name, detail={SEALED: sealed})
        changes.enter_context(effect)[SEALED] = sealed

    def kept(self) -> Iterator[Book]:
        """The books of which the log says that they have pages."""
        since = self.seen()
        for name in sorted(self._witness.known(TABLE)):
            if not self._witness.counts(name, EMPTY, since):
                yield Book.named(name)


def _older(book: Book) -> IntegrityError:
    """What is said of a book that is not as it was recorded last."""
    return IntegrityError(
        f"Stored tokens of {book.domain} until {book.until} are not in the control database as they were "
        "written last: an older copy was put back, or pages were removed",
        "Put the newest copy of the control database back, and look who can write to it. If there is none, "
        "rotate the token key of the domain: what is drawn then is not concerned (docs/protection.md).",
    )
