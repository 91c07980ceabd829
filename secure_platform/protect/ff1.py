"""FF1 (NIST SP 800-38G) for a whole column: numerals become as many numerals of the same radix.

Numbers of the same length are encrypted together, with one AES call for each of the ten rounds. A domain of
fewer than a million values is refused, as revision 1 of the standard says: so few could all be tried. Halves
of 56 bits or more are refused too, because the arithmetic here cannot hold them: 32 decimal digits fit, or 20
symbols of 36.
"""

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from secure_platform.errors import PlanRefusedError
from secure_platform.keys.material import NotPickled
from secure_platform.protect.cells import Bytes
from secure_platform.protect.siv import BLOCK, Aes

Numbers = NDArray[np.uint64]
SMALLEST_DOMAIN: Final = 1_000_000
ROUNDS: Final = 10
_HALF_BITS: Final = 56
_WORD_BYTES: Final = 4
_TABLE: Final = 1 << 16


def fits(radix: int, shortest: int, longest: int) -> bool:
    """Whether numbers of these lengths can be encrypted."""
    half = longest - longest // 2
    return bool(radix**shortest >= SMALLEST_DOMAIN and radix**half < 1 << _HALF_BITS)


@dataclass(frozen=True)
class _Shape:
    """What follows from the number of numerals.

    Attributes:
        first, second: The halves of the last block, without round and number, which are its end.
    """

    left: int
    right: int
    number_bytes: int
    first: int
    second: int


class ColumnFf1(NotPickled):
    """Encrypts and decrypts numbers of one column.

    Args:
        key: 16, 24 or 32 bytes.
        radix: The number of numerals, 2 to 256.
        tweak: Names the column.
    """

    def __init__(self, key: bytes, radix: int, tweak: bytes = b"") -> None:
        self._aes, self._radix, self._tweak = Aes(key), radix, tweak

    def encrypt(self, numerals: Bytes) -> Bytes:
        """Encrypt numbers of one length, a row of numerals for each."""
        shape = self._shape(numerals.shape[1])
        a, b = self._numbers(numerals[:, : shape.left]), self._numbers(numerals[:, shape.left :])
        for index in range(ROUNDS):
            modulus = self._modulus(shape, index)
            a, b = b, (a + self._drawn(shape, index, b, modulus)) % np.uint64(modulus)
        return np.hstack([self._text(a, shape.left), self._text(b, shape.right)])

    def decrypt(self, numerals: Bytes) -> Bytes:
        """The reverse of `encrypt`; FF1 has no tag, so numbers that were never encrypted become others."""
        shape = self._shape(numerals.shape[1])
        a, b = self._numbers(numerals[:, : shape.left]), self._numbers(numerals[:, shape.left :])
        for index in reversed(range(ROUNDS)):
            modulus = self._modulus(shape, index)
            drawn = self._drawn(shape, index, a, modulus)
            a, b = (b + np.uint64(modulus) - drawn) % np.uint64(modulus), a
        return np.hstack([self._text(a, shape.left), self._text(b, shape.right)])

    def _shape(self, size: int) -> _Shape:
        if not fits(self._radix, size, size):
            raise PlanRefusedError(
                f"Numbers of {size} numerals of {self._radix} cannot be encrypted in their format",
                "Use tokenize or encrypt, or a longer pattern.",
            )
        left = size // 2
        right = size - left
        number_bytes = -(-(self._radix**right - 1).bit_length() // 8)
        fixed = b"".join(
            (
                bytes([1, 2, 1]),
                self._radix.to_bytes(3, "big"),
                bytes([ROUNDS, left % 256]),
                size.to_bytes(4, "big"),
                len(self._tweak).to_bytes(4, "big"),
                self._tweak,
                bytes((-len(self._tweak) - number_bytes - 1) % BLOCK),
            )
        )
        tail = len(fixed) // BLOCK * BLOCK
        state = np.zeros((1, BLOCK), np.uint8)
        for start in range(0, tail, BLOCK):
            state = self._aes.blocks(state ^ np.frombuffer(fixed[start : start + BLOCK], np.uint8))
        last = np.frombuffer(fixed[tail:].ljust(BLOCK, b"\0"), np.uint8) ^ state
        first, second = last.view(">u8")[0].tolist()
        return _Shape(left, right, number_bytes, first, second)

    def _modulus(self, shape: _Shape, index: int) -> int:
        return int(self._radix ** (shape.right if index % 2 else shape.left))

    def _drawn(self, shape: _Shape, index: int, number: Numbers, modulus: int) -> Numbers:
        """The round function of a number, below the modulus."""
        blocks = np.empty((len(number), 2), ">u8")
        blocks[:, 0] = shape.first
        blocks[:, 1] = number ^ np.uint64(shape.second ^ (index << 8 * shape.number_bytes))
        drawn = self._aes.blocks(blocks.view(np.uint8))
        if shape.number_bytes <= _WORD_BYTES:
            return drawn.view(">u8")[:, 0].astype(np.uint64) % np.uint64(modulus)
        return _remainder(drawn[:, : 3 * _WORD_BYTES], modulus)

    def _numbers(self, numerals: Bytes) -> Numbers:
        found = np.zeros(len(numerals), np.uint64)
        for place in range(numerals.shape[1]):
            found = found * np.uint64(self._radix) + numerals[:, place]
        return found

    def _text(self, numbers: Numbers, size: int) -> Bytes:
        table = _numerals(self._radix)
        step, base = table.shape[1], np.uint64(len(table))
        parts = []
        for _ in range(-(-size // step)):
            numbers, low = np.divmod(numbers, base)
            parts.append(table[low])
        return np.hstack(parts[::-1])[:, -size:]


@cache
def _numerals(radix: int) -> Bytes:
    """The numerals of every number that has as many of them as a small table holds."""
    step = max(power for power in range(1, BLOCK + 1) if radix**power <= _TABLE)
    numbers = np.arange(radix**step)
    places = [numbers // radix**power % radix for power in reversed(range(step))]
    return np.stack(places, axis=1).astype(np.uint8)


def _remainder(digits: Bytes, modulus: int) -> Numbers:
    """A number given in bytes, the highest first, by a modulus below 2^56."""
    rest = np.zeros(len(digits), np.uint64)
    for place in range(digits.shape[1]):
        rest = ((rest << np.uint64(8)) | digits[:, place]) % np.uint64(modulus)
    return rest
