"""Rows about a person are found by who they name and by what they refer to, under every key that is left."""

from dataclasses import replace

import polars as pl
import pytest
from protect_examples import KEYS, clinic, column, compiled, contract, product, token, typed

from secure_platform.contract.model import Contract
from secure_platform.errors import UsageError
from secure_platform.protect.person import Values, about, cells_of, follow, is_about, subject_roots

PEOPLE, VISITS, NOTES = clinic()
ROWS = {
    "people": typed(PEOPLE.columns, {"Id": ["a", "b"], "NAME": ["A", "B"], "BORN": [None, None]}),
    "visits": typed(
        VISITS.columns,
        {
            "Id": ["v1", "v2", "v3", "v4"],
            "PERSON": ["a", "b", "a", None],
            "START": [None] * 4,
            "CODE": ["x"] * 4,
        },
    ),
    "notes": typed(
        NOTES.columns, {"VISIT": ["v2", "v3", "v3", None], "TEXT": ["p", "q", "r", "s"], "KIND": ["k"] * 4}
    ),
}


def followed(person: str) -> Values:
    values: Values = {("people", "Id"): {person}}
    follow(product(*clinic()), values, lambda each: [ROWS[each.dataset]])
    return values


def texts(each: Contract, name: str, values: Values) -> list[str]:
    found = ROWS[each.dataset].filter(is_about(each, about(each, values))).collect()
    return found[name].to_list()


def test_persons_are_named_by_the_column_that_all_others_refer_to() -> None:
    assert subject_roots(product(*clinic())) == {"patient": {("people", "Id")}}
    alone = contract("staff", column("Nr", "integer", info_type="RECORD_ID", subject_id=True))
    assert subject_roots(product(alone)) == {"clinic.staff.Nr": {("staff", "Nr")}}


def test_a_row_is_about_a_person_by_whatever_chain_of_references() -> None:
    values = followed("a")
    assert values == {("people", "Id"): {"a"}, ("visits", "Id"): {"v1", "v3"}}
    assert texts(PEOPLE, "Id", values) == ["a"]
    assert texts(VISITS, "Id", values) == ["v1", "v3"]
    assert texts(NOTES, "TEXT", values) == ["q", "r"]
    assert followed("nobody") == {("people", "Id"): {"nobody"}, ("visits", "Id"): set()}


def test_a_person_has_a_token_for_every_version_of_the_key_that_is_left() -> None:
    plan = compiled(*clinic(), version=2)
    left = cells_of([plan], {("people", "Id"): {"a"}}, KEYS, lambda _, version: version != 1)
    assert left == {token("a", "patient", 2)}
    everything = cells_of([plan], followed("a"), KEYS, lambda *_: True)
    assert everything == {
        token(value, domain, version)
        for value, domain in (("a", "patient"), ("v1", "clinic.visits.Id"), ("v3", "clinic.visits.Id"))
        for version in (1, 2)
    }


def test_numbers_have_the_tokens_that_the_plan_makes_of_them() -> None:
    staff = contract("staff", column("Nr", "integer", info_type="RECORD_ID", subject_id=True))
    found = cells_of([compiled(staff)], {("staff", "Nr"): {"7"}}, KEYS, lambda *_: True)
    assert found == {token("7", "clinic.staff.Nr")}


@pytest.mark.parametrize("transform", ["keep", "mask", "fpe"])
def test_nobody_is_searched_by_what_others_have_too(transform: str) -> None:
    plan = compiled(*clinic())
    people = plan.datasets["people"]
    other = replace(people.columns[0], transform=transform, token_domain=None, token_version=None)
    datasets = {**plan.datasets, "people": replace(people, columns=(other, *people.columns[1:]))}
    with pytest.raises(UsageError, match="cannot be found"):
        cells_of([replace(plan, datasets=datasets)], {("people", "Id"): {"a"}}, KEYS, lambda *_: True)


def test_nothing_is_left_of_what_is_dropped() -> None:
    gone = contract("people", column("Id", subject_id=True, protect="drop"), column("x"))
    assert cells_of([compiled(gone)], {("people", "Id"): {"a"}}, KEYS, lambda *_: True) == set()


def test_a_value_that_is_missing_is_about_nobody() -> None:
    frame = ROWS["visits"].filter(is_about(VISITS, {"PERSON": {"a"}}))
    assert frame.select(pl.len()).collect().item() == 2
