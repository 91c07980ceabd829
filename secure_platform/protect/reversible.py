"""Transforms that a key can undo: AES-SIV cells, which detect any change, and FF1 numbers, which do not.

An encrypted cell is `e<version>_` and the Base64 of V ‖ ciphertext, or of nonce ‖ V ‖ ciphertext. The domain,
the key version and the mode are authenticated with it, so a cell of another column does not open. Its length
reveals the length of the value, and the deterministic mode reveals which values are equal. With `key:
subject` it contains a cell under the key of the row's person (`persons.py`).

An FF1 number keeps its length, its separators and, with `checksum: luhn`, whether its last digit is right. It
carries no version, and nothing shows whether it was changed.
"""

import os
from functools import partial
from typing import Final

import numpy as np
import polars as pl

from secure_platform import canonical
from secure_platform.contract.rules import whole
from secure_platform.errors import IntegrityError
from secure_platform.protect.cells import Bytes, Cells
from secure_platform.protect.ff1 import ColumnFf1
from secure_platform.protect.inputs import Inputs
from secure_platform.protect.keyed import canonical_text, read_canonical
from secure_platform.protect.persons import sealed as persons_sealed
from secure_platform.protect.persons import unsealed
from secure_platform.protect.siv import BLOCK, ColumnSiv

DETERMINISTIC: Final = "deterministic"
RANDOMIZED: Final = "randomized"
LUHN: Final = "luhn"
AT_RANDOM: Final = f"encrypt.{RANDOMIZED}"
"""The transform whose cells are others each time."""
_NONE: Final = 255
_DOUBLED: Final = np.array([0, 2, 4, 6, 8, 1, 3, 5, 7, 9], np.uint64)
"""Twice a digit, the sum of the digits of it."""


def encrypted(column: pl.Expr, inputs: Inputs) -> pl.Expr:
    """Every cell under AES-SIV."""
    siv, mode, persons = _siv(inputs), inputs.params["mode"], inputs.persons

    def seal(texts: pl.Series) -> pl.Series:
        if mode == DETERMINISTIC:
            return siv.encrypt(Cells.of(texts)).series()
        nonces = np.frombuffer(os.urandom(BLOCK * len(texts)), np.uint8).reshape(-1, BLOCK)
        return _with_nonces(siv.encrypt(Cells.of(texts), nonces), nonces).series()

    text = canonical_text(column, inputs.dtype)
    if persons is not None:
        rows = pl.struct(text.alias("text"), inputs.other("subject").alias("person"))
        text = rows.map_batches(
            partial(persons_sealed, persons=persons, domain=inputs.domain),
            return_dtype=pl.Binary,
            is_elementwise=True,
        )
    sealed = text.map_batches(seal, return_dtype=pl.Binary, is_elementwise=True)
    return pl.concat_str([pl.lit(begins(inputs.required_key().version)), sealed.bin.encode("base64")])


def decrypted(column: pl.Series, inputs: Inputs) -> pl.Series:
    """The values of an encrypted column.

    Raises:
        IntegrityError: If a cell is not what was encrypted; nothing of the column is returned.
    """
    prefix = begins(inputs.required_key().version)
    bodies = column.to_frame("cell").select(
        pl.when(pl.col("cell").str.starts_with(prefix))
        .then(pl.col("cell").str.slice(len(prefix)))
        .str.decode("base64", strict=False)
    )["cell"]
    if bodies.null_count() != column.null_count():
        raise IntegrityError(
            "An encrypted column holds a cell that is not encrypted, or by another version of its key",
            "Name the version of the plan that the column was made with.",
        )
    cells, nonces = Cells.of(bodies), None
    if inputs.params["mode"] == RANDOMIZED:
        cells, nonces = _without_nonces(cells)
    bodies = _siv(inputs).decrypt(cells, nonces).series()
    if inputs.persons is not None:
        texts = unsealed(bodies, inputs.persons, inputs.domain)
    else:
        texts = bodies.cast(pl.String)
    return read_canonical(texts, inputs.dtype).alias(column.name)


def begins(version: int) -> str:
    """How every encrypted cell begins, under this version of its key."""
    return f"e{version}_"


def _siv(inputs: Inputs) -> ColumnSiv:
    key = inputs.required_key()
    return ColumnSiv(key.key, canonical.dumps([inputs.domain, key.version, inputs.params["mode"]]))


def _with_nonces(sealed: Cells, nonces: Bytes) -> Cells:
    made = Cells.shaped(sealed.lengths + BLOCK, sealed.valid)
    for rows in sealed.groups():
        made.write(rows, np.hstack([nonces[rows], sealed.read(rows)]))
    return made


def _without_nonces(cells: Cells) -> tuple[Cells, Bytes]:
    nonces = np.zeros((len(cells.valid), BLOCK), np.uint8)
    sealed = Cells.shaped(np.maximum(cells.lengths - BLOCK, 0), cells.valid)
    for rows in cells.groups():
        each = cells.read(rows)
        # What is too short for a nonce is too short for a tag as well, and refused for that.
        if each.shape[1] > BLOCK:
            nonces[rows] = each[:, :BLOCK]
            sealed.write(rows, each[:, BLOCK:])
    return sealed, nonces


def formatted(column: pl.Expr, inputs: Inputs) -> pl.Expr:
    """Every number under FF1; what does not match the pattern of the contract becomes null."""
    numbers = _Numbers(inputs)
    matching = column.str.contains(whole(str(inputs.params["pattern"])))
    return (
        pl.when(matching)
        .then(column)
        .map_batches(numbers.encrypt, return_dtype=pl.String, is_elementwise=True)
    )


def unformatted(column: pl.Series, inputs: Inputs) -> pl.Series:
    """The numbers of a column that `formatted` made."""
    return _Numbers(inputs).decrypt(column).alias(column.name)


class _Numbers:
    """The numbers of one column: what is symbol in them is encrypted, what is not stays."""

    def __init__(self, inputs: Inputs) -> None:
        symbols = np.frombuffer(str(inputs.params["symbols"]).encode(), np.uint8)
        self._symbols, self._codes = symbols, np.full(256, _NONE, np.uint8)
        self._codes[symbols] = np.arange(len(symbols))
        self._luhn = inputs.params.get("checksum") == LUHN
        self._ff1 = ColumnFf1(inputs.required_key().key, len(symbols), inputs.domain.encode())

    def encrypt(self, texts: pl.Series) -> pl.Series:
        return self._changed(texts, decrypt=False)

    def decrypt(self, texts: pl.Series) -> pl.Series:
        return self._changed(texts, decrypt=True)

    def _changed(self, texts: pl.Series, *, decrypt: bool) -> pl.Series:
        cells = Cells.of(texts)
        codes = self._codes[cells.flat]
        inside = codes != _NONE
        before = np.concatenate([[0], np.cumsum(inside)])
        numbers = Cells(codes[inside], before[cells.ends], cells.valid)
        for rows in numbers.groups():
            numbers.write(rows, self._numerals(numbers.read(rows), decrypt=decrypt))
        flat = cells.flat.copy()
        flat[inside] = self._symbols[numbers.flat]
        return Cells(flat, cells.ends, cells.valid).series().cast(pl.String)

    def _numerals(self, numerals: Bytes, *, decrypt: bool) -> Bytes:
        change = self._ff1.decrypt if decrypt else self._ff1.encrypt
        if not self._luhn:
            return change(numerals)
        # The last digit stays as right or as wrong as it was, by the same difference.
        body, last = numerals[:, :-1], numerals[:, -1]
        changed = change(body)
        digit = (last + 10 - _luhn_digit(body) + _luhn_digit(changed)) % 10
        return np.hstack([changed, digit[:, None].astype(np.uint8)])


def _luhn_digit(body: Bytes) -> Bytes:
    """The digit that makes the sum of ISO/IEC 7812-1 a multiple of ten."""
    total = _DOUBLED[body[:, ::-2]].sum(axis=1) + body[:, -2::-2].sum(axis=1, dtype=np.uint64)
    digits: Bytes = ((10 - total % 10) % 10).astype(np.uint8)
    return digits
