"""What is weaker than the profile requires has a reason, an approver and an end, and is told."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from protect_examples import AS_OF, column, compiled, contract, planned, product, refused

from secure_platform.contract.columns import read_column
from secure_platform.contract.model import Column, Protect, Waiver
from secure_platform.contract.place import Place
from secure_platform.errors import ContractError, PlanRefusedError
from secure_platform.protect.changes import WEAKER, changes, ended_waivers, standing
from secure_platform.protect.compiler import compile_plan
from secure_platform.protect.plan import Plan

LAST = date(2026, 6, 30)
WAIVER = Waiver("needed by the recall of 2026", "dpo@example.org", LAST)
CITY = column("city", info_type="CITY", protect="keep", waiver=WAIVER)
OTHER = column("other")


def plan_of(subject: Column, today: date = AS_OF) -> Plan:
    return compile_plan(product(contract("people", subject, OTHER)), lambda _: 1, AS_OF, today)


def test_a_waiver_lets_a_column_be_weaker_until_it_expires() -> None:
    assert "keep is weaker than drop" in refused(replace(CITY, waiver=None), OTHER)
    found = planned(CITY, OTHER)
    assert found.transform == "keep"
    assert found.waived == "until 2026-06-30 by dpo@example.org: needed by the recall of 2026"
    assert plan_of(CITY, LAST).datasets["people"].columns[0].transform == "keep"
    with pytest.raises(PlanRefusedError, match=r"people\.city by dpo@example\.org expired on 2026-06-30"):
        plan_of(CITY, LAST + timedelta(days=1))


def test_a_plan_says_which_of_its_waivers_have_ended() -> None:
    inside = column("o", "string", members=(replace(CITY, name="o.city"),))
    datasets = compiled(contract("people", CITY, OTHER, inside)).to_json()["datasets"]
    assert ended_waivers(datasets, LAST) == []
    assert ended_waivers(datasets, LAST + timedelta(days=1)) == [
        "people.city on 2026-06-30",
        "people.o, $.city on 2026-06-30",
    ]
    for told in ("until tomorrow by him: why", "by him: why", "for 2099-01-01 by him", "until"):
        datasets["people"][0]["waived"] = told
        assert ended_waivers(datasets, AS_OF) == ["people.city on 0001-01-01"], "not understood, it has ended"


def test_a_waiver_that_waives_nothing_is_refused() -> None:
    assert "nothing that the profile requires is waived" in refused(replace(CITY, protect=None), OTHER)
    assert "nothing that the profile requires is waived" in refused(replace(OTHER, waiver=WAIVER), CITY)


@pytest.mark.parametrize(
    ("subject", "said"),
    [
        (replace(CITY, classification=column("v", level="restricted").classification), "would be kept"),
        (column("v", info_type="US_SSN", protect="mask", waiver=WAIVER), "refuses"),
        (column("v", info_type="CITY", primary_key=True, protect="scrub", waiver=WAIVER), "is a key"),
        (column("v", "integer", info_type="CITY", protect="scrub", waiver=WAIVER), "does not apply"),
    ],
)
def test_a_waiver_waives_strength_and_nothing_else(subject: Column, said: str) -> None:
    message = refused(subject, OTHER)
    assert said in message


def test_every_new_waiver_is_told_as_weaker_than_the_profile_requires() -> None:
    plain = compiled(contract("people", replace(CITY, protect=None, waiver=None), OTHER)).to_json()
    waived = compiled(contract("people", CITY, OTHER)).to_json()
    said = "people.city: WEAKER than the profile requires: kept, waived until 2026-06-30 by dpo@example.org: "
    assert any(each.startswith(said) and WEAKER in each for each in changes(plain, waived))
    assert any(each.startswith(said) for each in changes(None, waived)), "the first release tells it too"
    assert changes(waived, waived) == []
    still = said.replace("WEAKER", "still WEAKER")
    assert [each.startswith(still) for each in standing(waived, waived)] == [True], "told each time"
    assert standing(None, waived) == standing(plain, waived) == standing(waived, plain) == []
    longer = replace(CITY, waiver=replace(WAIVER, expires=date(2026, 12, 31)))
    (told,) = changes(waived, compiled(contract("people", longer, OTHER)).to_json())
    assert "until 2026-12-31" in told
    assert changes(waived, plain), "and when it is gone, what changed is told"
    assert not any(WEAKER in each for each in changes(waived, plain))


def test_a_waiver_inside_json_is_told_with_its_path() -> None:
    member = replace(CITY, name="details.city")
    plan = compiled(contract("people", column("details", members=(member,)), OTHER))
    assert Plan.from_json(plan.to_json()) == plan
    (told,) = [each for each in changes(None, plan.to_json()) if WEAKER in each]
    assert told.startswith("people.details, $.city: WEAKER than the profile requires: kept, waived until")


def test_what_was_protected_before_is_not_protected_again() -> None:
    """A token of a token joins with nothing; a date that is shifted twice is not where its neighbours are."""
    mail = column("mail", info_type="EMAIL", protected=True)
    assert "was already protected when it arrived, and tokenize" in refused(
        mail, OTHER, profile="gdpr_pseudonymous"
    )
    for transform in ("fake", "hash", {"transform": "encrypt", "mode": "deterministic"}):
        again = column("mail", level="public", protected=True, protect=transform)
        assert "was already protected" in refused(again, OTHER, profile="gdpr_pseudonymous")
    kept = replace(mail, protect=Protect("keep"), waiver=WAIVER)
    for subject in (kept, replace(mail, protect=Protect("drop")), replace(mail, protect=Protect("redact"))):
        assert planned(subject, OTHER, profile="gdpr_pseudonymous").transform in {"keep", "drop", "redact"}


PROPERTY = {"name": "v", "logicalType": "string", "classification": "internal"}
GOOD = {"reason": "x", "approver": "dpo@example.org", "expires": "2026-06-30"}


def read(value: Any) -> Column:
    return read_column({**PROPERTY, "customProperties": [{"property": "waiver", "value": value}]}, Place("a"))


def test_a_contract_writes_reason_approver_and_the_day() -> None:
    assert read(GOOD).waiver == Waiver("x", "dpo@example.org", LAST)


@pytest.mark.parametrize(
    "value",
    [
        {},
        {**GOOD, "reason": " "},
        {**GOOD, "approver": None},
        {**GOOD, "expires": "never"},
        {**GOOD, "expires": "2026-02-30"},
        {**GOOD, "by": "x"},
        {"reason": "x", "approver": "y"},
    ],
)
def test_a_waiver_without_one_of_them_refuses_the_contract(value: Any) -> None:
    with pytest.raises(ContractError, match="waiver"):
        read(value)
