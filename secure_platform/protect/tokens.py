"""Tokens stand for a value and cannot be undone: 128 bits of its HMAC, in one of three spellings.

`hex` and `base32` (RFC 4648) begin with the version of the key. `uuid` is for columns that hold nothing else:
version 8 of RFC 9562 with 122 bits; its key version is in the plan only.
"""

from typing import Final

import numpy as np
import polars as pl

from secure_platform.protect.cells import Cells
from secure_platform.protect.inputs import Inputs
from secure_platform.protect.keyed import canonical_text, hmac_hex

TOKEN_HEX: Final = 32
"""128 bits: among 10^9 values a collision has a chance of 10^-21; 64 bits would have 2.7 %."""
_BASE32: Final = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", np.uint8)
_BASE32_BITS: Final = 5
_BASE32_CHARACTERS: Final = 26
_VARIANT: Final = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}


def hashed(column: pl.Expr, inputs: Inputs) -> pl.Expr:
    """A token of a domain that no other column has."""
    return _begun("h", _digits(column, inputs), inputs)


def tokenized(column: pl.Expr, inputs: Inputs) -> pl.Expr:
    """A token of the column's domain."""
    digits = _digits(column, inputs)
    match inputs.params.get("format"):
        case "uuid":
            return _uuid(digits)
        case "base32":
            bits = digits.str.decode("hex")
            digits = bits.map_batches(_base32, return_dtype=pl.String, is_elementwise=True)
    return _begun("t", digits, inputs)


def _digits(column: pl.Expr, inputs: Inputs) -> pl.Expr:
    return hmac_hex(canonical_text(column, inputs.dtype), inputs.required_key().key).str.head(TOKEN_HEX)


def _begun(prefix: str, digits: pl.Expr, inputs: Inputs) -> pl.Expr:
    return pl.concat_str([pl.lit(f"{prefix}{inputs.required_key().version}_"), digits])


def _uuid(digits: pl.Expr) -> pl.Expr:
    """The digits with those of version and variant, in groups."""
    part = digits.str.slice
    variant = part(16, 1).replace_strict(_VARIANT, return_dtype=pl.String)
    groups = [part(0, 8), part(8, 4), pl.lit("8") + part(13, 3), variant + part(17, 3), part(20, 12)]
    return pl.concat_str(groups, separator="-")


def _base32(bits: pl.Series) -> pl.Series:
    """16 bytes as 26 characters, without the padding that says nothing."""
    cells = Cells.of(bits)
    made = Cells.shaped(np.full(len(bits), _BASE32_CHARACTERS), cells.valid)
    weights = 1 << np.arange(_BASE32_BITS, dtype=np.uint8)[::-1]
    for rows in cells.groups():
        each = np.zeros((len(rows), _BASE32_CHARACTERS * _BASE32_BITS), np.uint8)
        each[:, : 4 * TOKEN_HEX] = np.unpackbits(cells.read(rows), axis=1)
        fives = each.reshape(len(rows), _BASE32_CHARACTERS, _BASE32_BITS)
        made.write(rows, _BASE32[fives @ weights])
    return made.series().cast(pl.String)
