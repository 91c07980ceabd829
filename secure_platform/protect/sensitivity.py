"""How far one person can move the numbers of an aggregate, and the noise that hides it.

Two datasets are neighbours if one of them has one whole person more. That person is in G groups, with R rows
in each. If a row moves a number by at most `most` steps, the person moves one group by R·most, and all groups
together by G·R·most (L1) and √G·R·most (L2). Epsilon, or rho, is divided evenly among the queries.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from secure_platform.contract.aggregates import Aggregate, Measure, exact

PERSONS: Final = "persons"
"""The query that decides whether a group that is not declared is told."""
LIKELY: Final = 0.95


@dataclass(frozen=True)
class Query:
    """Whole numbers of each group that noise is added to.

    Attributes:
        name: Of the query within its aggregate.
        measure: Whose it is; None for the one that only decides what is told.
        kind: `rows`, `given` (rows with a value), `persons`, `sum`, `centred` (twice the value less both
            limits) or `bins` (rows at each step).
        most: How far one person moves one group, in all its numbers of this query together.
        numbers: How many numbers it has in each group.
    """

    name: str
    measure: Measure | None
    kind: str
    most: int
    numbers: int = 1


@dataclass(frozen=True)
class Noise:
    """The noise of one query: discrete Laplace of a scale, or discrete Gaussian of a variance."""

    scale: Fraction | None
    variance: Fraction | None

    @property
    def deviation(self) -> float:
        """Its standard deviation: exactly that of Laplace, and at most that of Gaussian."""
        if self.variance is not None:
            return math.sqrt(self.variance)
        rate = 1 / float(self.scale or 1)
        return math.sqrt(2 * math.exp(-rate)) / -math.expm1(-rate)

    @property
    def within(self) -> int:
        """What it does not exceed in 95 of 100 cases, either way."""
        if self.variance is not None:
            return math.ceil(1.96 * self.deviation)
        scale = float(self.scale or 1)
        share = math.exp(-1 / scale)
        # P(|x| > m) = 2 share^(m + 1) / (1 + share)
        return max(0, math.ceil(scale * math.log(2 / ((1 - LIKELY) * (1 + share))) - 1))


def queries(aggregate: Aggregate) -> tuple[Query, ...]:
    """What is asked of the data for the measures of an aggregate."""
    asked = [query for measure in aggregate.measures for query in _queries(measure, aggregate)]
    counted = any(query.kind == PERSONS for query in asked)
    if aggregate.declared or counted:
        return tuple(asked)
    return (*asked, Query(PERSONS, None, PERSONS, 1))


def groups_of_a_person(aggregate: Aggregate) -> int:
    """In how many groups a person can be."""
    if not aggregate.declared:
        return aggregate.contribution.groups
    declared = math.prod(len(group.partitions or ()) for group in aggregate.group_by)
    return min(aggregate.contribution.groups, declared)


def noise_of(aggregate: Aggregate, query: Query) -> Noise:
    """The noise that a query gets."""
    groups, count = groups_of_a_person(aggregate), len(queries(aggregate))
    if aggregate.epsilon is not None:
        return Noise(groups * query.most / (exact(aggregate.epsilon) / count), None)
    # Bun and Steinke 2016, proposition 1.6: variance v is (d²/2v)-zCDP for L2 sensitivity d.
    rho = exact(aggregate.rho or 0) / count
    return Noise(None, groups * query.most**2 / (2 * rho))


def threshold(aggregate: Aggregate) -> int:
    """The fewest persons, noise included, with which a group that is not declared is told.

    A group that nobody but one person is in is told with a chance of P(1 + x ≥ T) = a^(T-1) / (1 + a), where
    a = e^(-1/scale); one person makes at most G such groups, and all of them together may have delta.
    """
    (query,) = (each for each in queries(aggregate) if each.kind == PERSONS)
    scale = float(noise_of(aggregate, query).scale or 1)
    groups, share = groups_of_a_person(aggregate), math.exp(-1 / scale)
    least = scale * math.log(groups / (float(aggregate.delta) * (1 + share)))
    # Rounded against us: the float may be a little less than the logarithm.
    return 1 + max(1, math.ceil(least * (1 + 1e-9)))


def _queries(measure: Measure, aggregate: Aggregate) -> Iterator[Query]:
    rows, (lowest, highest) = aggregate.contribution.rows, measure.bounds
    match measure.kind:
        case "rows":
            yield Query(measure.name, measure, "rows", rows)
        case "persons":
            yield Query(measure.name, measure, PERSONS, 1)
        case "sum":
            yield Query(measure.name, measure, "sum", rows * max(abs(lowest), abs(highest)))
        case "mean":
            yield Query(f"{measure.name} centred", measure, "centred", rows * (highest - lowest))
            yield Query(f"{measure.name} given", measure, "given", rows)
        case "quantile":
            yield Query(measure.name, measure, "bins", rows, highest - lowest + 1)
