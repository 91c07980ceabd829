"""A conditional column is as safe as the weaker of its two parts, and says so before any data is read."""

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protect_examples import (
    KEYS,
    asked_for,
    column,
    compiled,
    contract,
    dataset_plan,
    planned,
    refused,
    token,
    typed,
)

from secure_platform.contract.columns import read_column
from secure_platform.contract.model import Column, Reference, Waiver
from secure_platform.contract.place import Place
from secure_platform.errors import ContractError, PlanRefusedError
from secure_platform.protect.again import moved, unmoved
from secure_platform.protect.changes import WEAKER, changes
from secure_platform.protect.execute import apply
from secure_platform.protect.plan import Plan
from secure_platform.protect.residual import residual_values
from secure_platform.protect.strength import strengths
from secure_platform.taxonomy.classification import Classification

FREE = "gdpr_pseudonymous"
NUMBER = column("n", "integer", level="public")


def conditional(when: Any, then: Any = "tokenize", otherwise: Any = "replace") -> dict[str, Any]:
    return {"transform": "conditional", "when": when, "then": then, "otherwise": otherwise}


def asked(when: Any, other: Column, values: list[Any]) -> list[bool]:
    """For which values of another column a condition holds."""
    subject = column("v", protect=conditional(when, "keep"))
    plan = dataset_plan(subject, other, profile=FREE)
    frame = typed([subject, other], {"v": ["x"] * len(values), other.name: values})
    return [value == "x" for value in apply(plan, frame, KEYS).collect(engine="streaming")["v"]]


@pytest.mark.parametrize(
    ("comparison", "expected"),
    [
        ({"equals": 2}, [False, True, False, False]),
        ({"one_of": [1, 3]}, [True, False, True, False]),
        ({"none_of": [1, 3]}, [False, True, False, False]),
        ({"below": 2}, [True, False, False, False]),
        ({"at_least": 2}, [False, True, True, False]),
        ({"is_null": True}, [False, False, False, True]),
        ({"is_null": False}, [True, True, True, False]),
    ],
)
def test_a_null_meets_no_condition_but_is_null(comparison: dict[str, Any], expected: list[bool]) -> None:
    assert asked({"column": "n", **comparison}, NUMBER, [1, 2, 3, None]) == expected


def test_of_several_conditions_all_have_to_hold() -> None:
    both = [{"column": "n", "at_least": 2}, {"column": "n", "below": 4}]
    assert asked(both, NUMBER, [1, 2, 3, 4, None]) == [False, True, True, False, False]


def test_dates_times_booleans_and_texts_are_compared_as_what_they_are() -> None:
    public: dict[str, Any] = {"level": "public"}
    days = [date(2020, 1, 1), date(2020, 1, 2), None]
    assert asked({"column": "d", "below": "2020-01-02"}, column("d", "date", **public), days) == [
        True,
        False,
        False,
    ]
    times = [datetime(2020, 1, 1, 12, tzinfo=UTC), datetime(2020, 1, 1, 13, tzinfo=UTC)]
    condition = {"column": "t", "at_least": "2020-01-01T12:30:00Z"}
    assert asked(condition, column("t", "timestamp", **public), times) == [False, True]
    assert asked({"column": "b", "equals": False}, column("b", "boolean", **public), [True, False, None]) == [
        False,
        True,
        False,
    ]
    texts = ["10", "9", "Ä", None]
    assert asked({"column": "s", "one_of": ["9", "Ä"]}, column("s", **public), texts) == [
        False,
        True,
        True,
        False,
    ]
    assert asked({"column": "f", "below": 2}, column("f", "number", **public), [1.5, 2.0, None]) == [
        True,
        False,
        False,
    ]


@given(rows=st.lists(st.tuples(st.none() | st.text(max_size=5), st.none() | st.integers(0, 3)), max_size=20))
@settings(max_examples=30, deadline=None)
def test_every_row_has_what_its_own_part_makes_of_it(rows: list[tuple[str | None, int | None]]) -> None:
    subject = column("v", token_domain="d", protect=conditional({"column": "n", "one_of": [1, 2]}))
    plan = dataset_plan(subject, NUMBER, profile=FREE)
    frame = typed([subject, NUMBER], {"v": [v for v, _ in rows], "n": [n for _, n in rows]})
    after = apply(plan, frame, KEYS).collect(engine="streaming")["v"].to_list()
    assert after == [None if v is None else token(v, "d") if n in {1, 2} else "[REDACTED]" for v, n in rows]


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ({"column": "gone", "equals": 1}, "no column of its contract"),
        ({"column": "n", "equals": "1"}, "does not fit the type of"),
        ({"column": "n", "equals": True}, "does not fit the type of"),
        ({"column": "v", "below": "b"}, "does not fit the type of"),
        ({"column": "d", "below": "yesterday"}, "does not fit the type of"),
        ({"column": "t", "below": "2020-01-01T00:00:00"}, "does not fit the type of"),
    ],
)
def test_a_condition_that_a_column_cannot_be_asked_refuses_the_plan(when: Any, said: str) -> None:
    others = [NUMBER, column("d", "date", level="public"), column("t", "timestamp", level="public")]
    assert said in refused(column("v", protect=conditional(when)), *others, profile=FREE)


IS_ONE = {"column": "n", "equals": 1}


@pytest.mark.parametrize(
    ("subject", "said"),
    [
        (column("v", level="restricted", protect=conditional(IS_ONE, "tokenize", "keep")), "would be kept"),
        (
            column("v", info_type="US_SSN", protect=conditional(IS_ONE, "replace", "mask")),
            "weaker than tokenize",
        ),
        (column("v", primary_key=True, protect=conditional(IS_ONE, "tokenize", "tokenize")), "is a key"),
        (column("v", "integer", protect=conditional(IS_ONE, "tokenize", "keep")), "two types"),
        (column("v", protect=conditional(IS_ONE, "tokenize", "drop")), "in some rows only"),
        (column("v", "number", protect=conditional(IS_ONE, "tokenize", "keep")), "does not apply"),
        (column("v", protect=conditional(IS_ONE, "hide", "keep")), "unknown transform"),
    ],
)
def test_a_part_that_would_be_refused_alone_refuses_the_whole(subject: Column, said: str) -> None:
    assert said in refused(subject, NUMBER, profile=FREE)
    if "hide" not in str(subject.protect) and "two types" not in said and "in some" not in said:
        assert dataset_plan(column("v", protect=conditional(IS_ONE)), NUMBER, profile=FREE)


def test_what_comes_out_is_classified_by_the_part_that_leaves_more() -> None:
    subject = column("v", level="restricted", protect=conditional(IS_ONE, "replace", "mask"))
    assert planned(subject, NUMBER, profile=FREE).classification == Classification.CONFIDENTIAL
    subject = column("v", level="restricted", protect=conditional(IS_ONE, "replace", "redact"))
    assert planned(subject, NUMBER, profile=FREE).classification == Classification.INTERNAL


def by(name: str, **more: Any) -> dict[str, Any]:
    return conditional(
        {"column": name, **(more or {"equals": "x"})}, {"transform": "replace", "value": "yes"}
    )


BORN = {"below": "1980-01-01"}
WAIVER = Waiver("needed by the recall of 2026", "dpo@example.org", date(2026, 6, 30))


@pytest.mark.parametrize("profile", ["hipaa_safe_harbor", FREE, "pci"])
@pytest.mark.parametrize("nested", [False, True])
def test_what_may_not_be_kept_does_not_come_out_by_conditions(profile: str, nested: bool) -> None:  # noqa: FBT001 - a case
    """Constants that depend on a dropped column are the column."""
    born = column("born", "date", info_type="DATE_OF_BIRTH", protect="drop")
    asked = by("born", **BORN)
    if nested:
        asked = conditional(IS_ONE, "replace", asked)
    said = refused(column("v", level="internal", protect=asked), NUMBER, born, profile=profile)
    assert (
        "people.v goes by conditions on people.born and would tell what they say: it is weaker than" in said
    )


def test_conditions_on_a_restricted_column_are_refused_whatever_is_waived() -> None:
    ill = column("ill", level="restricted", protect="drop")
    subject = column("v", level="internal", protect=by("ill"))
    for each in (subject, replace(subject, waiver=WAIVER)):
        assert "conditions on people.ill, which is restricted" in refused(each, ill, NUMBER, profile="pci")
    itself = column("v", level="restricted", protect=by("v"))
    assert "conditions on people.v, which is restricted" in refused(itself, NUMBER, profile="pci")


def test_a_column_that_goes_by_its_own_values_tells_of_them() -> None:
    number = column("v", info_type="US_SSN", protect=by("v", one_of=["078-05-1120"]))
    assert "goes by conditions on people.v and would tell" in refused(number, NUMBER, profile=FREE)


def test_a_foreign_key_tells_of_the_key_that_it_refers_to() -> None:
    people = contract("people", column("Id", info_type="RECORD_ID", primary_key=True, level="restricted"))
    visits = contract(
        "visits",
        column("who", level="internal", reference=Reference("people", "Id")),
        column("v", level="internal", protect=by("who")),
    )
    with pytest.raises(PlanRefusedError, match=r"conditions on people\.Id, which is restricted"):
        compiled(people, visits, profile=FREE)


def test_what_is_inside_json_is_told_with_it() -> None:
    details = column("details", members=(column("details.mail", info_type="EMAIL"),))
    assert "conditions on people.details.mail" in refused(
        column("v", level="internal", protect=by("details")), details, profile=FREE
    )


def test_conditions_on_what_may_be_kept_are_free_and_raise_the_classification() -> None:
    subject = column("v", level="internal", protect=by("city"))
    for level in (Classification.PUBLIC, Classification.INTERNAL, Classification.CONFIDENTIAL):
        city = column("city", level=level.label, protect="drop")
        found = planned(subject, NUMBER, city, profile=FREE)
        assert found.classification == max(level, Classification.INTERNAL)
    nested = conditional(IS_ONE, "replace", by("city"))
    found = planned(column("v", level="internal", protect=nested), NUMBER, city, profile=FREE)
    assert found.classification == Classification.CONFIDENTIAL
    assert [part.classification for part in found.parts.values()] == [
        Classification.INTERNAL,
        Classification.CONFIDENTIAL,
    ]


def test_conditions_on_what_may_not_be_kept_take_a_waiver_and_are_told() -> None:
    born = column("born", "date", info_type="DATE_OF_BIRTH", protect="drop")
    plain = column("v", level="internal", protect="replace")
    waived = replace(plain, protect=asked_for(by("born", **BORN)), waiver=WAIVER)
    old, new = (compiled(contract("people", each, born), profile=FREE).to_json() for each in (plain, waived))
    assert planned(waived, born, profile=FREE).classification == Classification.CONFIDENTIAL
    told = "people.v: WEAKER than its parts alone: which one it goes through tells of born, which is dropped."
    assert told in changes(old, new)
    assert any("the profile requires" in each and "until 2026-06-30" in each for each in changes(None, new))
    assert "nothing that the profile requires is waived" in refused(
        replace(waived, protect=asked_for(by("n", equals=1))), NUMBER, profile=FREE
    )


def test_new_conditions_on_a_column_that_is_not_kept_are_told_as_weaker() -> None:
    def plan(asked: Any, done: Any = "drop") -> dict[str, Any]:
        columns = column("v", level="internal", protect=asked), column("city", protect=done), NUMBER
        return compiled(contract("people", *columns), profile=FREE).to_json()

    def told(old: Any, new: Any) -> list[str]:
        return [each for each in changes(old, new) if "its parts alone" in each]

    a, both = by("city", equals="a"), by("city", one_of=["a", "b"])
    assert told(None, plan(a)), "the first release tells it"
    assert told(plan("replace"), plan(a))
    assert told(plan(a), plan(both)), "another condition tells something else"
    assert told(plan(a, "keep"), plan(a)), "what was known anyway is not any more"
    assert told(plan("replace"), plan(conditional(IS_ONE, "replace", a)))
    assert not told(plan(a), plan(a))
    assert not told(plan(a), plan("replace"))
    assert not told(plan("replace"), plan(a, "keep")), "what is kept tells it anyway"
    assert not told(plan("replace"), plan(by("n", equals=1)))


def test_a_conditional_is_as_strong_as_its_weaker_part() -> None:
    def stands(choice: Any, floor: Any) -> bool:
        one, other = asked_for(choice), asked_for(floor)
        assert one is not None
        assert other is not None
        return strengths().stands_for(one, other)

    strong, weak = conditional(IS_ONE, "replace", "mask"), conditional(IS_ONE, "mask", "keep")
    assert stands(strong, weak)
    assert not stands(weak, strong)
    assert stands(strong, "mask")
    assert not stands(weak, "mask")
    assert stands("replace", strong)
    assert not stands("mask", strong)
    otherwise = conditional({"column": "n", "equals": 2}, "replace", "keep")
    assert not stands(otherwise, weak), "another condition: other rows are kept"


def test_the_plan_names_the_key_of_each_part_and_shows_what_changes() -> None:
    subject = column(
        "v",
        token_domain="d",
        protect=conditional(IS_ONE, "tokenize", {"transform": "encrypt", "mode": "deterministic"}),
    )
    weaker = column("v", token_domain="d", protect=conditional(IS_ONE, "tokenize", "keep"))
    old = compiled(contract("people", subject, NUMBER), profile=FREE)
    assert old.token_versions == {"d": 1, "cell/d": 1}
    assert Plan.from_json(old.to_json()) == old
    new = compiled(contract("people", weaker, NUMBER), profile=FREE)
    (said,) = [each for each in changes(old.to_json(), new.to_json()) if "people.v" in each]
    assert WEAKER in said
    assert '"equals":1' in said
    rotated = compiled(contract("people", subject, NUMBER), profile=FREE, d=2)
    assert moved(old.datasets["people"], rotated.datasets["people"]) == []
    assert unmoved(old.datasets["people"], rotated.datasets["people"]) == ["n"]


def test_values_that_a_part_keeps_are_no_residue_and_those_of_other_columns_are() -> None:
    subject = column("v", protect=conditional({"column": "n", "equals": 1}, "keep", "replace"))
    number = column("ssn", info_type="US_SSN")
    plan = dataset_plan(subject, NUMBER, number, profile=FREE)
    values: dict[str, list[Any]] = {
        "v": ["kept as it was", "a 90-17-5017-X too"],
        "n": [1, 1],
        "ssn": ["90-17-5017-X"] * 2,
    }
    frame = typed([subject, NUMBER, number], values)
    assert residual_values([(frame, plan)], apply(plan, frame, KEYS), plan, bytes(32)) == [("v", 1)]


def test_a_part_may_be_under_the_key_of_its_subject() -> None:
    sealed = {"transform": "encrypt", "mode": "deterministic", "key": "subject"}
    subject = column("v", protect=conditional(IS_ONE, sealed, "replace"))
    who = column(
        "who", "integer", primary_key=True, subject_id=True, required=True, level="public", protect="keep"
    )
    plan = dataset_plan(subject, NUMBER, who, profile=FREE)
    frame = typed([subject, NUMBER, who], {"v": ["x", "x", "x"], "n": [1, 1, 2], "who": [1, 2, 3]})
    one, two, three = apply(plan, frame, KEYS).collect()["v"]
    assert len({one, two, three}) == 3, "each has a key"
    assert three == "[REDACTED]"


PROPERTY = {"name": "v", "logicalType": "string", "classification": "internal"}


def test_a_contract_writes_a_condition_as_data() -> None:
    body = {**PROPERTY, "customProperties": [{"property": "protect", "value": conditional(IS_ONE)}]}
    assert read_column(body, Place("a")).protect == asked_for(conditional([IS_ONE]))


@pytest.mark.parametrize(
    "value",
    [
        {"transform": "conditional", "when": IS_ONE, "then": "keep"},
        {**conditional(IS_ONE), "also": "keep"},
        conditional("n = 1"),
        conditional([]),
        conditional({"column": "n"}),
        conditional({"column": "n", "equals": 1, "below": 2}),
        conditional({"column": "n", "matches": "x"}),
        conditional({"column": 1, "equals": 1}),
        conditional({"column": "n", "equals": [1]}),
        conditional({"column": "n", "one_of": []}),
        conditional({"column": "n", "one_of": 1}),
        conditional({"column": "n", "one_of": [{"a": 1}]}),
        conditional({"column": "n", "is_null": "yes"}),
        conditional(IS_ONE, {"transform": "hide"}),
    ],
)
def test_a_condition_that_is_not_understood_refuses_the_contract(value: Any) -> None:
    body = {**PROPERTY, "customProperties": [{"property": "protect", "value": value}]}
    with pytest.raises(ContractError):
        read_column(body, Place(Path("a").name))
