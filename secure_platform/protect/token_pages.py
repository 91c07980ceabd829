"""The pages of a book of stored tokens: sealed as a whole, read into an index, and added to.

A page is a table of keyed hashes, tokens and texts (Arrow IPC) under AES-256-GCM with a key of the domain;
the book and the page's number are authenticated with it. Somebody who can write to the database can therefore
neither give a token another value, nor move a page to another book or a later day. A missing page is noticed
by its number, missing last pages by the chain of seals that the audit log witnesses (`keys/book_states.py`).

In memory a token takes 32 bytes. Nothing here may call Polars, because Polars' threads call it, under a lock.
"""

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import partial
from threading import Lock
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from secure_platform import canonical
from secure_platform.errors import IntegrityError
from secure_platform.keys.book_states import Book
from secure_platform.keys.envelope import Envelope
from secure_platform.keys.material import NotPickled, TokenKey, derive
from secure_platform.keys.stored_tokens import UNREAD, Made, Page, TokenStore
from secure_platform.protect.cells import Bytes

TOKEN_BYTES: Final = 16
PAGE_ROWS: Final = 1 << 16
PAGE_BYTES: Final = 4 << 20
"""A page ends where it would have more text than this; one longer text is a page of its own."""
UUID: Final = "uuid"
Words = NDArray[np.uint64]
"""Two columns: the halves of 16 bytes."""
_LOOKUP, _TOKEN, _TEXT = "lookup", "token", "text"
_SCHEMA: Final = pa.schema(
    {_LOOKUP: pa.binary(TOKEN_BYTES), _TOKEN: pa.binary(TOKEN_BYTES), _TEXT: pa.large_string()}
)


class OpenBook(NotPickled):
    """One book, open; usable from several threads at once.

    Args:
        key: Of the domain, in the book's version.
        book: Which.
        store: Holds its pages.
    """

    def __init__(self, key: TokenKey, book: Book, store: TokenStore) -> None:
        self.book = book
        self.finding = derive(key.key, f"stored-token|lookup|{book.until}|{book.form}")
        self._envelope = Envelope(derive(key.key, "stored-token|page"))
        self._store = store
        self._index = _Index()
        self._seen = UNREAD
        self._lock = Lock()

    def tokens(self, lookups: Words, texts: pa.Array) -> Words:
        """The token of each value; those that had none are drawn, and durable before they are returned.

        Args:
            lookups: Keyed hashes of the values, each once.
            texts: The values, as large strings.

        Raises:
            IntegrityError: If a page is not what was written.
            DataRefusedError: If tokens were deleted from the book since it was opened.
        """
        with self._lock:
            known, tokens = self._index.find(lookups)
            if not known.all():
                # Without the lock of the database, as far as it goes.
                self._read(self._store.pages(self.book, self._seen))
                known, tokens = self._index.find(lookups)
            if known.all():
                return tokens
            drawn: list[tuple[Words, Words, bytes]] = []
            left = np.flatnonzero(~known)
            wanted = partial(self._draw, lookups[left], texts.take(pa.array(left)), drawn)
            self._store.append(self.book, self._seen, wanted)
            # Not before: what was not committed is nobody's token.
            for each in drawn:
                self._add(*each)
            tokens[left] = self._index.find(lookups[left])[1]
            return tokens

    def known(self, lookups: Words) -> dict[bytes, bytes]:
        """Keyed hash → token, of the values that have one."""
        with self._lock:
            self._read(self._store.pages(self.book, self._seen))
            known, tokens = self._index.find(lookups)
        return dict(zip(_each(lookups[known]), _each(tokens[known]), strict=True))

    def texts(self, tokens: Collection[bytes]) -> dict[bytes, str]:
        """Token → value, of those that are in the book."""
        found: dict[bytes, str] = {}
        for page in self._numbered(self._store.each(self.book)):
            table = self._opened(page)
            places = [row for row, token in enumerate(_each(_words(table[_TOKEN]))) if token in tokens]
            values = table[_TEXT].take(pa.array(places, pa.int64())).to_pylist()
            found |= zip(table[_TOKEN].take(pa.array(places, pa.int64())).to_pylist(), values, strict=True)
        return found

    def among(self, tokens: Collection[bytes]) -> set[bytes]:
        """Those tokens that are in the book."""
        found: set[bytes] = set()
        for page in self._numbered(self._store.each(self.book)):
            found |= {token for token in _each(_words(self._opened(page)[_TOKEN])) if token in tokens}
        return found

    def without(self, lookups: Collection[bytes], page: Page) -> Made | None:
        """A page without the tokens of some values; None if it has none of them."""
        table = self._opened(page)
        kept = [row for row, found in enumerate(_each(_words(table[_LOOKUP]))) if found not in lookups]
        if len(kept) == table.num_rows:
            return None
        return self._sealed(page[0], table.take(pa.array(kept, pa.int64())))

    def _draw(
        self,
        lookups: Words,
        texts: pa.Array,
        drawn: list[tuple[Words, Words, bytes]],
        newer: Sequence[Page],
        first: int,
    ) -> list[Made]:
        """Pages for those values that nobody has given a token meanwhile."""
        self._read(newer)
        left = np.flatnonzero(~self._index.find(lookups)[0])
        made: list[Made] = []
        for rows in _paged(left, texts):
            tokens = _random(len(rows), self.book.form)
            columns = [_cells(lookups[rows]), _cells(tokens), texts.take(pa.array(rows))]
            made.append(self._sealed(first + len(made), pa.Table.from_arrays(columns, schema=_SCHEMA)))
            drawn.append((lookups[rows], tokens, made[-1][0]))
        return made

    def _read(self, pages: Sequence[Page]) -> None:
        for page in self._numbered(pages, self._seen.page):
            table = self._opened(page)
            self._add(_words(table[_LOOKUP]), _words(table[_TOKEN]), page[1])

    def _add(self, lookups: Words, tokens: Words, sealed: bytes) -> None:
        self._index.add(lookups, tokens)
        self._seen = self._seen.then(sealed, len(lookups))

    def _numbered(self, pages: Iterable[Page], last: int = 0) -> Iterator[Page]:
        for number, page in enumerate(pages, last + 1):
            if page[0] != number:
                raise self._tampered()
            yield page

    def _sealed(self, page: int, table: pa.Table) -> Made:
        sink = pa.BufferOutputStream()
        # Compressed, a page has the length of what is in it: of random bits, and of the texts.
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with pa.ipc.new_stream(sink, _SCHEMA, options=options) as writer:
            writer.write_table(table)
        return self._envelope.seal(sink.getvalue().to_pybytes(), self._associated(page)), table.num_rows

    def _opened(self, page: Page) -> pa.Table:
        number, sealed = page
        if not isinstance(sealed, bytes):
            # SQLite keeps whatever type was written.
            raise self._tampered()
        try:
            content = self._envelope.open(sealed, self._associated(number), name="A page of stored tokens")
        except IntegrityError:
            raise self._tampered() from None
        return pa.ipc.open_stream(content).read_all().combine_chunks()

    def _associated(self, page: int) -> bytes:
        book = self.book
        return canonical.dumps([book.domain, book.version, book.until.isoformat(), book.form, page])

    def _tampered(self) -> IntegrityError:
        return IntegrityError(
            f"Stored tokens of {self.book.domain} are not in the control database as they were written",
            "Treat the control database as tampered with: restore a copy, and look who can write to it.",
        )


class _Index:
    """Keyed hash → token, as sorted runs; each is at least twice as long as the next."""

    def __init__(self) -> None:
        self._runs: list[tuple[Words, Words]] = []

    def find(self, lookups: Words) -> tuple[NDArray[np.bool_], Words]:
        """Which are there, and their tokens."""
        found, tokens = np.zeros(len(lookups), np.bool_), np.zeros_like(lookups)
        # What is looked for in order is found near what was looked for before.
        order = np.argsort(lookups[:, 0])
        wanted = lookups[order]
        for keys, values in self._runs:
            places = np.searchsorted(keys[:, 0], wanted[:, 0])
            open_ = np.flatnonzero(places < len(keys))
            # Two of 2^32 values have the same first half: then the second is the next.
            while len(open_):
                open_ = open_[keys[places[open_], 0] == wanted[open_, 0]]
                right = keys[places[open_], 1] == wanted[open_, 1]
                hit = open_[right]
                found[order[hit]], tokens[order[hit]] = True, values[places[hit]]
                open_ = open_[~right]
                places[open_] += 1
                open_ = open_[places[open_] < len(keys)]
        return found, tokens

    def add(self, lookups: Words, tokens: Words) -> None:
        """Each of them new."""
        while self._runs and len(self._runs[-1][0]) < 2 * len(lookups):
            keys, values = self._runs.pop()
            lookups, tokens = np.concatenate([keys, lookups]), np.concatenate([values, tokens])
        if len(lookups):
            order = np.argsort(lookups[:, 0], kind="stable")
            self._runs.append((lookups[order], tokens[order]))


def _paged(rows: NDArray[np.intp], texts: pa.Array) -> Iterator[NDArray[np.intp]]:
    """The rows of each page."""
    lengths = pc.binary_length(texts).to_numpy(zero_copy_only=False)[rows]
    start, size = 0, 0
    for place, length in enumerate(lengths.tolist()):
        if place > start and (place - start == PAGE_ROWS or size + length > PAGE_BYTES):
            yield rows[start:place]
            start, size = place, 0
        size += length
    if len(rows):
        yield rows[start:]


def words_of(flat: Bytes) -> Words:
    """Bytes as the halves of 16 each."""
    return flat.reshape(-1, TOKEN_BYTES).view(np.uint64)


def _words(column: pa.ChunkedArray) -> Words:
    if not len(column):
        return np.empty((0, 2), np.uint64)
    cells = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(cells, pa.ChunkedArray):
        cells = cells.chunk(0)
    start = cells.offset * TOKEN_BYTES
    flat = np.frombuffer(cells.buffers()[1], np.uint8)[start : start + len(cells) * TOKEN_BYTES]
    return words_of(np.ascontiguousarray(flat))


def _cells(words: Words) -> pa.Array:
    return pa.Array.from_buffers(pa.binary(TOKEN_BYTES), len(words), [None, pa.py_buffer(words.tobytes())])


def _each(words: Words) -> Iterator[bytes]:
    """Sixteen bytes of each row."""
    flat = words.tobytes()
    return (flat[start : start + TOKEN_BYTES] for start in range(0, len(flat), TOKEN_BYTES))


def _random(count: int, form: str) -> Words:
    drawn = np.frombuffer(os.urandom(TOKEN_BYTES * count), np.uint8).reshape(-1, TOKEN_BYTES).copy()
    if form == UUID:
        # RFC 9562: version 4, and its variant.
        drawn[:, 6] = drawn[:, 6] & 0x0F | 0x40
        drawn[:, 8] = drawn[:, 8] & 0x3F | 0x80
    return words_of(drawn)
