"""The published numbers of an aggregate: its exact numbers with noise, and what follows from these alone.

A key derives the noise from everything that the aggregate is made of: its declaration, its input and its
exact numbers. The same aggregate has the same noise again, so no number of runs averages it away; and a
different one has noise of its own, so no difference of two cancels it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import polars as pl

from secure_platform import canonical
from secure_platform.contract.aggregates import Aggregate, Measure, exact
from secure_platform.keys.material import TokenKey, hmac_sha256
from secure_platform.protect.aggregate import Answer
from secure_platform.protect.discrete import Draws
from secure_platform.protect.sensitivity import PERSONS, Noise, Query, noise_of, queries, threshold

FORMAT: Final = 1
"""Of the arithmetic: another one has other noise."""
_ORDER: Final = b"order"
_NOISE: Final = b"noise\0"
_NOISED: Final = {"centred": "the sum", "bins": "the rows at each step"}


@dataclass(frozen=True)
class Error:
    """What to expect of a number that is told.

    Attributes:
        measure: Its name.
        of: What the noise is added to: of a mean its sum, of a quantile the rows at each step.
        deviation: Standard deviation of the noise, in the unit of that.
        within: What the noise does not exceed in 95 of 100 groups.
    """

    measure: str
    of: str
    deviation: float
    within: float

    def to_json(self) -> dict[str, str]:
        """As a verdict holds it."""
        return {"of": self.of, "deviation": f"{self.deviation:.4g}", "within_95": f"{self.within:.4g}"}


def noise_domain(product: str) -> str:
    """The token domain whose key draws the noise of a product."""
    return f"aggregate:{product}"


def order_key(key: TokenKey) -> bytes:
    """The key that orders the rows of each person."""
    return hmac_sha256(key.key, _ORDER)


def identity(product: str, aggregate: Aggregate, input_digest: str, answer: Answer) -> str:
    """What noise and spending depend on; it shows the data, so it is only ever hashed with a key.

    Args:
        product: The data product.
        aggregate: What is asked.
        input_digest: Of the whole dataset, or of all it is made of: whatever changed, the noise is another.
        answer: The true numbers: should the arithmetic change, the noise is another too.
    """
    declared = aggregate.model_dump(mode="json", exclude={"description"})
    body = [FORMAT, product, declared, input_digest, answer.to_json()]
    return canonical.dumps(body).decode()


def told(
    aggregate: Aggregate, answer: Answer, schema: pl.Schema, key: TokenKey, identity: str
) -> pl.DataFrame:
    """The table as it is released.

    Args:
        aggregate: What is asked.
        answer: The true numbers.
        schema: Of the dataset.
        key: Of the product's noise.
        identity: See `identity`.
    """
    draws = Draws(hmac_sha256(key.key, _NOISE + identity.encode()))
    asked = queries(aggregate)
    noise = [noise_of(aggregate, query) for query in asked]
    noisy = [
        {
            query.name: [number + _drawn(draws, each) for number in numbers]
            for query, each, numbers in zip(asked, noise, row, strict=True)
        }
        for row in answer.numbers
    ]
    rows = list(zip(answer.groups, noisy, strict=True))
    if not aggregate.declared:
        least, (counted,) = threshold(aggregate), (each.name for each in asked if each.kind == PERSONS)
        rows = [(group, numbers) for group, numbers in rows if numbers[counted][0] >= least]
    columns: dict[str, pl.Series] = {
        each.column: pl.Series([group[n] for group, _ in rows], dtype=schema[each.column])
        for n, each in enumerate(aggregate.group_by)
    }
    for measure in aggregate.measures:
        columns[measure.name] = _column(measure, [numbers for _, numbers in rows])
    return pl.DataFrame(columns)


def errors(aggregate: Aggregate) -> list[Error]:
    """What to expect of every measure; it depends on the declaration alone."""
    return [_error(aggregate, query) for query in queries(aggregate) if query.kind != "given"]


def _error(aggregate: Aggregate, query: Query) -> Error:
    noise, unit = noise_of(aggregate, query), Fraction(1)
    if query.measure is not None and query.kind in {"sum", "centred"}:
        unit = exact(query.measure.step or 1) / (2 if query.kind == "centred" else 1)
    name, of = query.measure.name if query.measure else query.name, _NOISED.get(query.kind, "the number")
    return Error(name, of, noise.deviation * float(unit), noise.within * float(unit))


def _drawn(draws: Draws, noise: Noise) -> int:
    if noise.variance is not None:
        return draws.gaussian(noise.variance) if noise.variance else 0
    return draws.laplace(noise.scale) if noise.scale else 0


def _column(measure: Measure, rows: Sequence[Mapping[str, Sequence[int]]]) -> pl.Series:
    step = exact(measure.step or 1)
    match measure.kind:
        case "mean":
            return pl.Series([_mean(measure, row) for row in rows], dtype=pl.Float64())
        case "quantile":
            values: list[Any] = [_quantile(measure, row[measure.name]) * step for row in rows]
        case _:
            values = [row[measure.name][0] * step for row in rows]
    if step.denominator == 1:
        return pl.Series([int(value) for value in values], dtype=pl.Int64())
    return pl.Series([float(value) for value in values], dtype=pl.Float64())


def _mean(measure: Measure, row: Mapping[str, Sequence[int]]) -> float | None:
    """The centre and how far off it the values are; None where hardly anybody is."""
    lowest, highest = measure.bounds
    count = row[f"{measure.name} given"][0]
    if count < 1:
        return None
    mean = Fraction(row[f"{measure.name} centred"][0], 2 * count) + Fraction(lowest + highest, 2)
    return float(min(max(mean, Fraction(lowest)), Fraction(highest)) * exact(measure.step or 1))


def _quantile(measure: Measure, bins: Sequence[int]) -> int:
    """The first step at which the share of the rows is reached."""
    lowest, highest = measure.bounds
    wanted, below = exact(measure.at or 0.5) * sum(bins), 0
    for place, count in enumerate(bins):
        below += count
        if below >= wanted > 0:
            return lowest + place
    return (lowest + highest) // 2
