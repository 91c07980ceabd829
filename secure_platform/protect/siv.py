"""AES-SIV (RFC 5297) for a whole column: deterministic authenticated encryption, bit for bit the library's.

Cells of the same length are encrypted together: one AES call for each block position of the CMAC, and one for
the whole key stream. Long cells, and lengths that few cells have, are left to the library. A cell becomes V
(16 bytes) ‖ ciphertext. The associated data are the same for the whole column, and may be followed by a nonce
for each cell. Decryption returns nothing unless every cell is authentic.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from secure_platform.errors import IntegrityError
from secure_platform.keys.material import NotPickled
from secure_platform.protect.cells import Bytes, Cells

BLOCK: Final = 16
FEW: Final = 100
LONG: Final = 256
"""Fewer cells of a length, and those of more bytes, take the library less time, as measured."""
_SPARE: Final = BLOCK - 1
"""A cipher may write this much beyond what it was given."""
_CLEARED: Final = np.array([0xFFFFFFFFFFFFFFFF, 0x7FFFFFFF7FFFFFFF], np.uint64)
_REDUCTION: Final = 0x87


class Aes(NotPickled):
    """AES of many blocks in one call, each for itself."""

    def __init__(self, key: bytes) -> None:
        self._cipher = Cipher(AES(key), ECB())  # noqa: S305 - the modes are built on it here

    def blocks(self, plain: Bytes) -> Bytes:
        """Each row of 16 bytes, encrypted."""
        # One for each call: Polars calls from several threads at once, and a context serves one.
        encryptor = self._cipher.encryptor()
        given = np.ascontiguousarray(plain)
        made = np.empty(given.size + _SPARE, np.uint8)
        encryptor.update_into(given.reshape(-1).data, made.data)
        return made[: given.size].reshape(given.shape)


class ColumnSiv(NotPickled):
    """Encrypts and decrypts the cells of one column.

    Args:
        key: 32, 48 or 64 bytes: the key of S2V, then that of the key stream.
        associated: Authenticated with every cell.
        few: Fewer cells of a length are left to the library.
        long: And so are cells of more bytes.
    """

    def __init__(self, key: bytes, *associated: bytes, few: int = FEW, long: int = LONG) -> None:
        half = len(key) // 2
        self._library, self._associated = AESSIV(key), associated
        self._few, self._long = few, long
        self._mac, self._stream = Aes(key[:half]), Aes(key[half:])
        whole = _doubled(self._mac.blocks(np.zeros((1, BLOCK), np.uint8)))
        self._subkeys = whole, _doubled(whole)
        state = self._cmac(np.zeros((1, BLOCK), np.uint8))
        for item in associated:
            state = _doubled(state) ^ self._cmac(np.frombuffer(item, np.uint8)[None, :])
        self._state = state

    def encrypt(self, plain: Cells, nonces: Bytes | None = None) -> Cells:
        """Encrypt every cell; with nonces, 16 bytes for each, equal cells become different."""
        made = Cells.shaped(plain.lengths + BLOCK, plain.valid)
        for rows in plain.groups():
            cells, own = plain.read(rows), None if nonces is None else nonces[rows]
            if self._is_for_the_library(cells):
                made.write(rows, self._each(self._library.encrypt, cells, own))
            else:
                tags = self._s2v(cells, own)
                made.write(rows, np.hstack([tags, cells ^ self._keystream(tags, cells.shape[1])]))
        return made

    def decrypt(self, sealed: Cells, nonces: Bytes | None = None) -> Cells:
        """Decrypt every cell.

        Raises:
            IntegrityError: If one is not what was encrypted under this key and these associated data.
        """
        if (sealed.lengths[sealed.valid] < BLOCK).any():
            raise _forged()
        opened = Cells.shaped(sealed.lengths - BLOCK, sealed.valid)
        differing = np.uint8(0)
        for rows in sealed.groups():
            cells, own = sealed.read(rows), None if nonces is None else nonces[rows]
            if self._is_for_the_library(cells):
                opened.write(rows, self._each(self._library.decrypt, cells, own))
                continue
            tags, hidden = cells[:, :BLOCK], cells[:, BLOCK:]
            plain = hidden ^ self._keystream(tags, hidden.shape[1])
            differing |= np.bitwise_or.reduce(self._s2v(plain, own) ^ tags, axis=None)
            opened.write(rows, plain)
        if differing:
            raise _forged()
        return opened

    def _is_for_the_library(self, cells: Bytes) -> bool:
        return len(cells) < self._few or cells.shape[1] > self._long

    def _each(self, call: Callable[[bytes, list[bytes]], bytes], cells: Bytes, nonces: Bytes | None) -> Bytes:
        """What the library makes of each cell."""
        more = [[] if nonces is None else [nonces[row].tobytes()] for row in range(len(cells))]
        try:
            made = [
                call(cell.tobytes(), [*self._associated, *own]) for cell, own in zip(cells, more, strict=True)
            ]
        except InvalidTag:
            raise _forged() from None
        return np.frombuffer(b"".join(made), np.uint8).reshape(len(cells), -1)

    def _s2v(self, cells: Bytes, nonces: Bytes | None) -> Bytes:
        state = self._state if nonces is None else _doubled(self._state) ^ self._cmac(nonces)
        length = cells.shape[1]
        if length < BLOCK:
            return self._cmac(_doubled(state) ^ _padded(cells))
        # The state goes into the last 16 bytes.
        mixed = cells.copy()
        mixed[:, -BLOCK:] ^= state
        return self._cmac(mixed)

    def _cmac(self, messages: Bytes) -> Bytes:
        length = messages.shape[1]
        whole = length > 0 and length % BLOCK == 0
        start = max(0, (length - 1) // BLOCK * BLOCK)
        last = messages[:, start:]
        last = last ^ self._subkeys[0] if whole else _padded(last) ^ self._subkeys[1]
        state = np.zeros((len(messages), BLOCK), np.uint8)
        for position in range(0, start, BLOCK):
            state = self._mac.blocks(state ^ messages[:, position : position + BLOCK])
        return self._mac.blocks(state ^ last)

    def _keystream(self, tags: Bytes, length: int) -> Bytes:
        count = -(-length // BLOCK)
        # Two bits of the tag are cleared, so that the counter never carries out of its lower half.
        counters = np.ascontiguousarray(tags).view(">u8").astype(np.uint64) & _CLEARED
        blocks = np.empty((len(tags), count, 2), ">u8")
        blocks[:, :, 0] = counters[:, :1]
        blocks[:, :, 1] = counters[:, 1:] + np.arange(count, dtype=np.uint64)
        stream = self._stream.blocks(blocks.view(np.uint8).reshape(len(tags), count * BLOCK))
        return stream[:, :length]


def _padded(cells: Bytes) -> Bytes:
    """The cells, shorter than a block, with a one bit and zeros up to its end."""
    blocks = np.zeros((len(cells), BLOCK), np.uint8)
    blocks[:, : cells.shape[1]] = cells
    blocks[:, cells.shape[1]] = 0x80
    return blocks


def _doubled(blocks: Bytes) -> Bytes:
    """Each block times x in the field of 2^128 elements."""
    carried = blocks[:, :1] >> 7
    shifted: Bytes = blocks << np.uint8(1)
    shifted[:, :-1] |= blocks[:, 1:] >> 7
    shifted[:, -1:] ^= carried * np.uint8(_REDUCTION)
    return shifted


def _forged() -> IntegrityError:
    return IntegrityError(
        "An encrypted column holds a cell that is not authentic",
        "Nothing of it was decrypted; check key version, column and origin of the data.",
    )
