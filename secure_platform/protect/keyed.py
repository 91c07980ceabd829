"""The keyed hash that tokens, date shifts and residual fingerprints are made of, as one Polars expression.

It is HMAC-SHA-256 (RFC 2104, FIPS 198-1). polars-hash takes the key as text and keys the HMAC with its UTF-8
bytes; so the HMAC key is the 64 ASCII bytes of the 32-byte key in lower-case hexadecimal, exactly one SHA-256
block. The message is the UTF-8 of the value's canonical text: text as it is, without trimming, case folding
or Unicode normalization, because keys that differ in the data must not become one; integers in decimal; dates
and times in ISO 8601, times in UTC. Null stays null.

`explain()` and `repr` do not show the key, `Expr.meta.serialize` does: such expressions are never serialised.
"""

from collections.abc import Mapping
from typing import Final

import polars as pl
from polars_hash import CryptographicHashingNameSpace

from secure_platform.errors import PlanRefusedError

KEY_BYTES: Final = 32
DRAW_HEX: Final = 13
DRAWS: Final = 1 << 4 * DRAW_HEX
"""A draw is the first 52 bits of an HMAC: so many a float holds exactly."""
_FORMATS: Final[Mapping[pl.DataType, str]] = {
    pl.Date(): "%Y-%m-%d",
    pl.Datetime("us", "UTC"): "%Y-%m-%dT%H:%M:%S%.6fZ",
}


def hmac_hex(text: pl.Expr, key: bytes) -> pl.Expr:
    """HMAC-SHA-256 of a text column as 64 hexadecimal digits.

    Raises:
        PlanRefusedError: If the key is not 32 bytes long.
    """
    if len(key) != KEY_BYTES:
        raise PlanRefusedError("A hashing key is not 32 bytes long", "Use a key of the key ring.")
    hashed: pl.Expr = CryptographicHashingNameSpace(text).hmac_sha256(key=key.hex())
    return hashed


def canonical_text(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """The text that is hashed for a value; injective within a type."""
    if dtype in _FORMATS:
        return column.dt.strftime(_FORMATS[dtype])
    return column.cast(pl.String)


def read_canonical(texts: pl.Series, dtype: pl.DataType) -> pl.Series:
    """The values that `canonical_text` wrote."""
    if dtype == pl.Date():
        return texts.str.to_date(_FORMATS[dtype])
    if dtype in _FORMATS:
        return texts.str.to_datetime("%Y-%m-%dT%H:%M:%S%.6fZ", time_unit="us").dt.replace_time_zone("UTC")
    return texts.cast(dtype)
