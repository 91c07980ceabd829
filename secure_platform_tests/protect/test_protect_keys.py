"""Keys keep their values, foreign keys follow them, and shifted dates follow their subject."""

from pathlib import Path
from typing import Any

import pytest
from protect_examples import clinic, column, compiled, contract, refused

from secure_platform.contract.model import Column, Reference
from secure_platform.errors import PlanRefusedError
from secure_platform.protect import profile as profile_module

FREE = "gdpr_pseudonymous"
HEALTHCARE = Path(profile_module.__file__).parents[1] / "defs" / "healthcare"


def test_foreign_keys_inherit_transform_domain_and_version_through_a_chain() -> None:
    people, visits, _ = clinic()
    bills = contract(
        "bills", column("PERSON", reference=Reference("visits", "PERSON")), column("AMOUNT", "number")
    )
    plan = compiled(people, visits, bills, version=3)
    for dataset, name in [("people", "Id"), ("visits", "PERSON"), ("bills", "PERSON")]:
        (found,) = (c for c in plan.datasets[dataset].columns if c.column == name)
        assert (found.transform, found.token_domain, found.token_version) == ("tokenize", "patient", 3)
        assert found.info_type == "RECORD_ID"
    assert "Foreign key to people.Id" in plan.datasets["bills"].columns[0].reason


def test_a_key_without_a_domain_gives_its_own_to_its_foreign_keys() -> None:
    plan = compiled(*clinic())
    (visit,) = (c for c in plan.datasets["notes"].columns if c.column == "VISIT")
    assert visit.token_domain == "clinic.visits.Id"
    hashed = contract("a", column("Id", primary_key=True, info_type="RECORD_ID", protect="hash"))
    child = contract("b", column("A", reference=Reference("a", "Id")))
    domains = {c.token_domain for d in compiled(hashed, child).datasets.values() for c in d.columns}
    assert domains == {"hash:clinic.a.Id"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"protect": "hash"}, "asks for hash"),
        ({"protect": "keep"}, "asks for keep"),
        ({"token_domain": "other"}, "another token domain"),
        ({"info_type": "MRN"}, "weaker than drop"),
        ({"info_type": "US_SSN", "level": "restricted"}, "weaker than drop"),
    ],
)
def test_a_foreign_key_that_differs_from_its_key_is_refused(change: dict[str, Any], said: str) -> None:
    people, *_ = clinic()
    child = contract(
        "child", column("PERSON", reference=Reference("people", "Id"), **change), column("other")
    )
    with pytest.raises(PlanRefusedError, match=said):
        compiled(people, child)


def test_a_foreign_key_may_repeat_its_key_or_be_dropped() -> None:
    people, *_ = clinic()
    reference = Reference("people", "Id")
    same = contract("same", column("P", reference=reference, protect="tokenize", token_domain="patient"))
    gone = contract("gone", column("P", reference=reference, protect="drop"), column("other"))
    plan = compiled(people, same, gone)
    assert plan.datasets["same"].columns[0].token_domain == "patient"
    assert plan.datasets["gone"].columns[0].transform == "drop"
    assert plan.datasets["gone"].columns[0].reference is None


@pytest.mark.parametrize(
    "key",
    [
        column("Id", primary_key=True, info_type="MRN", level="restricted"),
        column("Id", primary_key=True, protect="redact"),
        column("Id", primary_key=True, protect="drop"),
        column("Id", "date", primary_key=True),
        column("Id", "integer", primary_key=True, info_type="US_ZIP"),
        column("Id", unique=True, info_type="US_SSN", level="restricted"),
    ],
)
def test_a_key_may_not_lose_its_values(key: Column) -> None:
    child = contract("child", column("FK", key.logical_type, reference=Reference("parent", "Id")))
    with pytest.raises(PlanRefusedError, match=r"parent\.Id is a key"):
        compiled(contract("parent", key, column("other")), child)
    if key.primary_key:
        assert "is a key" in refused(key, column("other"))


def test_half_of_a_composite_key_may_not_lose_its_values_either() -> None:
    said = refused(
        column("P", primary_key=True, info_type="RECORD_ID"), column("DAY", "date", primary_key=True)
    )
    assert "people.DAY is a key" in said


def test_a_circle_of_references_is_refused() -> None:
    a = contract("a", column("x", reference=Reference("b", "y")))
    b = contract("b", column("y", reference=Reference("a", "x")))
    with pytest.raises(PlanRefusedError, match="circle"):
        compiled(a, b)


# --- shifted dates


def test_a_shift_has_the_key_of_the_subject_in_every_table() -> None:
    people = contract("people", column("Id", primary_key=True, subject_id=True, token_domain="patient"))
    visits = contract(
        "visits",
        column("P", subject_id=True, reference=Reference("people", "Id")),
        column("A", "date", protect="shift_date"),
    )
    plan = compiled(people, visits, profile=FREE).datasets["visits"].columns[1]
    assert plan.token_domain == "shift_date:patient"
    assert plan.token_version == 1
    assert plan.params == {"subject": "P"}


@pytest.mark.parametrize(
    "others",
    [
        [],
        [column("a", subject_id=True), column("b", subject_id=True)],
        [column("a", "number", subject_id=True, protect="drop"), column("c")],
    ],
)
def test_a_shift_without_one_usable_subject_is_refused(others: list[Column]) -> None:
    assert "subject" in refused(column("v", "date", protect="shift_date"), *others, profile=FREE)
    assert "subject" in refused(
        column("v", "date", protect="shift_date", subject_id=True, level="public"), profile=FREE
    )
