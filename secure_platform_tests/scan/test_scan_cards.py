"""Every payment card number is found: all schemes, 12 to 19 digits, in a column, alone and in text."""

import random

import pytest
from scan_support import scan

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


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_card_number_of_a_scheme_counts_whatever_the_column_is_called(scheme: str) -> None:
    starts, sizes = SCHEMES[scheme]
    numbers = [number for start in starts for size in sizes for number in pans(start, size)]
    found = scan({"x": numbers, "y": [f"paid with {number}, thanks" for number in numbers]})
    assert {place: finding.count for place, finding in found.items()} == {
        ("x", "CREDIT_CARD"): len(numbers),
        ("y", "CREDIT_CARD"): len(numbers),
    }


@pytest.mark.parametrize("scheme", SCHEMES)
def test_one_card_number_among_many_cells_is_found(scheme: str) -> None:
    (start, *_), sizes = SCHEMES[scheme]
    numbers = [number for size in sizes for number in pans(start, size, 1)]
    telling = [*numbers, *(f"paid with {number}, thanks" for number in numbers)]
    columns = {f"c{place}": [*["nothing to see"] * 50, cell] for place, cell in enumerate(telling)}
    assert {name for name, kind in scan(columns) if kind == "CREDIT_CARD"} == {*columns}


@pytest.mark.parametrize("between", [".", "_", "/", ",", "\t", "  ", "\n", "\r\n", "-\n"])
@pytest.mark.parametrize("around", ["{}", "ref {} of today"])
def test_the_printed_groups_are_found_whatever_is_between_them(between: str, around: str) -> None:
    numbers = pans("4", 16)
    cells = [around.format(between.join(n[place : place + 4] for place in range(0, 16, 4))) for n in numbers]
    assert scan({"x": cells})["x", "CREDIT_CARD"].count == len(cells)
    draw = random.Random(7)  # noqa: S311 - no secret
    groups = [[str(draw.randrange(1000, 10_000)) for _ in range(4)] for _ in range(2000)]
    assert scan({"x": [around.format(between.join(each)) for each in groups]}) == {}


def test_a_number_that_is_wrapped_or_has_a_word_before_it_is_found() -> None:
    numbers = pans("4", 16)
    wrapped = [f"ref {n[:4]} {n[4:8]} {n[8:10]}\n{n[10:12]} {n[12:]} of today" for n in numbers]
    for cells in ([f"PAN{n}" for n in numbers], [f"card_{n}" for n in numbers], wrapped):
        assert scan({"x": cells})["x", "CREDIT_CARD"].count == len(cells)
    draw = random.Random(7)  # noqa: S311 - no secret
    orders = [f"ORD{draw.randrange(4 * 10**15, 6 * 10**15)}" for _ in range(2000)]
    assert scan({"x": orders}) == {}
    people = [f"{i + 101}-{i % 90 + 10}-{i + 1000}" for i in range(200)]
    for spelling in ("SSN{0}-{1}-{2}", "{0}/{1}/{2}", "{0}_{1}_{2}", "ref {0}-{1}-\n{2} of"):
        cells = [spelling.format(*each.split("-")) for each in people]
        assert scan({"x": cells})["x", "US_SSN"].count == len(cells)
