"""Tokens that are drawn at random and stored, until the day on which they stop standing for anything.

A token has 128 random bits (122 as a UUID of version 4, RFC 9562), so it reveals nothing, not even to
somebody with every key. The value it stands for is in the control database, in sealed pages
(`token_pages.py`), and is found by HMAC-SHA-256, cut to 128 bits, under a key of its book. All tokens of a
book end on the same day, which is part of the plan. Columns that share a book can be joined until then, and
the signed plan of a release says from when on nobody may look its tokens up.
"""

import base64
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType
from typing import Final

import numpy as np
import polars as pl

from secure_platform.errors import PlanRefusedError, UsageError
from secure_platform.keys.book_states import Book
from secure_platform.keys.material import TokenKey
from secure_platform.keys.stored_tokens import TokenStore
from secure_platform.protect.cells import Cells
from secure_platform.protect.inputs import Inputs
from secure_platform.protect.keyed import canonical_text, hmac_hex, read_canonical
from secure_platform.protect.token_pages import TOKEN_BYTES, UUID, OpenBook, Words, words_of
from secure_platform.protect.tokens import in_base32

VAULT: Final = "vault"
FORM: Final = "format"
TTL: Final = "ttl"
UNTIL: Final = "until"
"""Parameter of a plan: the last day of its tokens, UTC."""
BEGINNING: Final = date(1970, 1, 1)
_HEX, _BASE32 = "hex", "base32"
_SPELLED: Final[Mapping[str, re.Pattern[str]]] = MappingProxyType(
    {
        _HEX: re.compile(r"v_([0-9a-f]{32})"),
        _BASE32: re.compile(r"v_([A-Z2-7]{25}[AEIMQUY4])"),
        UUID: re.compile(r"([0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12})"),
    }
)
_GROUPS: Final = ((0, 8), (8, 4), (12, 4), (16, 4), (20, 12))
_TEXT, _TOKEN = "text", "token"


def last_day(today: date, ttl: int) -> date:
    """The last day of the tokens that are drawn today.

    The days since 1970 are divided into periods of `ttl` days, so that all tokens of a domain end together,
    at most `ttl` days after they were drawn.
    """
    return BEGINNING + timedelta(days=((today - BEGINNING).days // ttl + 1) * ttl - 1)


def stored(column: pl.Expr, inputs: Inputs) -> pl.Expr:
    """The token of every value; those that have none yet are drawn, and durable before they are returned."""
    book = _book(inputs)

    def tokens(texts: pl.Series) -> pl.Series:
        distinct = texts.drop_nulls().unique()
        if distinct.is_empty():
            return pl.Series(texts.name, [None], pl.String).new_from_index(0, len(texts))
        made = book.tokens(_lookups(distinct, book), distinct.to_arrow().cast("large_string"))
        by_text = pl.DataFrame({_TEXT: distinct, _TOKEN: _spelled(made, book.book.form)})
        found = texts.alias(_TEXT).to_frame().join(by_text, on=_TEXT, how="left", maintain_order="left")
        return found[_TOKEN].alias(texts.name)

    text = canonical_text(column, inputs.dtype)
    return text.map_batches(tokens, return_dtype=pl.String, is_elementwise=True)


def recalled(column: pl.Series, inputs: Inputs) -> pl.Series:
    """What tokens stand for; null for what nobody knows any more, and for what is none.

    Raises:
        UsageError: If their last day is over.
        IntegrityError: If what a token stands for is not what was written.
    """
    book = _book(inputs)
    if book.book.until < datetime.now(UTC).date():
        raise UsageError(
            f"The tokens of {column.name} could be looked up until {book.book.until}, and no longer",
            "Ask about those of a newer release.",
        )
    asked = {bits: cell for cell in column.drop_nulls().unique() if (bits := _bits(cell, book.book.form))}
    known = {asked[bits]: text for bits, text in book.texts(asked.keys()).items()}
    texts = pl.Series([known.get(cell) for cell in column], dtype=pl.String)
    return read_canonical(texts, inputs.dtype).alias(column.name)


def is_spelled(cells: pl.Series, form: str) -> pl.Series:
    """Which cells are spelled as tokens of a form are."""
    return pl.Series([_bits(cell, form) is not None for cell in cells], dtype=pl.Boolean)


def known_tokens(
    domain: str, texts: Collection[str], store: TokenStore, key: Callable[[int], TokenKey | None]
) -> Iterator[tuple[OpenBook, Mapping[bytes, str]]]:
    """The tokens that some values have, in every book of a domain.

    Args:
        domain: As a plan names it.
        texts: Canonical texts of the values.
        store: Where tokens are.
        key: The domain's key in a version; None for one that was destroyed, and with it what it sealed.

    Yields:
        A book, and keyed hash of a value → its token, as it is spelled.

    Raises:
        IntegrityError: If a page is not what was written.
    """
    values = pl.Series(sorted(texts), dtype=pl.String)
    for book in store.books(domain):
        opener = key(book.version)
        if opener is not None and len(values):
            pages = OpenBook(opener, book, store)
            found = pages.known(_lookups(values, pages))
            words = words_of(np.frombuffer(b"".join(found.values()), np.uint8))
            yield pages, dict(zip(found, _spelled(words, book.form), strict=True))


def kept_values(
    domain: str, cells: Collection[str], store: TokenStore, key: Callable[[int], TokenKey | None]
) -> set[str]:
    """What some tokens stand for in any book of a domain, whatever its day; else as `known_tokens`."""
    found: set[str] = set()
    for book in store.books(domain):
        opener, asked = key(book.version), {bits for cell in cells if (bits := _bits(cell, book.form))}
        if opener is not None and asked:
            found |= set(OpenBook(opener, book, store).texts(asked).values())
    return found


def unknown_tokens(
    domain: str, cells: Collection[str], store: TokenStore, key: Callable[[int], TokenKey | None]
) -> set[str]:
    """Those among some cells that are no tokens of any book of a domain; else as `known_tokens`."""
    left = set(cells)
    for book in store.books(domain):
        opener, asked = key(book.version), {bits: cell for cell in left if (bits := _bits(cell, book.form))}
        if opener is not None and asked:
            left -= {asked[bits] for bits in OpenBook(opener, book, store).among(asked)}
    return left


def _book(inputs: Inputs) -> OpenBook:
    key = inputs.required_key()
    if inputs.store is None or not isinstance(key, TokenKey):
        raise PlanRefusedError("A transform has nowhere to keep its tokens", "Compile the plan again.")
    until = date.fromisoformat(str(inputs.params[UNTIL]))
    return OpenBook(key, Book(inputs.domain, key.version, until, str(inputs.params[FORM])), inputs.store)


def _lookups(distinct: pl.Series, book: OpenBook) -> Words:
    """The keyed hashes that values are found by."""
    hashed = hmac_hex(pl.col(_TEXT), book.finding).str.head(2 * TOKEN_BYTES).str.decode("hex")
    return words_of(Cells.of(distinct.alias(_TEXT).to_frame().select(hashed).to_series()).flat)


def _spelled(tokens: Words, form: str) -> pl.Series:
    flat = tokens.view(np.uint8).reshape(-1)
    ends = np.arange(len(tokens) + 1, dtype=np.int64) * TOKEN_BYTES
    digits = Cells(flat, ends, np.ones(len(tokens), np.bool_)).series().bin.encode("hex")
    if form == _BASE32:
        digits = in_base32(digits)
    cells = digits.alias(_TOKEN).to_frame()
    if form == UUID:
        groups = [pl.col(_TOKEN).str.slice(*group) for group in _GROUPS]
        return cells.select(pl.concat_str(groups, separator="-")).to_series()
    return cells.select(pl.concat_str([pl.lit("v_"), pl.col(_TOKEN)])).to_series()


def _bits(cell: str, form: str) -> bytes | None:
    """What a token is under its spelling; None if it is none."""
    found = _SPELLED[form].fullmatch(cell)
    if found is None:
        return None
    if form == _BASE32:
        return base64.b32decode(found[1] + "=" * 6)
    return bytes.fromhex(found[1].replace("-", ""))
