"""Exact discrete noise: Laplace and Gaussian over whole numbers, with integer arithmetic only.

Canonne, Kamath and Steinke, The Discrete Gaussian for Differential Privacy (2020), algorithms 1 to 3. Every
probability is a ratio of integers, so the last bits of a draw do not reveal what it was added to, as
floating-point noise does (Mironov, On Significance of the Least Significant Bits, 2012). The bits are AES-256
in counter mode (NIST SP 800-38A) under a key that is used for one table only.
"""

import math
from fractions import Fraction
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR

_BLOCK: Final = bytes(4096)


class Draws:
    """Random numbers that are the same for the same key.

    Args:
        key: 32 bytes, used for nothing else.
    """

    def __init__(self, key: bytes) -> None:
        self._stream = Cipher(AES256(key), CTR(bytes(16))).encryptor()
        self._bytes = b""
        self._at = 0

    def below(self, limit: int) -> int:
        """Each of 0 … limit - 1 as likely as the others."""
        size = ((limit - 1).bit_length() + 7) // 8
        excess = 8 * size - (limit - 1).bit_length()
        while True:
            drawn = int.from_bytes(self._take(size)) >> excess
            if drawn < limit:
                return drawn

    def happens(self, chance: Fraction) -> bool:
        """True with this chance, from 0 to 1."""
        return self.below(chance.denominator) < chance.numerator

    def exp_minus(self, gamma: Fraction) -> bool:
        """True with the chance e^-gamma, of any gamma from 0 on (algorithm 1)."""
        while gamma > 1:
            if not self._exp_minus_up_to_1(Fraction(1)):
                return False
            gamma -= 1
        return self._exp_minus_up_to_1(gamma)

    def laplace(self, scale: Fraction) -> int:
        """A whole x, with a chance that is proportional to e^(-|x| / scale) (algorithm 2)."""
        whole, parts = scale.numerator, scale.denominator
        while True:
            rest = self.below(whole)
            if not self.exp_minus(Fraction(rest, whole)):
                continue
            times = 0
            while self.exp_minus(Fraction(1)):
                times += 1
            size = (rest + whole * times) // parts
            negative = self.below(2) == 1
            if not (negative and size == 0):
                return -size if negative else size

    def gaussian(self, variance: Fraction) -> int:
        """A whole x, with a chance that is proportional to e^(-x² / (2 variance)) (algorithm 3)."""
        scale = math.isqrt(math.floor(variance)) + 1
        while True:
            drawn = self.laplace(Fraction(scale))
            if self.exp_minus((abs(drawn) - variance / scale) ** 2 / (2 * variance)):
                return drawn

    def _exp_minus_up_to_1(self, gamma: Fraction) -> bool:
        count = 1
        while self.happens(gamma / count):
            count += 1
        return count % 2 == 1

    def _take(self, size: int) -> bytes:
        if self._at + size > len(self._bytes):
            self._bytes = self._bytes[self._at :] + self._stream.update(_BLOCK)
            self._at = 0
        taken = self._bytes[self._at : self._at + size]
        self._at += size
        return taken
