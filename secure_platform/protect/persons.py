"""A value under its person's own key is gone once that key is: from every copy, wherever it is stored.

The cell that the domain's key encrypts contains another one: the place of the person's key (32 bytes, a keyed
hash of their identifier) and the value under AES-SIV (RFC 5297) with a key derived from theirs. The cell is
thus as deterministic and authentic as its mode says, nobody sees whose it is, and opening it takes both keys.
Without the person's key the value is null.
"""

from collections.abc import Mapping
from typing import Any, Final

import polars as pl
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from secure_platform.keys.material import KEY_BYTES, PersonKeys, derive

PERSONS: Final = "persons"
"""Parameter of a plan: whose keys, by the domain of the subject's id."""
_PLACE: Final = KEY_BYTES


def sealed(rows: pl.Series, persons: PersonKeys, domain: str) -> pl.Series:
    """Structs of `text` and `person` as binary cells; null without a text, or after the person's erasure."""
    texts, owners = rows.struct.field("text"), rows.struct.field("person")
    given = owners.filter(texts.is_not_null()).drop_nulls().unique().to_list()
    keys = persons.made(given)
    ciphers = {person: (place, _cipher(key, domain)) for person, (place, key) in keys.items()}
    cells = [
        None if text is None or person not in ciphers else _sealed(text, *ciphers[person])
        for text, person in zip(texts, owners, strict=True)
    ]
    return pl.Series(rows.name, cells, pl.Binary)


def unsealed(cells: pl.Series, persons: PersonKeys, domain: str) -> pl.Series:
    """The texts of authentic cells; null where the person was erased."""
    places = cells.drop_nulls().bin.head(_PLACE).unique().to_list()
    ciphers = {place: _cipher(key, domain) for place, key in persons.at(places).items()}
    texts = [None if cell is None else _opened(cell, ciphers) for cell in cells]
    return pl.Series(cells.name, texts, pl.String)


def _cipher(key: bytes, domain: str) -> AESSIV:
    return AESSIV(derive(key, f"person|{domain}", 2 * KEY_BYTES))


def _sealed(text: str, place: bytes, cipher: AESSIV) -> bytes:
    # The library refuses what is empty; an empty text stays what it is by having no cell inside.
    return place + (cipher.encrypt(text.encode(), None) if text else b"")


def _opened(cell: bytes, ciphers: Mapping[Any, AESSIV]) -> str | None:
    cipher, inner = ciphers.get(cell[:_PLACE]), cell[_PLACE:]
    if cipher is None:
        return None
    return cipher.decrypt(inner, None).decode() if inner else ""
