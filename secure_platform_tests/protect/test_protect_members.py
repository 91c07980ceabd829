"""A value inside JSON is protected as a column is; what is not described does not get out."""

import json
from datetime import date
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protect_examples import (
    KEYS,
    column,
    compiled,
    contract,
    dataset_plan,
    planned,
    refused,
    token,
    typed,
)

from secure_platform.contract.members import read_property
from secure_platform.contract.model import Column
from secure_platform.contract.place import Place
from secure_platform.errors import ContractError
from secure_platform.protect.changes import WEAKER, changes
from secure_platform.protect.execute import apply
from secure_platform.protect.members import texts_at
from secure_platform.protect.plan import Plan
from secure_platform.protect.residual import residual_values
from secure_platform.taxonomy.classification import Classification

FREE = "gdpr_pseudonymous"
OTHER = column("other", level="public")


def details(*members: Column, **more: Any) -> Column:
    return column("details", members=members, **more)


def inside(members: list[Column], texts: list[str | None], profile: str = FREE) -> list[Any]:
    subject = details(*members)
    plan = dataset_plan(subject, OTHER, profile=profile)
    frame = typed([subject, OTHER], {"details": texts, "other": ["x"] * len(texts)})
    after = apply(plan, frame, KEYS).collect(engine="streaming")["details"]
    return [None if text is None else json.loads(text) for text in after]


MEMBERS = [
    column("details.mail", info_type="EMAIL", token_domain="mail"),
    column("details.born", "date", protect={"transform": "generalize", "to": "month"}),
    column(
        "details.visits.cost",
        "number",
        level="public",
        protect={"transform": "generalize", "to": "bucket", "width": 10},
    ),
    column("details.visits.note", protect="drop"),
    column("details.ok", "boolean", level="public"),
    column("details.tags", level="public"),
]


def test_every_value_has_its_own_transform_and_what_is_not_described_is_left_out() -> None:
    document = {
        "mail": "a@example.org",
        "born": "1980-05-17",
        "visits": [{"cost": 12.5, "note": "secret", "more": 1}, {"cost": 9}, "odd"],
        "ok": True,
        "tags": ["x", ["y", None]],
        "secret": {"mail": "b@example.org"},
    }
    (made,) = inside(MEMBERS, [json.dumps(document)])
    assert made == {
        "mail": token("a@example.org", "mail"),
        "born": "1980-05-01",
        "visits": [{"cost": 10.0}, {"cost": 0.0}, None],
        "ok": True,
        "tags": ["x", ["y", None]],
    }


def test_the_key_is_that_of_a_column_of_the_same_domain() -> None:
    mail = column("mail", info_type="EMAIL", token_domain="mail")
    plan = dataset_plan(details(MEMBERS[0]), mail, profile=FREE)
    frame = typed([details(), mail], {"details": ['{"mail": "a@b.example"}'], "mail": ["a@b.example"]})
    row = apply(plan, frame, KEYS).collect().row(0, named=True)
    assert json.loads(row["details"]) == {"mail": row["mail"]}


HOSTILE = [
    "",
    "no JSON",
    "7",
    '"text"',
    "null",
    '{"mail": "a", "mail": "b"}',
    '{"mail": NaN}',
    '{"mail": 1' + "0" * 5000 + "}",
    "[" * 100_000 + "]" * 100_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_text_that_is_no_document_of_one_meaning_becomes_null(text: str) -> None:
    assert inside(MEMBERS, [text, None, '{"ok": true}']) == [None, None, {"ok": True}]


def test_a_value_of_another_type_or_too_deep_is_null_and_a_lone_surrogate_is_no_character() -> None:
    deep = "[" * 70 + '"x"' + "]" * 70
    texts: list[str | None] = [
        '{"mail": {"a": "b"}, "born": "soon", "ok": "yes", "visits": 5}',
        f'{{"tags": {deep}}}',
        '{"tags": "\\ud800"}',
        '{"tags": 5, "born": "9999-99-99"}',
    ]
    odd, nested, lone, other = inside(MEMBERS, texts)
    assert odd == {"mail": None, "born": None, "ok": None, "visits": None}
    assert "x" not in json.dumps(nested)
    assert lone == {"tags": "?"}
    assert other == {"tags": "5", "born": None}


LEAVES = st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.text(max_size=5)
DOCUMENTS = st.recursive(
    LEAVES,
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.sampled_from("abc"), each, max_size=3),
    max_leaves=12,
)


def expected(value: Any, node: Any) -> Any:
    """What is said of members, told in another way."""
    if isinstance(value, list):
        return [expected(each, node) for each in value]
    if isinstance(node, dict):
        return (
            {key: expected(value[key], node[key]) for key in value if key in node}
            if isinstance(value, dict)
            else None
        )
    if value is None or isinstance(value, dict):
        return None
    text = value if isinstance(value, str) else json.dumps(value)
    return token(text, "d") if node == "token" else text


@given(documents=st.lists(DOCUMENTS, max_size=5))
@settings(max_examples=60, deadline=None)
def test_any_document_keeps_its_shape_and_order(documents: list[Any]) -> None:
    members = [
        column("details.a.b", token_domain="d", protect="tokenize"),
        column("details.b", level="public"),
    ]
    made = inside(members, [json.dumps(document) for document in documents])
    tree = {"a": {"b": "token"}, "b": "keep"}
    assert made == [expected(each, tree) if isinstance(each, dict | list) else None for each in documents]


# --- the plan


def test_the_profile_binds_what_is_inside() -> None:
    members = [
        column("details.ssn", level="restricted", info_type="US_SSN"),
        column("details.kind", level="public"),
    ]
    plan = planned(details(*members, level="restricted"), OTHER)
    assert {path: part.transform for path, part in plan.parts.items()} == {"$.ssn": "drop", "$.kind": "keep"}
    assert plan.classification == Classification.PUBLIC
    assert inside(members, ['{"ssn": "1", "kind": "x"}'], "hipaa_safe_harbor") == [{"kind": "x"}]
    weak = column("details.ssn", level="restricted", info_type="US_SSN", protect="tokenize")
    assert "people.details.ssn: tokenize is weaker than drop" in refused(
        details(weak, level="restricted"), OTHER
    )


@pytest.mark.parametrize(
    ("member", "said"),
    [
        (column("details.x", level="restricted"), "would be kept"),
        (column("details.x", "date", protect="shift_date"), "inside JSON"),
        (column("details.x", "number", protect={"transform": "noise", "amount": 1}), "inside JSON"),
        (column("details.x", "number", protect="tokenize"), "does not apply"),
        (
            column("details.x", protect={"transform": "encrypt", "mode": "deterministic", "key": "subject"}),
            "inside JSON",
        ),
        (column("details.x", protect="fpe"), "has no pattern"),
        (
            column(
                "details.x",
                protect={
                    "transform": "conditional",
                    "when": {"column": "other", "is_null": True},
                    "then": "keep",
                    "otherwise": "keep",
                },
            ),
            "inside JSON",
        ),
    ],
)
def test_what_cannot_be_done_inside_is_refused_before_any_data_is_read(member: Column, said: str) -> None:
    row = column("row", "integer", primary_key=True, subject_id=True, required=True, level="public")
    message = refused(details(member, level="restricted"), OTHER, row, profile=FREE)
    assert said in message
    assert "people.details.x" in message


def test_a_column_of_json_can_be_protected_as_a_whole_and_is_no_key() -> None:
    assert planned(details(*MEMBERS, protect="drop"), OTHER, profile=FREE).transform == "drop"
    assert "is a key" in refused(details(*MEMBERS, primary_key=True, level="public"), OTHER, profile=FREE)


def test_the_plan_names_all_keys_comes_back_and_shows_what_changes() -> None:
    old = compiled(contract("people", details(*MEMBERS), OTHER), profile=FREE)
    assert Plan.from_json(old.to_json()) == old
    assert old.token_versions == {"mail": 1}
    weaker = [MEMBERS[0], column("details.born", "date"), *MEMBERS[2:]]
    new = compiled(contract("people", details(*weaker), OTHER), profile=FREE)
    (said,) = changes(old.to_json(), new.to_json())
    assert WEAKER in said
    assert "$.born: kept" in said


def test_what_was_protected_inside_json_is_found_wherever_it_is_left() -> None:
    members = [
        column("details.number", protect="tokenize", token_domain="d"),
        column("details.note", level="public"),
    ]
    note = column("note", level="public")
    plan = dataset_plan(details(*members), note, profile=FREE)
    texts = [json.dumps({"number": [f"case 90-17-{i}00-X"], "note": "well"}) for i in range(3)]
    values: dict[str, list[Any]] = {
        "details": texts,
        "note": ["nothing", "it is case 90-17-100-X again", None],
    }
    frame = typed([details(*members), note], values)
    assert residual_values([(frame, plan)], apply(plan, frame, KEYS), plan, bytes(32)) == [("note", 1)]
    texts[0] = json.dumps({"number": ["case 90-17-000-X"], "note": "of case 90-17-200-X"})
    frame = typed([details(*members), note], {**values, "details": texts, "note": [None] * 3})
    assert residual_values([(frame, plan)], apply(plan, frame, KEYS), plan, bytes(32)) == [("details", 1)]


def test_the_values_at_a_path_are_listed_by_row() -> None:
    texts = pl.Series("t", ['{"a": [{"b": "x"}, {"b": 5}]}', None, "odd", '{"a": {}}'])
    found = texts.to_frame().lazy().select(texts_at(pl.col("t"), "$.a.b")).collect(engine="streaming")
    assert found["t"].to_list() == [["x", "5"], [], [], []]


# --- the contract

LEAF = {"name": "mail", "logicalType": "string", "classification": "internal"}
JSON_COLUMN = {
    "name": "details",
    "logicalType": "object",
    "classification": "restricted",
    "properties": [LEAF],
}


def test_a_contract_describes_json_as_the_standard_does() -> None:
    visits = {
        "name": "visits",
        "logicalType": "array",
        "items": {"logicalType": "object", "properties": [{**LEAF, "name": "day", "logicalType": "date"}]},
    }
    tags = {
        "name": "tags",
        "logicalType": "array",
        "items": {"logicalType": "string", "classification": "public"},
    }
    found = read_property({**JSON_COLUMN, "properties": [LEAF, visits, tags]}, Place("a"))
    assert found.dtype == pl.String()
    assert [(member.name, member.logical_type) for member in found.members] == [
        ("details.mail", "string"),
        ("details.visits.day", "date"),
        ("details.tags", "string"),
    ]
    listed = read_property({**tags, "classification": "public"}, Place("a"))
    assert [member.name for member in listed.members] == ["tags"]


@pytest.mark.parametrize(
    "body",
    [
        {**JSON_COLUMN, "properties": []},
        {**JSON_COLUMN, "properties": [LEAF, LEAF]},
        {**JSON_COLUMN, "classification": "public"},
        {**JSON_COLUMN, "properties": [{**LEAF, "required": True}]},
        {**JSON_COLUMN, "properties": [{**LEAF, "primaryKey": True}]},
        {**JSON_COLUMN, "properties": [{**LEAF, "logicalTypeOptions": {"maxLength": 5}}]},
        {**JSON_COLUMN, "properties": [{**LEAF, "relationships": [{"to": "people.Id"}]}]},
        {**JSON_COLUMN, "properties": [{**LEAF, "name": "a.b"}]},
        {**JSON_COLUMN, "properties": [{"name": "mail", "logicalType": "string"}]},
    ],
)
def test_what_is_promised_inside_json_and_not_kept_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ContractError):
        read_property(body, Place("a"))


def test_dates_inside_json_are_dates() -> None:
    member = column("details.day", "date", level="public", protect={"transform": "generalize", "to": "year"})
    assert inside([member], [json.dumps({"day": date(2020, 5, 6).isoformat()})]) == [{"day": 2020}]
