"""Every payment card number is found: all schemes, 12 to 19 digits, in a column, alone and in text."""

import random

import pytest
from scan_support import kinds

# Scheme, first digits, lengths that it issues (ISO/IEC 7812 and the schemes' own pages).
SCHEMES = {
    "visa": (["4"], [13, 16, 19]),
    "mastercard": (["51", "55", "2221", "2500", "2720"], [16]),
    "american express": (["34", "37"], [15]),
    "diners club": (["300", "305", "36", "38", "39"], [14, 16, 19]),
    "discover": (["6011", "644", "65"], [16, 19]),
    "jcb": (["3528", "3589"], [16, 19]),
    "jcb of fifteen": (["2131", "1800"], [15]),
    "unionpay": (["62"], [16, 17, 18, 19]),
    "maestro": (["5018", "5020", "5893", "6304", "6759", "6763"], [12, 13, 14, 15, 16, 17, 18, 19]),
    "mir": (["2200", "2204"], [16, 19]),
    "troy": (["9792"], [16]),
    "rupay": (["60", "8172", "508"], [16]),
}
KNOWN = [
    (name, start, size) for name, (starts, sizes) in SCHEMES.items() for start in starts for size in sizes
]


def pans(start: str, size: int, count: int = 20) -> list[str]:
    """Numbers of these first digits with the right check digit."""
    draw = random.Random(f"{start}/{size}")  # noqa: S311 - no secret
    bodies = [start + "".join(draw.choices("0123456789", k=size - len(start) - 1)) for _ in range(count)]
    return [body + check_digit(body) for body in bodies]


def check_digit(body: str) -> str:
    """By Luhn (ISO/IEC 7812-1, annex B)."""
    digits = [int(digit) for digit in reversed(body)]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[::2]]
    return str(-(sum(doubled) + sum(digits[1::2])) % 10)


@pytest.mark.parametrize(("scheme", "start", "size"), KNOWN)
def test_a_column_of_card_numbers_is_found_whatever_its_name(scheme: str, start: str, size: int) -> None:
    assert kinds(pans(start, size), "x") == {"CREDIT_CARD"}, scheme


@pytest.mark.parametrize(("scheme", "start", "size"), KNOWN)
def test_one_card_number_among_many_cells_is_found(scheme: str, start: str, size: int) -> None:
    (number,) = pans(start, size, 1)
    assert "CREDIT_CARD" in kinds([*["nothing to see"] * 50, number]), scheme
    assert "CREDIT_CARD" in kinds([*["nothing to see"] * 50, f"paid with {number}, thanks"]), scheme
