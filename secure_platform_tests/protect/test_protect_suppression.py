"""Rows stay behind as the contract says: none that stands out is let out, no other is missing."""

from collections import Counter
from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from protect_examples import AS_OF, KEYS, column, compiled, contract, product, typed

from secure_platform import canonical
from secure_platform.contract.model import Column, Contract, Protect, Reference, Suppress
from secure_platform.contract.place import Place
from secure_platform.contract.suppress import read_suppress
from secure_platform.errors import ContractError, PlanRefusedError
from secure_platform.protect.anonymity import measured
from secure_platform.protect.changes import WEAKER, changes
from secure_platform.protect.compiler import compile_plan
from secure_platform.protect.execute import apply
from secure_platform.protect.plan import Plan
from secure_platform.protect.suppression import Suppression, chosen, in_large_classes

FREE = "gdpr_pseudonymous"
ID = column("id", "integer", primary_key=True, level="public", protect="keep")
PLACE = column("place", level="public", quasi_identifier=True)
AGE = column("age", "integer", level="public", quasi_identifier=True)
ILL = column("ill", level="public")
COLUMNS = (ID, PLACE, AGE, ILL)


def people(*columns: Column, **rows: Any) -> Contract:
    return replace(contract("people", *(columns or COLUMNS)), suppress=Suppress(**rows))


def rule(*columns: Column, profile: str = FREE, **rows: Any) -> Suppression:
    found = compiled(people(*columns, **rows), profile=profile).datasets["people"].suppression
    assert found is not None
    return found


def refusal(*columns: Column, profile: str = FREE, **rows: Any) -> str:
    with pytest.raises(PlanRefusedError) as caught:
        compiled(people(*columns, **rows), profile=profile)
    return str(caught.value)


def when(*conditions: dict[str, Any]) -> str:
    return canonical.dumps(list(conditions)).decode()


def frame(rows: list[tuple[Any, ...]]) -> pl.LazyFrame:
    values = {each.name: [row[place] for row in rows] for place, each in enumerate(COLUMNS)}
    return typed(COLUMNS, values)


# --- conditions and samples


def test_rows_that_a_condition_names_stay_behind() -> None:
    rows = [(1, "a", 17, "x"), (2, "a", 18, "x"), (3, "a", None, "x")]
    found = chosen(rule(when=when({"column": "age", "below": 18})), frame(rows), KEYS).collect()
    assert found["id"].to_list() == [2, 3], "an unknown age meets no condition"


def test_a_sample_goes_by_the_primary_key_and_the_key_alone() -> None:
    rows = [(number, "a", number, "x") for number in range(4000)]
    tenth, half = (rule(sample=share) for share in (0.1, 0.5))
    first = chosen(tenth, frame(rows), KEYS).collect()["id"].to_list()
    assert 300 < len(first) < 500
    assert chosen(tenth, frame(rows[::-1]), KEYS).collect()["id"].to_list() == first[::-1]
    assert set(first) < set(chosen(half, frame(rows), KEYS).collect()["id"])
    other = replace(tenth, token_version=2)
    assert set(chosen(other, frame(rows), KEYS).collect()["id"]) != set(first)


def test_the_number_of_rows_that_stay_behind_tells_of_no_person_what_is_hidden() -> None:
    """Who is named by one condition would have what the other says, or not."""
    ill = column("sick", level="restricted", protect="drop")
    who = column("who", subject_id=True, info_type="RECORD_ID")
    both = {"column": "who", "equals": "p17"}, {"column": "sick", "equals": "yes"}
    for hidden in ((who, ill), (who, ILL), (ID, ill)):
        conditions = when(*({"column": each.name, "is_null": False} for each in hidden))
        assert "leaves rows behind by several columns" in refusal(ID, who, ill, ILL, when=conditions)
    for one in both:
        assert rule(ID, who, ill, when=when(one)).when, "by one column alone rows may always stay behind"
    open_ = when({"column": "age", "below": 18}, {"column": "place", "equals": "a"})
    assert rule(when=open_).when == open_


# --- k and l


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", None]),
        st.sampled_from([1, 2, None]),
        st.sampled_from(["x", "y", "z", None]),
    ),
    max_size=40,
)


@example(rows=[(None, None, "x")] * 2, k=2, diverse=1)
@given(rows=ROWS, k=st.integers(1, 5), diverse=st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_what_is_left_has_k_and_l_and_nothing_else_is_missing(
    rows: list[tuple[Any, ...]], k: int, diverse: int
) -> None:
    asked = rule(k=k, l=diverse, sensitive=("ill",) if diverse > 1 else ())
    given_rows = [(place, *row) for place, row in enumerate(rows)]
    left = in_large_classes(asked, frame(given_rows)).collect(engine="streaming").rows()
    sizes = Counter(row[1:3] for row in given_rows)
    values = {key: {row[3] for row in given_rows if row[1:3] == key} - {None} for key in sizes}
    expected = [
        row
        for row in given_rows
        if sizes[row[1:3]] >= k and (diverse == 1 or len(values[row[1:3]]) >= diverse)
    ]
    assert left == expected


def test_rows_of_one_subject_count_once() -> None:
    who = column("who", level="confidential", subject_id=True)
    asked = rule(ID, who, PLACE, k=2)
    assert asked.subject == "who"
    rows = pl.LazyFrame({"id": [1, 2, 3, 4], "who": ["p", "p", "q", "r"], "place": ["a", "a", "b", "b"]})
    assert in_large_classes(asked, rows).collect()["id"].to_list() == [3, 4]
    keyed = column("who", subject_id=True, primary_key=True)
    assert rule(keyed, PLACE, k=2).subject is None, "one row each"


def test_nobody_is_no_subject() -> None:
    asked = rule(ID, column("who", subject_id=True), PLACE, k=2)
    rows = pl.LazyFrame(
        {"id": range(5), "who": ["p", None, None, "q", "r"], "place": ["a", "a", "a", "b", "b"]}
    )
    kept = in_large_classes(asked, rows)
    assert kept.collect()["id"].to_list() == [3, 4]
    assert measured(rows, rows, rows, ["place"], subject="who").k == 1


@pytest.mark.parametrize(
    "protect",
    [
        {"transform": "encrypt", "mode": "randomized"},
        {"transform": "noise", "amount": 5},
        {
            "transform": "conditional",
            "when": {"column": "place", "equals": "a"},
            "then": "tokenize",
            "otherwise": {"transform": "encrypt", "mode": "randomized"},
        },
    ],
)
def test_who_or_what_comes_out_different_in_each_row_is_not_counted(protect: Any) -> None:
    kind = "integer" if protect["transform"] == "noise" else "string"
    who = column("who", kind, level="public", subject_id=True, protect=protect)
    assert "people is to have k subjects in each class, and who" in refusal(ID, who, PLACE, k=3)
    ill = column("ill", kind, level="public", protect=protect)
    assert "people.ill is to have l values in each class" in refusal(
        ID, PLACE, ill, k=2, l=2, sensitive=("ill",)
    )
    assert rule(ID, who, PLACE, sample=0.5).subject is None, "nobody is counted"


def test_what_is_sealed_for_its_person_is_no_sensitive_value() -> None:
    """The same illness of two people comes out different."""
    sealed = {"transform": "encrypt", "mode": "deterministic", "key": "subject"}
    ill = column("ill", protect=sealed)
    who = column("who", subject_id=True, required=True)
    assert "people.ill is to have l values" in refusal(ID, who, PLACE, ill, k=2, l=2, sensitive=("ill",))


def test_a_foreign_key_that_leads_to_a_person_names_them() -> None:
    """`erase` knows whom such a row is about, and so does k."""
    people_ = contract("people", column("Id", info_type="RECORD_ID", primary_key=True, subject_id=True))
    key = column("who", reference=Reference("people", "Id"))

    def visits(*columns: Column) -> Contract:
        return replace(contract("visits", ID, PLACE, *columns), suppress=Suppress(k=2))

    found = compiled(people_, visits(key), profile=FREE).datasets["visits"].suppression
    assert found is not None
    assert found.subject == "who"
    for column_, said in ((replace(key, protect=Protect("drop")), "who is dropped"), (key, "name one")):
        more = (replace(key, name="other"),) if said == "name one" else ()
        with pytest.raises(PlanRefusedError, match=said):
            compiled(people_, visits(column_, *more), profile=FREE)
    marked = replace(key, name="other", subject_id=True)
    found = compiled(people_, visits(key, marked), profile=FREE).datasets["visits"].suppression
    assert found is not None
    assert found.subject == "other", "whom the rows are about, the contract says"


def test_a_profile_can_ask_for_more_than_the_contract_and_never_for_less() -> None:
    assert rule(profile="census", k=3).k == 5
    assert rule(profile="census", k=7).k == 7
    plain = compiled(contract("people", *COLUMNS), profile="census").datasets["people"].suppression
    assert plain is not None
    assert (plain.k, plain.quasi, plain.at_most) == (5, ("place", "age"), 1.0)
    assert compiled(contract("people", ID, ILL), profile="census").datasets["people"].suppression is None
    assert compiled(contract("people", *COLUMNS), profile=FREE).datasets["people"].suppression is None


def test_a_profile_that_asks_for_k_passes_over_no_dataset_that_tells_of_people() -> None:
    salary = column("salary", "integer", level="internal", protect="keep")
    person = column("who", info_type="RECORD_ID", primary_key=True)
    said = "census asks for k=5, and no quasi-identifier leaves people"
    with pytest.raises(PlanRefusedError, match=said) as caught:
        compiled(contract("people", person, salary), profile="census")
    assert "`quasiIdentifier: true`" in str(caught.value)
    dropped = replace(PLACE, protect=column("x", protect="drop").protect)
    with pytest.raises(PlanRefusedError, match=said):
        compiled(contract("people", person, dropped, salary), profile="census")
    assert compiled(contract("people", person, salary), profile=FREE).datasets["people"].suppression is None
    # A table of codes or of tokens alone tells of nobody.
    assert compiled(contract("people", person, ILL), profile="census").datasets["people"].suppression is None
    whole = compiled(contract("people", person, PLACE, salary), profile="census").datasets["people"]
    assert whole.suppression is not None
    assert whole.suppression.quasi == ("place",)


def test_rows_of_people_who_do_not_stand_out_need_no_quasi_identifier_of_their_own() -> None:
    who = column("who", info_type="RECORD_ID", primary_key=True, subject_id=True)
    visit = column("visit", info_type="RECORD_ID", primary_key=True)
    cost = column("cost", "number", level="internal", protect="keep")
    visits = contract("visits", visit, column("who", reference=Reference("people", "who")), cost)
    bills = contract("bills", column("visit", reference=Reference("visits", "visit")), cost)
    plan = compiled(contract("people", who, PLACE), visits, bills, profile="census")
    assert plan.datasets["bills"].suppression is None
    hidden = replace(PLACE, protect=column("x", protect="drop").protect)
    with pytest.raises(PlanRefusedError, match="leaves visits, bills"):
        compiled(contract("people", who, hidden), visits, bills, profile="census")
    apart = contract("bills", column("visit", reference=Reference("visits", "visit"), protect="drop"), cost)
    with pytest.raises(PlanRefusedError, match="leaves bills"):
        compiled(contract("people", who, PLACE), visits, apart, profile="census")


def test_what_cannot_be_done_is_refused_before_any_data_is_read() -> None:
    assert "no quasi-identifier leaves it" in refusal(ID, ILL, k=2)
    dropped = replace(PLACE, protect=column("x", protect="drop").protect)
    assert "no quasi-identifier leaves it" in refusal(ID, dropped, ILL, k=2)
    assert "no primary key" in refusal(PLACE, sample=0.5)
    assert "no column of its contract" in refusal(when=when({"column": "gone", "equals": 1}))
    assert "is dropped or a quasi-identifier" in refusal(k=2, l=2, sensitive=("age",))
    who = column("who", level="confidential", subject_id=True, protect="drop")
    assert "who is dropped" in refusal(ID, who, PLACE, k=2)
    parent = column("parent", "integer", level="public", reference=Reference("people", "id"))
    assert "references itself" in refusal(*COLUMNS, parent, sample=0.5)


# --- the plan


def test_the_plan_says_which_rows_stay_behind_and_comes_back() -> None:
    plan = compiled(
        people(k=5, l=2, sensitive=("ill",), sample=0.5, when=when({"column": "age", "below": 18})),
        profile=FREE,
    )
    assert Plan.from_json(plan.to_json()) == plan
    assert plan.token_versions["sample:clinic.people"] == 1
    assert compile_plan(product(people(k=4), profile=FREE), lambda _: 1, AS_OF).digest != plan.digest


@pytest.mark.parametrize(
    ("old", "new", "weaker"),
    [
        ({"k": 5}, {"k": 4}, True),
        ({"k": 5}, {"k": 6}, False),
        ({"k": 2, "l": 2, "sensitive": ("ill",)}, {"k": 2}, True),
        (
            {"when": when({"column": "age", "below": 18})},
            {"when": when({"column": "age", "below": 16})},
            True,
        ),
        ({"k": 2, "at_most": 0.1}, {"k": 2, "at_most": 0.2}, False),
        ({"sample": 0.1}, {"sample": 0.2}, True),
        ({"sample": 0.2}, {"sample": 0.1}, False),
        ({}, {"k": 2}, False),
    ],
)
def test_fewer_conditions_and_smaller_classes_are_told_as_weaker(old: Any, new: Any, weaker: bool) -> None:  # noqa: FBT001 - a case
    before, after = (compiled(people(**rows), profile=FREE).to_json() for rows in (old, new))
    (said,) = [each for each in changes(before, after) if "stay behind" in each]
    assert (WEAKER in said) == weaker
    assert changes(before, before) == []


def test_counting_rows_instead_of_people_is_told_as_weaker() -> None:
    def plan(subject_id: bool) -> Any:  # noqa: FBT001 - a case
        who = column("who", subject_id=subject_id)
        return compiled(people(ID, who, PLACE, k=2), profile=FREE).to_json()

    (said,) = [each for each in changes(plan(subject_id=True), plan(subject_id=False)) if "behind" in each]
    assert (
        said == "people: WEAKER than before: the rows that stay behind change: subject none instead of who."
    )
    (said,) = [each for each in changes(plan(subject_id=False), plan(subject_id=True)) if "behind" in each]
    assert WEAKER not in said


def test_rows_that_are_missing_by_a_column_that_is_not_kept_are_told_as_weaker() -> None:
    def plan(done: str, **rows: Any) -> Any:
        born = column("born", "integer", protect=done)
        return compiled(people(*COLUMNS, born, **rows), profile=FREE).to_json()

    minors, told = (
        when({"column": "born", "at_least": 2008}),
        "which rows it has tells of born, which is dropped.",
    )
    for before, after, said in (
        (plan("drop"), plan("drop", when=minors), True),
        (None, plan("drop", when=minors), True),
        (plan("drop", when=minors), plan("drop", when=minors, k=2), False),
        (plan("keep"), plan("keep", when=minors), False),
        (plan("keep", when=minors), plan("drop", when=minors), True),
    ):
        sentence = f"people: WEAKER than its columns alone: {told}"
        assert (sentence in changes(before, after)) == said


# --- the contract


def test_a_contract_says_it_in_one_property() -> None:
    body = {
        "when": {"column": "age", "below": 18},
        "k": 5,
        "l": 2,
        "sensitive": ["ill"],
        "atMost": 0.1,
        "sample": 0.5,
    }
    assert read_suppress(body, COLUMNS, Place("a")) == Suppress(
        when=when({"column": "age", "below": 18}), sample=0.5, k=5, l=2, sensitive=("ill",), at_most=0.1
    )
    assert read_suppress({}, COLUMNS, Place("a")) is None


@pytest.mark.parametrize(
    "body",
    [
        {"kk": 5},
        {"k": 0},
        {"k": 2.5},
        {"k": True},
        {"l": 2},
        {"sensitive": ["ill"]},
        {"l": 2, "sensitive": ["gone"]},
        {"l": 2, "sensitive": ["ill", "ill"]},
        {"l": 2, "sensitive": "ill"},
        {"sample": 0},
        {"sample": 1.5},
        {"atMost": "few"},
        {"when": "age < 18"},
    ],
)
def test_what_is_not_understood_refuses_the_contract(body: dict[str, Any]) -> None:
    with pytest.raises(ContractError):
        read_suppress(body, COLUMNS, Place("a"))


# --- the report


def test_the_report_of_a_small_table_is_what_a_hand_reckons() -> None:
    raw = pl.LazyFrame({"age": [1, 2, 3, 4], "ill": ["x", "y", "x", "x"]})
    wide = raw.with_columns(age=(pl.col("age") - 1) // 2)
    found = measured(raw, wide, wide, ["age"], ["ill"])
    assert (found.rows, found.suppressed, found.classes, found.k, found.l) == (4, 0, 2, 2, 1)
    assert found.t == pytest.approx(0.25), "1/2 x and 1/2 y in a class, 3/4 and 1/4 of all"
    assert found.information_lost == pytest.approx(0.5), "one of two bits of each cell"
    assert measured(raw, raw, raw, ["age"]).information_lost == 0
    none = wide.filter(pl.lit(value=False))
    nothing = measured(raw, wide, none, ["age"], ["ill"])
    assert (nothing.k, nothing.l, nothing.t, nothing.suppressed, nothing.information_lost) == (
        0,
        0,
        0.0,
        4,
        1.0,
    )
    assert nothing.to_json()["information_lost"] == "1.0000"


def test_suppression_applies_to_what_leaves_raw_and_not_to_what_was_there() -> None:
    """Of different ages with one decade, all are left."""
    decade = replace(
        AGE, protect=column("x", protect={"transform": "generalize", "to": "bucket", "width": 10}).protect
    )
    plan = compiled(people(ID, decade, k=3), profile=FREE).datasets["people"]
    assert plan.suppression is not None
    rows = typed([ID, AGE], {"id": [1, 2, 3, 4], "age": [31, 35, 39, 40]})
    left = in_large_classes(plan.suppression, apply(plan, rows, KEYS)).collect()
    assert left.rows() == [(1, 30), (2, 30), (3, 30)]
