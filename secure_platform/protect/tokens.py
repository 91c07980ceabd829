"""Tokens stand for a value and cannot be reversed: 128 bits of its HMAC, in one of three formats.

`hex` and `base32` (RFC 4648) begin with the key version. `uuid` is for columns that hold only UUIDs: version
8 of RFC 9562 with 122 bits, whose key version is in the plan only.
"""

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from secure_platform.protect.cells import Cells
from secure_platform.protect.inputs import Inputs
from secure_platform.protect.keyed import canonical_text, hmac_hex

Words = NDArray[np.uint64]
TOKEN_HEX: Final = 32
"""128 bits: among 10^9 values a collision has a chance of 10^-21; 64 bits would have 2.7 %."""
_BASE32: Final = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", np.uint8)
_BASE32_CHARACTERS: Final = 26
_FIVE, _WORD = 5, 64
_UUID: Final = np.frombuffer(b"########-####-####-####-############", np.uint8)
_VALUES: Final = np.zeros(128, np.uint8)
_VALUES[list(b"0123456789abcdef")] = range(16)
_VARIANTS: Final = np.frombuffer(b"89ab", np.uint8)


def hashed(column: pl.Expr, inputs: Inputs) -> pl.Expr:
    """A token of a domain that no other column has."""
    return _begun("h", _digits(column, inputs), inputs)


def tokenized(column: pl.Expr, inputs: Inputs) -> pl.Expr:
    """A token of the column's domain."""
    digits = _digits(column, inputs)
    spelling = _SPELLINGS.get(str(inputs.params.get("format")))
    if spelling is None:
        return _begun("t", digits, inputs)
    texts = digits.map_batches(spelling, return_dtype=pl.String, is_elementwise=True)
    return texts if spelling is _uuids else _begun("t", texts, inputs)


def _digits(column: pl.Expr, inputs: Inputs) -> pl.Expr:
    return hmac_hex(canonical_text(column, inputs.dtype), inputs.required_key().key).str.head(TOKEN_HEX)


def _begun(prefix: str, digits: pl.Expr, inputs: Inputs) -> pl.Expr:
    return pl.concat_str([pl.lit(f"{prefix}{inputs.required_key().version}_"), digits])


def _uuids(digits: pl.Series) -> pl.Series:
    """32 digits as UUIDs, two of them saying version and variant."""
    cells = Cells.of(digits)
    made = Cells.shaped(np.full(len(digits), len(_UUID)), cells.valid)
    for rows in cells.groups():
        each = cells.read(rows)
        each[:, 12] = ord("8")
        each[:, 16] = _VARIANTS[_VALUES[each[:, 16]] % 4]
        texts = np.tile(_UUID, (len(rows), 1))
        texts[:, ord("#") == _UUID] = each
        made.write(rows, texts)
    return made.series().cast(pl.String)


def in_base32(digits: pl.Series) -> pl.Series:
    """The 16 bytes of 32 digits as 26 characters, without the padding that says nothing."""
    cells = Cells.of(digits)
    made = Cells.shaped(np.full(len(digits), _BASE32_CHARACTERS), cells.valid)
    for rows in cells.groups():
        values = _VALUES[cells.read(rows)]
        pairs = np.ascontiguousarray(values[:, ::2] << 4 | values[:, 1::2])
        high, low = pairs.view(">u8").astype(np.uint64).T
        codes = np.empty((_BASE32_CHARACTERS, len(rows)), np.uint8)
        for place in range(_BASE32_CHARACTERS):
            codes[place] = _five_bits(high, low, 2 * _WORD - _FIVE * (place + 1))
        made.write(rows, _BASE32[codes].T)
    return made.series().cast(pl.String)


def _five_bits(high: Words, low: Words, right: int) -> Words:
    """Five bits of 128, with so many to the right of them."""
    if right >= _WORD:
        found = high >> np.uint64(right - _WORD)
    elif right < 0:
        found = low << np.uint64(-right)
    else:
        found = low >> np.uint64(right)
        if right > _WORD - _FIVE:
            found |= high << np.uint64(_WORD - right)
    return found & np.uint64(31)


_SPELLINGS: Final = {"uuid": _uuids, "base32": in_base32}
