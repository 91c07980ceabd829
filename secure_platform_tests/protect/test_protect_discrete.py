"""The samplers draw what the paper says; every key is fixed, so nothing is flaky."""

import math
from collections import Counter
from collections.abc import Callable
from fractions import Fraction

import pytest

from secure_platform.protect.discrete import Draws

KEY = bytes(range(32))
DRAWS = 20_000
FAR = 4.75
"""Standard deviations that one in a million draws exceeds."""


def chi_square(seen: Counter[int], chances: dict[int, float], draws: int) -> tuple[float, int]:
    """The statistic and its degrees of freedom; what is expected less than five times is one class."""
    common = {value: chance for value, chance in chances.items() if chance * draws >= 5}
    classes = [(seen[value], chance) for value, chance in common.items()]
    rest = draws - sum(count for count, _ in classes), 1 - sum(common.values())
    classes += [rest] if rest[1] * draws >= 1 else []
    return sum((count - p * draws) ** 2 / (p * draws) for count, p in classes), len(classes) - 1


def fits(seen: Counter[int], chances: dict[int, float], draws: int) -> bool:
    """Wilson and Hilferty's normal approximation of chi-square, at one in a million."""
    statistic, freedom = chi_square(seen, chances, draws)
    spread = 2 / (9 * freedom)
    return (math.cbrt(statistic / freedom) - (1 - spread)) / math.sqrt(spread) < FAR


def laplace(scale: Fraction) -> dict[int, float]:
    share = math.exp(-1 / float(scale))
    return {x: (1 - share) / (1 + share) * share ** abs(x) for x in range(-400, 401)}


def gaussian(variance: Fraction) -> dict[int, float]:
    weights = {x: math.exp(-(x**2) / (2 * float(variance))) for x in range(-400, 401)}
    total = math.fsum(weights.values())
    return {x: weight / total for x, weight in weights.items()}


@pytest.mark.parametrize("scale", [Fraction(1, 3), Fraction(1), Fraction(7, 3), Fraction(20)])
def test_laplace_is_the_distribution_that_is_written_down(scale: Fraction) -> None:
    draws = Draws(KEY)
    seen = Counter(draws.laplace(scale) for _ in range(DRAWS))
    assert fits(seen, laplace(scale), DRAWS)
    assert not fits(seen, laplace(scale * Fraction(11, 10)), DRAWS), "a tenth off is seen"


@pytest.mark.parametrize("variance", [Fraction(1, 2), Fraction(1), Fraction(25, 4), Fraction(100)])
def test_gaussian_is_the_distribution_that_is_written_down(variance: Fraction) -> None:
    draws = Draws(KEY)
    seen = Counter(draws.gaussian(variance) for _ in range(DRAWS))
    assert fits(seen, gaussian(variance), DRAWS)
    assert not fits(seen, gaussian(variance * Fraction(11, 10)), DRAWS), "a tenth off is seen"


@pytest.mark.parametrize("gamma", [Fraction(0), Fraction(1, 7), Fraction(1), Fraction(3, 2), Fraction(4)])
def test_a_chance_of_e_to_the_minus_gamma_is_that(gamma: Fraction) -> None:
    draws, chance = Draws(KEY), math.exp(-gamma)
    happened = sum(draws.exp_minus(gamma) for _ in range(DRAWS))
    assert abs(happened - chance * DRAWS) <= FAR * math.sqrt(chance * (1 - chance) * DRAWS)


@pytest.mark.parametrize("limit", [1, 2, 3, 10, 255, 256, 257, 1_000_003])
def test_whole_numbers_are_even_and_below_their_limit(limit: int) -> None:
    draws = Draws(KEY)
    drawn = [draws.below(limit) for _ in range(DRAWS)]
    assert 0 <= min(drawn) <= max(drawn) < limit
    parts = min(limit, 50)
    seen = Counter(value * parts // limit for value in drawn)
    sizes = Counter(value * parts // limit for value in range(limit))
    assert parts == 1 or fits(seen, {part: count / limit for part, count in sizes.items()}, DRAWS)


@pytest.mark.parametrize(
    ("drawn", "known"),
    [
        (lambda draws: draws.below(1_000_000), [993536, 746148, 654602, 997798, 905959, 528133]),
        (lambda draws: draws.laplace(Fraction(10)), [-9, -9, -4, -13, 2, 9]),
        (lambda draws: draws.gaussian(Fraction(100)), [-9, -9, 10, 2, 9, -2]),
    ],
)
def test_the_same_key_draws_the_same_for_ever(drawn: Callable[[Draws], int], known: list[int]) -> None:
    """A change here is other noise for tables that are told already: `told.FORMAT` has to change with it."""
    draws = Draws(KEY)
    assert [drawn(draws) for _ in range(6)] == known
