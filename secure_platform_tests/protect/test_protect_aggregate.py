"""No person moves the numbers of an aggregate more than was declared, and noise hides what they move."""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import polars as pl
import pytest
from aggregate_examples import aggregate, column, moved
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from secure_platform.contract.aggregates import Aggregate
from secure_platform.keys.material import TokenKey
from secure_platform.protect.aggregate import Answer, answered
from secure_platform.protect.sensitivity import (
    groups_of_a_person,
    noise_of,
    queries,
    threshold,
)
from secure_platform.protect.told import errors, identity, told

KEY = TokenKey(1, bytes(range(32)))
SCHEMA = pl.Schema({"person": pl.String, "ward": pl.String, "cost": pl.Float64})
COSTS = st.one_of(
    st.none(),
    st.floats(-10, 10),
    st.sampled_from([math.nan, math.inf, -math.inf, 1e308, -1e308, 5e-324, 0.25, 0.75]),
)
ROWS = st.lists(st.tuples(st.sampled_from("ABC"), st.sampled_from(["N", "S", "E", None]), COSTS), max_size=40)
Row = tuple[str | None, str | None, float | None]
ALL = aggregate(
    group_by=[{"column": "ward", "partitions": ["N", "S", "E"]}],
    contribution={"groups": 2, "rows": 3},
    measures=[
        {"name": "rows", "kind": "rows"},
        {"name": "persons", "kind": "persons"},
        column("sum", name="sum"),
        column("mean", name="mean"),
        column("quantile", name="quantile", at=0.5),
    ],
)


def count(asked: Aggregate, rows: Sequence[Row]) -> Answer:
    return answered(asked, pl.LazyFrame(rows, SCHEMA, orient="row"), "person", KEY.key)


def tell(asked: Aggregate, rows: Sequence[Row], digest: str = "d", key: TokenKey = KEY) -> pl.DataFrame:
    answer = count(asked, rows)
    return told(asked, answer, SCHEMA, key, identity("p", asked, digest, answer))


def key_of(number: int) -> TokenKey:
    return TokenKey(1, number.to_bytes(32))


def often(asked: Aggregate, rows: Sequence[Row], times: int, digest: str = "d") -> list[pl.DataFrame]:
    """The table under as many keys."""
    answer = count(asked, rows)
    identified = identity("p", asked, digest, answer)
    return [told(asked, answer, SCHEMA, key_of(n + 1), identified) for n in range(times)]


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_one_person_moves_no_query_more_than_declared(rows: list[Row]) -> None:
    whole, less = count(ALL, rows), count(ALL, [row for row in rows if row[0] != "A"])
    assert whole.groups == less.groups == (("N",), ("S",), ("E",))
    for place, query in enumerate(queries(ALL)):
        by = moved(whole, less, place)
        assert max(by) <= query.most
        assert sum(each > 0 for each in by) <= ALL.contribution.groups


def test_what_is_declared_is_reached_so_no_noise_is_wasted() -> None:
    most = [(("A"), ward, math.inf) for ward in "NSE" for _ in range(9)]
    answer = count(ALL, most)
    for place, query in enumerate(queries(ALL)):
        by = [sum(map(abs, row[place])) for row in answer.numbers]
        assert sorted(by) == [0, query.most, query.most]


@settings(max_examples=25, deadline=None)
@given(ROWS, st.randoms(use_true_random=False))
def test_neither_the_order_of_rows_nor_anybody_else_decides_which_of_a_person_count(
    rows: list[Row], random: Any
) -> None:
    mixed = list(rows)
    random.shuffle(mixed)
    assert count(ALL, mixed) == count(ALL, rows)
    alone, others = ([row for row in rows if (row[0] == "A") is is_a] for is_a in (True, False))
    added = [
        [[a + b for a, b in zip(x, y, strict=True)] for x, y in zip(one, two, strict=True)]
        for one, two in zip(count(ALL, alone).numbers, count(ALL, others).numbers, strict=True)
    ]
    assert added == [[list(each) for each in row] for row in count(ALL, rows).numbers]


def test_a_row_without_a_person_counts_nowhere() -> None:
    assert count(aggregate(), [(None, "N", 1.0), ("A", None, 1.0), ("A", "X", 1.0)]).numbers == (
        ((0,),),
        ((0,),),
    )


@pytest.mark.parametrize(
    ("kind", "rows", "known"),
    [
        ("sum", [1.0, 2.3, 99.0, -99.0, math.nan, None, math.inf], 1.0 + 2.5 + 5 - 2 + 5),
        ("mean", [1.0, 2.0, math.nan, None], 1.5),
        ("quantile", [0.0, 1.0, 1.0, 4.0, 99.0], 1.0),
    ],
)
def test_numbers_are_rounded_to_the_step_within_the_limits(
    kind: str, rows: list[float | None], known: float
) -> None:
    asked = aggregate(
        measures=[column(kind, **({"at": 0.5} if kind == "quantile" else {}))],
        epsilon=100.0,
        contribution={"groups": 1, "rows": 1},
    )
    people: list[Row] = [(f"{n}-{m}", "N", cost) for m in range(400) for n, cost in enumerate(rows)]
    value = tell(asked, people)["m"][0]
    assert value / (400 if kind == "sum" else 1) == pytest.approx(known, abs=0.05)


def test_made_again_it_is_the_same_and_of_another_input_it_is_not() -> None:
    rows: list[Row] = [(str(n), "N", 1.0) for n in range(50)]
    first = tell(aggregate(epsilon=0.01), rows)
    assert first.equals(tell(aggregate(epsilon=0.01), rows))
    assert first.equals(tell(aggregate(epsilon=0.01, description="other words"), rows))
    assert not first.equals(tell(aggregate(epsilon=0.01), rows, digest="e")), "another input"
    assert not first.equals(tell(aggregate(epsilon=0.01, name="other"), rows)), "another name"
    assert not first.equals(tell(aggregate(epsilon=0.01), rows, key=key_of(7))), "another key"


def test_no_table_tells_the_noise_of_another() -> None:
    """What is subtracted has noise of its own: the difference of two releases has that of both."""
    one, two = ([(str(n), "N", 1.0) for n in range(size)] for size in (30, 29))
    asked = aggregate(epsilon=1.0)
    tables = zip(often(asked, one, 1500, "a"), often(asked, two, 1500, "b"), strict=True)
    apart = [first["visits"][0] - second["visits"][0] for first, second in tables]
    deviation = errors(asked)[0].deviation
    mean = sum(apart) / len(apart)
    variance = sum((each - mean) ** 2 for each in apart) / len(apart)
    assert variance == pytest.approx(2 * deviation**2, rel=0.25)


AUDITS = 4_000


def least_epsilon(asked: Aggregate, claimed_by: Aggregate) -> float:
    """A lower bound of the true epsilon, wrong once in a million times.

    The tables of a person alone, and of nobody, are told many times with other keys; how often the number
    lies above a threshold tells how far apart they are (Jagielski, Ullman and Oprea 2020).
    """
    with_one: list[Row] = [("A", "N", 5.0)] * 9
    without: list[Row] = []
    told_with, told_without = (
        [each["m"][0] for each in often(asked, rows, AUDITS, side)]
        for side, rows in (("with", with_one), ("without", without))
    )
    found = 0.0
    most = max(query.most for query in queries(claimed_by))
    for limit in (0, most / 4, most / 2, most):
        high = sum(each > limit for each in told_with) / AUDITS
        low = sum(each > limit for each in told_without) / AUDITS
        margin = math.sqrt(math.log(1e6) / (2 * AUDITS))
        if high > margin:
            found = max(found, math.log((high - margin) / (low + margin)))
    return found


def test_nobody_can_tell_more_than_epsilon_and_an_audit_finds_who_promises_too_much() -> None:
    one = {"column": "cost", "name": "m", "kind": "sum", "lowest": 0, "highest": 5, "step": 1}
    honest = aggregate(measures=[one], epsilon=1.0, contribution={"groups": 1, "rows": 3})
    assert 0.4 < least_epsilon(honest, honest) <= 1.0
    # Noise that is three times too small: as if the limit were not counted in.
    assert least_epsilon(honest.model_copy(update={"epsilon": 3.0}), honest) > 1.0


def test_epsilon_and_rho_are_divided_among_the_queries() -> None:
    first, *_ = queries(ALL)
    groups, rows, asked = 2, 3, 6
    assert len(queries(ALL)) == asked, "a mean is a sum and a count"
    assert noise_of(ALL, first).scale == Fraction(groups * rows * asked)
    tuned = ALL.model_copy(update={"epsilon": None, "rho": 0.5})
    assert noise_of(tuned, first).variance == Fraction(groups * rows**2 * asked, 1)


def test_a_person_is_in_no_more_groups_than_are_declared() -> None:
    assert groups_of_a_person(aggregate(contribution={"groups": 99, "rows": 1})) == 2
    assert groups_of_a_person(aggregate(group_by=[], contribution={"groups": 99, "rows": 1})) == 1


@pytest.mark.parametrize("delta", [1e-3, 1e-6, 1e-12])
@pytest.mark.parametrize("groups", [1, 5])
@pytest.mark.parametrize("epsilon", [0.1, 1.0, 20.0])
def test_groups_of_one_person_are_told_with_a_chance_of_delta(
    delta: float, groups: int, epsilon: float
) -> None:
    asked = aggregate(
        group_by=[{"column": "ward"}],
        delta=delta,
        epsilon=epsilon,
        contribution={"groups": groups, "rows": 1},
    )
    (query,) = (each for each in queries(asked) if each.kind == "persons")
    share = math.exp(-1 / float(noise_of(asked, query).scale or 1))

    def chance(least: int) -> float:
        return groups * share ** (least - 1) / (1 + share)

    assert chance(threshold(asked)) <= delta
    assert threshold(asked) == 2 or chance(threshold(asked) - 1) > delta * (1 - 1e-6), "and no higher"


def test_only_groups_of_many_are_told_where_none_are_declared() -> None:
    asked = aggregate(group_by=[{"column": "ward"}], delta=1e-4, contribution={"groups": 1, "rows": 1})
    rows: list[Row] = [
        (f"{ward}{n}", ward, 1.0) for ward, size in (("N", 200), ("S", 1)) for n in range(size)
    ]
    assert {tuple(each["ward"]) for each in often(asked, rows, 300)} == {("N",)}


@pytest.mark.parametrize(
    ("values", "partitions", "dtype"),
    [
        (["N", "S"], ["S", "X"], pl.String()),
        ([1, 2], [2, 7], pl.Int64()),
        ([1, 2], [2, 7], pl.Int32()),
        ([True, False], [False, True], pl.Boolean()),
        (["2024-01-31", "2024-02-01"], ["2024-02-01", "1999-12-31"], pl.Date()),
    ],
)
def test_groups_are_declared_in_the_type_of_their_column(
    values: list[Any], partitions: list[Any], dtype: pl.DataType
) -> None:
    asked = aggregate(group_by=[{"column": "ward", "partitions": partitions}], epsilon=100.0)
    typed = pl.Series(values).str.to_date() if dtype == pl.Date() else pl.Series(values, dtype=dtype)
    frame = pl.DataFrame({"person": ["A", "B"], "ward": typed})
    answer = answered(asked, frame.lazy(), "person", KEY.key)
    table = told(asked, answer, frame.schema, KEY, identity("p", asked, "d", answer))
    assert table["ward"].dtype == dtype
    assert [str(value).lower() for value in table["ward"]] == [str(value).lower() for value in partitions]
    assert [row[0][0] for row in answer.numbers] == [int(value in values) for value in partitions]


def test_what_to_expect_depends_on_the_declaration_alone() -> None:
    said: Mapping[str, float] = {error.measure: error.deviation for error in errors(ALL)}
    assert set(said) == {"rows", "persons", "sum", "mean", "quantile"}
    (error,) = errors(aggregate(epsilon=0.1))
    drawn = [each["visits"][0] - 1 for each in often(aggregate(epsilon=0.1), [("A", "N", 1.0)], 1500)]
    assert math.sqrt(sum(each**2 for each in drawn) / len(drawn)) == pytest.approx(error.deviation, rel=0.15)
    assert sum(abs(each) <= error.within for each in drawn) / len(drawn) == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize("rows", [1, 10_000])
def test_the_least_that_can_be_declared_is_told_with_the_noise_it_says(rows: int) -> None:
    asked = aggregate(
        group_by=[{"column": "ward"}],
        epsilon=1e-6,
        delta=1e-18,
        contribution={"groups": 10_000, "rows": rows},
        measures=[column("sum", lowest=-1e9, highest=1e9, step=1)],
    )
    (error, _) = errors(asked)
    scale = noise_of(asked, queries(asked)[0]).scale
    assert scale is not None
    assert error.deviation == pytest.approx(math.sqrt(2) * float(scale), rel=1e-9)
    assert math.isfinite(error.within)
    assert threshold(asked) > 1e10


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"epsilon": 9e-7}, "epsilon"),
        ({"epsilon": 1e-320}, "epsilon"),
        ({"epsilon": None, "rho": 9e-7}, "rho"),
        ({"group_by": [{"column": "ward"}], "delta": 9e-19}, "delta"),
    ],
)
def test_less_than_can_be_told_cannot_be_declared(changes: Mapping[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=f"(?m)^{named}$"):
        aggregate(**changes)
