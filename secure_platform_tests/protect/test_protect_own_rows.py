"""Who is taken out of all datasets takes their own rows along and nobody else's, whatever points at what."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from aggregate_examples import aggregate, document, moved
from aggregate_examples import column as measure
from hypothesis import example, given, settings
from hypothesis import strategies as st
from protect_examples import AS_OF, KEYS, column, contract, product

from secure_platform import canonical
from secure_platform.contract.model import Column, Contract, Dependency, Reference, Suppress
from secure_platform.contract.product import Product
from secure_platform.errors import DataRefusedError, PlanRefusedError
from secure_platform.orchestration.steps.rows import leaving
from secure_platform.protect.aggregate import Answer, answered
from secure_platform.protect.compiler import compile_plan
from secure_platform.protect.own_rows import Made, own_rows, require_own_keys, require_undisputed
from secure_platform.protect.plan import Plan
from secure_platform.protect.sensitivity import queries
from secure_platform.source.csv import LINE
from secure_platform.validate.keys import keys_of
from secure_platform.validate.rules import cast_typed, validate

WARDS = ("N", "S", "E")
Row = tuple[str | None, ...]
Database = Mapping[str, Sequence[Row]]


def key(name: str, **more: Any) -> Column:
    return column(name, info_type="RECORD_ID", protect="tokenize", **more)


def refers(name: str, dataset: str, **more: Any) -> Column:
    return column(name, reference=Reference(dataset, "id"), **more)


ID = key("id", primary_key=True)
PERSON = refers("person", "people", subject_id=True)
WARD = column("ward", level="internal", enum=WARDS, protect="keep")
COST = column("cost", "number", level="internal", protect="keep")


def quarantining(dataset: str, *columns: Column, **more: Any) -> Contract:
    body = replace(contract(dataset, *columns), on_invalid="quarantine", max_invalid_ratio=1.0)
    return replace(body, minimum_rows=0, **more)


PEOPLE = quarantining("people", replace(ID, subject_id=True), WARD)
VISITS = quarantining("visits", ID, PERSON, WARD)
CASES = quarantining("cases", ID, PERSON, refers("visit", "visits"), WARD)
ORDERS = quarantining("orders", PERSON, refers("visit", "visits"), refers("case", "cases"), WARD, COST)
ASKED = aggregate(
    source="orders",
    group_by=[{"column": "ward", "partitions": [*WARDS]}],
    contribution={"groups": 2, "rows": 3},
    measures=[
        {"name": "rows", "kind": "rows"},
        {"name": "persons", "kind": "persons"},
        measure("sum", name="sum"),
        measure("mean", name="mean"),
        measure("quantile", name="quantile", at=0.5),
    ],
)


def hospital(*contracts: Contract, source: str = "orders") -> tuple[Product, Plan]:
    """The product with its aggregate, and its plan."""
    told = document(**{**ASKED.model_dump(mode="json", exclude_none=True), "source": source})
    made = replace(product(*contracts, profile="gdpr_pseudonymous"), aggregates=told)
    return made, compile_plan(made, lambda _: 1, AS_OF)


WHOLE = hospital(PEOPLE, VISITS, CASES, ORDERS)
CHOSEN = Suppress(when=canonical.dumps([{"column": "ward", "equals": "E"}]).decode())
STAYING = replace(PEOPLE, suppress=CHOSEN)
SOME_STAY = hospital(STAYING, replace(VISITS, suppress=Suppress(sample=0.5)), CASES, ORDERS)
ONLY_STAY = hospital(STAYING, *(replace(each, on_invalid="refuse") for each in (VISITS, CASES, ORDERS)))
PRODUCTS = st.sampled_from([WHOLE, SOME_STAY, ONLY_STAY])


def released(database: Database, of: tuple[Product, Plan]) -> dict[str, Made]:
    """Every dataset validated and protected, with those that it was made with.

    Raises:
        DataRefusedError: If persons share a key, or rows contradict each other.
    """
    (clinic, plan), made = of, dict[str, Made]()
    for name, each in clinic.contracts.items():
        names = [column.name for column in each.columns]
        text = pl.DataFrame(database.get(name, []), dict.fromkeys(names, pl.String()), orient="row")
        lined = text.with_row_index(LINE, offset=1).cast({LINE: pl.UInt64}).lazy()
        quarantine = validate(each, lined).quarantine.lazy()
        require_undisputed(each, quarantine)
        aside = quarantine.select(LINE)
        person = next(column.name for column in each.columns if column.subject_id)
        invalid = cast_typed(each, lined.join(aside, on=LINE, how="semi"))
        require_own_keys(each, person, invalid, (key.columns for key in keys_of(each)))
        parents = {parent: made[parent] for parent in each.parents}
        valid = cast_typed(each, lined.join(aside, on=LINE, how="anti", maintain_order="left"))
        frames = {parent: found.rows for parent, found in parents.items()}
        rows = leaving(plan.datasets[name], valid, frames, {}, KEYS).kept
        made[name] = Made(name, rows.collect().lazy(), parents)
    return made


def counting(database: Database, of: tuple[Product, Plan] = WHOLE, source: str = "orders") -> pl.DataFrame:
    """The rows that count."""
    clinic, plan = of
    return own_rows(released(database, of)[source], clinic, plan.datasets).collect()


def answer(database: Database, of: tuple[Product, Plan]) -> Answer:
    return answered(ASKED, counting(database, of).lazy(), "person", bytes(32))


def without(database: Database, *persons: str, of: Product = WHOLE[0]) -> Database:
    """The same, with all rows of these persons taken out."""

    def place(dataset: str) -> int:
        columns = of.contracts[dataset].columns
        return next(place for place, each in enumerate(columns) if each.subject_id)

    return {name: [row for row in rows if row[place(name)] not in persons] for name, rows in database.items()}


@st.composite
def databases(draw: st.DrawFn) -> Database:
    """Rows of three persons and of nobody that point at rows of each other and at none."""
    people, wards = st.sampled_from("ABC"), st.sampled_from([*WARDS, "invalid"])
    ids = st.sampled_from([None, "gone", *(f"{person}{n}" for person in "ABC-" for n in (1, 2, 3))])
    owners = st.sampled_from(["A", "B", "C", "C", None])
    costs = st.sampled_from(["-9", "0.5", "4", "99", "nothing", None])

    def listed(*cells: st.SearchStrategy[str | None], most: int = 6) -> list[Row]:
        return draw(st.lists(st.tuples(*cells), max_size=most))

    def keyed(*cells: st.SearchStrategy[str | None]) -> list[Row]:
        # A key of their own: what persons share is refused.
        numbers = st.sampled_from("123")
        return [(f"{row[1] or '-'}{row[0]}", *row[1:]) for row in listed(numbers, owners, *cells)]

    return {
        "people": listed(people, wards, most=4) + [(each, "N") for each in draw(st.sets(people))],
        "visits": keyed(wards),
        "cases": keyed(ids, wards),
        "orders": listed(owners, ids, ids, wards, costs, most=12),
    }


OF_ANOTHER: Database = {
    "people": [("A", "N"), ("B", "N")],
    "visits": [("A1", "A", "N"), ("B1", "B", "N")],
    "cases": [("B1", "B", "A1", "N"), ("B2", "B", "B1", "N")],
    "orders": [("B", None, "B1", "S", "1"), ("B", "B1", "B2", "N", "1"), ("B", None, None, "E", "1")],
}
"""The first order of B goes with a case that goes with the visit of A."""


@settings(max_examples=30, deadline=None)
@given(databases(), PRODUCTS)
@example(OF_ANOTHER, WHOLE)
@example(OF_ANOTHER, ONLY_STAY)
def test_who_is_taken_out_takes_their_own_rows_along_and_nobody_elses(
    database: Database, of: tuple[Product, Plan]
) -> None:
    for source in ("cases", "orders"):
        whole, less = counting(database, of, source), counting(without(database, "A"), of, source)
        alone = counting(without(database, "B", "C"), of, source).filter(pl.col("person").is_not_null())
        nobody = less.filter(pl.col("person").is_null())
        assert nobody.equals(whole.filter(pl.col("person").is_null()), null_equal=True)
        assert Counter(whole.rows()) == Counter(less.rows()) + Counter(alone.rows())
        assert set(whole.rows()) <= set(released(database, of)[source].rows.collect().rows())


@settings(max_examples=60, deadline=None)
@given(databases(), PRODUCTS)
@example(OF_ANOTHER, WHOLE)
@example(OF_ANOTHER, ONLY_STAY)
def test_no_person_moves_a_number_more_than_declared_through_references(
    database: Database, of: tuple[Product, Plan]
) -> None:
    whole, less = answer(database, of), answer(without(database, "A"), of)
    for place, query in enumerate(queries(ASKED)):
        by = moved(whole, less, place)
        assert max(by) <= query.most
        assert sum(each > 0 for each in by) <= ASKED.contribution.groups


def test_what_another_person_holds_up_is_released_and_not_counted() -> None:
    """Without the rule A would take an order of B along: the noise is not made for that."""
    orders = [
        len(released(each, WHOLE)["orders"].rows.collect()) for each in (OF_ANOTHER, without(OF_ANOTHER, "A"))
    ]
    assert orders == [3, 2], "as released, they depend on A"
    both = [counting(each)["ward"].to_list() for each in (OF_ANOTHER, without(OF_ANOTHER, "A"))]
    assert both == [["N", "E"], ["N", "E"]]


@pytest.mark.parametrize(
    ("visit", "case", "counts"),
    [
        (None, None, True),
        ("B1", None, True),
        ("B1", "B2", True),
        ("gone", None, False),
        ("A1", None, False),
        ("-1", None, False),
        ("B1", "B1", False),
        ("A1", "B2", False),
    ],
)
def test_a_row_counts_if_all_that_it_goes_with_is_of_its_person(
    visit: str | None, case: str | None, *, counts: bool
) -> None:
    """Nobody's visit is of no person; the case B1 goes with the visit of A."""
    nobodys: Sequence[Row] = [("-1", None, "N")]
    database = {
        **OF_ANOTHER,
        "visits": [*OF_ANOTHER["visits"], *nobodys],
        "orders": [("B", visit, case, "N", "1")],
    }
    assert len(counting(database)) == counts


@pytest.mark.parametrize(
    ("visits", "shared"),
    [
        ([("A1", "A", "N"), ("A1", "B", "N")], True),
        ([("A1", "A", "N"), ("A1", None, "N")], True),
        ([("A1", "A", "N"), ("A1", "B", "invalid")], True),
        ([("A1", "A", "N"), ("A1", "A", "S")], False),
        ([("A1", "A", "invalid"), ("B1", "B", "invalid")], False),
    ],
)
def test_persons_who_share_a_key_are_refused(visits: list[Row], *, shared: bool) -> None:
    database = {**OF_ANOTHER, "visits": visits}
    if shared:
        with pytest.raises(DataRefusedError, match=r"several persons in visits have one id"):
            counting(database)
    else:
        counting(database)


DETERMINED = replace(ORDERS, dependencies=(Dependency(("ward",), ("cost",)),))


@pytest.mark.parametrize(
    "contracts",
    [
        (PEOPLE, VISITS, CASES, DETERMINED),
        (PEOPLE, replace(VISITS, dependencies=(Dependency(("ward",), ("person",)),)), CASES, ORDERS),
    ],
    ids=["its own", "those that it goes with"],
)
def test_rows_that_a_majority_sets_aside_are_refused(contracts: Sequence[Contract]) -> None:
    """One person more or less may turn a majority, and with it the rows of all others."""
    of = hospital(*contracts)
    undisputed: Database = {
        "people": OF_ANOTHER["people"],
        "visits": [("A1", "A", "N"), ("B1", "B", "S")],
        "orders": [("B", "B1", None, "S", "1"), ("B", "B1", None, "S", "1")],
    }
    assert len(counting(undisputed, of)) == 2
    disputed: Database = {
        **undisputed,
        "visits": [*undisputed["visits"], ("B2", "B", "N"), ("B3", "B", "N")],
        "orders": [*undisputed["orders"], ("A", "A1", None, "S", "4")],
    }
    with pytest.raises(DataRefusedError, match="contradict what other rows say"):
        counting(disputed, of)


def test_a_key_that_names_its_person_is_shared_with_nobody() -> None:
    counting({**OF_ANOTHER, "people": [("A", "N"), ("A", "S"), ("B", "N")]})


STAFF = quarantining("staff", replace(ID, subject_id=True), WARD)
OTHERS = {
    "a visit of a member of the staff, whose ids may be the same": (
        [STAFF, quarantining("visits", ID, refers("person", "staff", subject_id=True), WARD)],
        CASES,
    ),
    "a visit that names nobody": ([quarantining("visits", ID, WARD)], CASES),
    "a visit whose person has another token": (
        [quarantining("visits", ID, key("person", subject_id=True, token_domain="other"), WARD)],
        CASES,
    ),
    "a visit whose person is dropped": (
        [replace(VISITS, columns=(ID, replace(PERSON, protect=column("x", protect="drop").protect), WARD))],
        CASES,
    ),
    "another person": ([VISITS], replace(CASES, columns=(*CASES.columns, refers("doctor", "people")))),
    "a row of the same dataset": (
        [VISITS],
        replace(CASES, columns=(*CASES.columns, refers("after", "cases"))),
    ),
    "nobody's own case": (
        [VISITS],
        replace(CASES, columns=tuple(each for each in CASES.columns if each is not PERSON)),
    ),
    "a visit of whoever the visit before was of": (
        [replace(VISITS, columns=(*VISITS.columns, refers("before", "visits")))],
        CASES,
    ),
}


@pytest.mark.parametrize("points_at", OTHERS)
def test_what_cannot_be_known_to_be_of_the_same_person_is_refused_with_the_plan(points_at: str) -> None:
    parents, cases = OTHERS[points_at]
    with pytest.raises(PlanRefusedError, match=r"whose rows go when \w+ has no such row"):
        hospital(PEOPLE, *parents, cases, ORDERS)


@pytest.mark.parametrize(
    "changes",
    [
        {"suppress": Suppress(k=2)},
        {"suppress": Suppress(k=2, l=2, sensitive=("cost",))},
    ],
)
def test_rows_that_stay_behind_for_everybody_are_refused_with_the_plan(changes: Mapping[str, Any]) -> None:
    grouped = replace(WARD, name="place", quasi_identifier=True)
    visits = replace(VISITS, columns=(*VISITS.columns, grouped, COST), **changes)
    with pytest.raises(PlanRefusedError, match="stay behind for k or l"):
        hospital(PEOPLE, visits, CASES, ORDERS)


def test_where_what_is_invalid_is_refused_nothing_has_to_be_of_the_same_person() -> None:
    """The build stops, so no row goes; and no row is left uncounted."""
    refusing = replace(ORDERS, on_invalid="refuse", columns=(*ORDERS.columns, refers("doctor", "people")))
    of = hospital(PEOPLE, replace(VISITS, on_invalid="refuse"), replace(CASES, on_invalid="refuse"), refusing)
    database = {**OF_ANOTHER, "orders": [("B", "A1", "B1", "N", "1", "A")]}
    assert len(counting(database, of)) == 1
