"""What a plan decides for each column, and what it refuses."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protect_examples import AS_OF, column, dataset_plan, planned, refused

from secure_platform.contract.model import Protect
from secure_platform.contract.product import load_product
from secure_platform.errors import PlanRefusedError
from secure_platform.protect import profile as profile_module
from secure_platform.protect.compiler import compile_plan
from secure_platform.protect.strength import strengths
from secure_platform.protect.transforms import TRANSFORMS
from secure_platform.taxonomy.classification import Classification
from secure_platform.taxonomy.info_types import info_types

FREE = "gdpr_pseudonymous"
HEALTHCARE = Path(profile_module.__file__).parents[1] / "defs" / "healthcare"


# --- what is decided


def test_the_healthcare_product_under_safe_harbor() -> None:
    plan = compile_plan(load_product(HEALTHCARE), lambda _: 1, AS_OF)
    found = {
        f"{dataset.dataset}.{c.column}": c.full_name
        for dataset in plan.datasets.values()
        for c in dataset.columns
    }
    people = {"SSN", "DRIVERS", "PASSPORT", "PREFIX", "FIRST", "LAST", "SUFFIX", "MAIDEN"}
    for name in people | {"BIRTHPLACE", "ADDRESS", "CITY", "COUNTY", "LAT", "LON"}:
        assert found[f"patients.{name}"] == "drop"
    for name in ("patients.BIRTHDATE", "patients.DEATHDATE", "encounters.START", "observations.DATE"):
        assert found[name] == "generalize.year"
    assert found["patients.ZIP"] == "generalize.zip3"
    assert found["patients.STATE"] == found["conditions.CODE"] == "keep"
    tokens = {
        (c.token_domain, c.token_version)
        for dataset in plan.datasets.values()
        for c in dataset.columns
        if c.column == "PATIENT" or (dataset.dataset == "patients" and c.column == "Id")
    }
    assert tokens == {("patient", 1)}
    for dataset in plan.datasets.values():
        for c in dataset.outputs:
            assert c.classification < Classification.RESTRICTED
            assert c.input_classification < Classification.RESTRICTED or c.transform != "keep"


def test_a_treatment_is_another_one_only_if_other_values_come_out() -> None:
    healthcare = load_product(HEALTHCARE)
    plans, newer = (compile_plan(healthcare, given, AS_OF).datasets for given in (lambda _: 1, lambda _: 2))
    patients = plans["patients"]
    assert patients.columns != newer["patients"].columns
    assert {name: each.treatment for name, each in plans.items()} == {
        name: each.treatment for name, each in newer.items()
    }
    first, *others = patients.columns
    for changed in (replace(first, transform="redact"), replace(first, params={"to": "month"})):
        assert replace(patients, columns=(changed, *others)).treatment != patients.treatment
    worded = replace(first, reason="another", classification=Classification.PUBLIC)
    assert replace(patients, columns=(worded, *others)).treatment == patients.treatment


def test_a_column_plan_says_everything() -> None:
    plan = planned(column("BORN", "date", level="restricted", info_type="DATE_OF_BIRTH"))
    assert plan.to_json() == {
        "column": "BORN",
        "transform": "generalize",
        "params": {"to": "year", "aggregate_age": 90, "earliest": 1936},
        "reason": plan.reason,
        "input_type": "Date",
        "output_type": "Int32",
        "info_type": "DATE_OF_BIRTH",
        "input_classification": "restricted",
        "classification": "confidential",
        "token_domain": None,
        "token_version": None,
        "reference": None,
    }
    assert plan.reason.startswith("45 CFR 164.514(b)(2)(i)(C)")


def test_dropped_columns_are_listed_and_have_no_output() -> None:
    dataset = dataset_plan(
        column("SSN", level="restricted", info_type="US_SSN"), column("CODE", level="internal")
    )
    assert [c.column for c in dataset.columns] == ["SSN", "CODE"]
    assert [c.column for c in dataset.outputs] == ["CODE"]
    assert dataset.columns[0].output_type is None
    assert dataset.columns[0].classification is Classification.PUBLIC


@pytest.mark.parametrize("name", list(info_types()))
def test_no_identifier_passes_safe_harbor_as_it_is(name: str) -> None:
    logical_type = "integer" if name in {"AGE", "AGE_OVER_89"} else "string"
    plan = planned(column("v", logical_type, level="restricted", info_type=name), column("other"))
    assert plan.transform != "keep"
    assert plan.classification < Classification.RESTRICTED
    kind = info_types()[name]
    if kind.hipaa:
        assert f"164.514(b)(2)(i)({kind.hipaa})" in plan.reason


def test_ages_are_aggregated_from_ninety() -> None:
    plan = planned(column("AGE", "integer", info_type="AGE"), column("other"))
    assert (plan.full_name, plan.params["aggregate_age"]) == ("generalize.age", 90)
    with pytest.raises(PlanRefusedError, match=r"generalize\.age"):
        planned(column("AGE", "string", info_type="AGE"), column("other"))


def test_clinical_facts_are_kept_and_unlabelled_restricted_text_is_not() -> None:
    assert planned(column("DIAGNOSIS")).transform == "keep"
    assert planned(column("NOTES", level="restricted"), column("other")).transform == "drop"
    assert planned(column("INCOME", "number", level="restricted"), column("other")).transform == "drop"
    assert planned(column("SEEN", "date", level="restricted")).full_name == "generalize.year"


def test_the_strictest_of_several_rules_wins_and_incomparable_rules_drop() -> None:
    other = column("other")
    assert planned(column("SSN", info_type="US_SSN", unique=True), other).transform == "drop"
    assert planned(column("DAY", "date", unique=True), other).transform == "drop"
    assert planned(column("CODE", unique=True)).transform == "tokenize"


def test_unique_columns_are_tokenized_unless_public() -> None:
    assert planned(column("Id", primary_key=True)).transform == "tokenize"
    assert planned(column("CODE", level="public", primary_key=True)).transform == "keep"
    both = dataset_plan(column("A", primary_key=True, info_type="RECORD_ID"), column("B", primary_key=True))
    assert [c.transform for c in both.columns] == ["tokenize", "keep"], "half a key is not unique"


@given(
    level=st.sampled_from(["public", "internal", "confidential", "restricted"]),
    logical_type=st.sampled_from(["string", "integer", "number", "boolean", "date", "timestamp"]),
    info_type=st.sampled_from([None, *info_types()]),
    asked=st.sampled_from([None, *sorted(strengths().names)]),
    profile=st.sampled_from(["hipaa_safe_harbor", FREE, "pci", "test_data"]),
    unique=st.booleans(),
    subject=st.booleans(),
)
@settings(deadline=None, max_examples=400)
def test_every_plan_is_at_least_as_strict_as_every_rule(
    level: str,
    logical_type: str,
    info_type: str | None,
    asked: str | None,
    profile: str,
    unique: bool,  # noqa: FBT001 - hypothesis gives it
    subject: bool,  # noqa: FBT001 - hypothesis gives it
) -> None:
    transform, _, kind = (asked or "").partition(".")
    params = {"to": kind, **({"width": 5} if kind == "bucket" else {})} if kind else {}
    protect = {"transform": transform, **params} if asked else None
    one = column(
        "v", logical_type, level, info_type=info_type, protect=protect, unique=unique, subject_id=subject
    )
    try:
        plan = planned(one, column("other", level="public"), profile=profile)
    except PlanRefusedError:
        return
    found = profile_module.load_profile(profile)
    chosen = Protect(plan.transform, plan.params)
    for rule in found.rules(one, info_type=info_type, is_key=unique):
        assert rule.allows(chosen)
        assert plan.transform not in found.refused
    assert plan.transform != "keep" or one.classification < Classification.RESTRICTED
    assert plan.classification <= one.classification
    if profile == "hipaa_safe_harbor" and plan.transform != "drop":
        if info_type is not None:
            assert plan.transform != "keep"
        if logical_type in {"date", "timestamp"}:
            assert plan.full_name in {"redact", "generalize.year", "generalize.age"}
            assert plan.params.get("aggregate_age", 0) <= 90  # type: ignore[operator]
    if plan.transform != "drop":
        assert plan.output_type == str(TRANSFORMS[plan.full_name].outputs[one.dtype])


# --- what a contract may ask for


@pytest.mark.parametrize("transform", ["drop", "redact"])
def test_a_contract_may_be_stricter(transform: str) -> None:
    plan = planned(column("BORN", "date", info_type="DATE_OF_BIRTH", protect=transform), column("other"))
    assert plan.transform == transform
    assert "The contract asks for" in plan.reason
    assert "164.514(b)(2)(i)(C)" in plan.reason


def test_a_contract_that_says_year_means_the_profiles_year() -> None:
    protect = {"transform": "generalize", "to": "year"}
    plan = planned(column("BORN", "date", info_type="DATE_OF_BIRTH", protect=protect))
    assert plan.params == {"to": "year", "aggregate_age": 90, "earliest": 1936}
    stricter = planned(column("BORN", "date", protect={**protect, "aggregate_age": 70}))
    assert stricter.params["earliest"] == 1956


def test_an_age_may_stand_for_a_year_and_is_aggregated_too() -> None:
    plan = planned(
        column("BORN", "date", info_type="DATE_OF_BIRTH", protect={"transform": "generalize", "to": "age"})
    )
    assert plan.params == {"to": "age", "aggregate_age": 90, "as_of": "2026-01-01"}


@pytest.mark.parametrize(
    ("info_type", "protect"),
    [
        ("US_SSN", "keep"),
        ("US_SSN", "tokenize"),
        ("US_SSN", "hash"),
        ("US_SSN", "mask"),
        ("US_SSN", {"transform": "mask", "keep_last": 4}),
        ("MRN", "tokenize"),
        ("PERSON_NAME", "tokenize"),
        ("CITY", "keep"),
        ("US_ZIP", "keep"),
        ("US_ZIP", "tokenize"),
        ("RECORD_ID", "keep"),
        ("RECORD_ID", "mask"),
        ("EMAIL", "hash"),
    ],
)
def test_a_contract_may_not_be_weaker_than_safe_harbor(info_type: str, protect: Any) -> None:
    said = refused(column("v", level="restricted", info_type=info_type, protect=protect), column("other"))
    assert said.startswith("people.v")
    assert "164.514" in said


@pytest.mark.parametrize(
    "protect",
    [
        "keep",
        "shift_date",
        "tokenize",
        {"transform": "generalize", "to": "month"},
        {"transform": "generalize", "to": "quarter"},
        {"transform": "generalize", "to": "year", "aggregate_age": 91},
        {"transform": "generalize", "to": "age", "aggregate_age": 120},
    ],
)
@pytest.mark.parametrize("logical_type", ["date", "timestamp"])
def test_no_element_of_a_date_but_the_year_passes_safe_harbor(logical_type: str, protect: Any) -> None:
    said = refused(column("v", logical_type, protect=protect), column("who", subject_id=True))
    assert "164.514(b)(2)(i)(C)" in said


def test_a_transform_that_the_profile_refuses_is_refused_with_the_profiles_reason() -> None:
    said = refused(column("v", info_type="US_SSN", protect="mask"), column("other"))
    assert "refuses: parts of an identifier are identifiers" in said
    said = refused(column("v", "date", protect="shift_date"), column("who", subject_id=True))
    assert "refuses: a shifted date is still an element of a date" in said
    assert planned(column("CODE", level="internal", protect="mask")).transform == "mask", "no identifier"


def test_a_restricted_column_is_never_kept() -> None:
    for info_type in (None, "CITY", "DATE"):
        assert "restricted" in refused(column("v", level="restricted", info_type=info_type), profile=FREE)
    assert "restricted" in refused(column("v", level="restricted", protect="keep"), profile=FREE)
    assert planned(column("v", level="restricted", protect="hash"), profile=FREE).transform == "hash"


@pytest.mark.parametrize(
    ("logical_type", "protect"),
    [
        ("number", "tokenize"),
        ("boolean", "hash"),
        ("integer", "mask"),
        ("string", "shift_date"),
        ("number", {"transform": "generalize", "to": "year"}),
        ("string", {"transform": "generalize", "to": "bucket", "width": 5}),
        ("date", {"transform": "generalize", "to": "zip3"}),
    ],
)
def test_a_transform_that_does_not_apply_to_the_type_is_refused(logical_type: str, protect: Any) -> None:
    said = refused(column("v", logical_type, protect=protect), column("who", subject_id=True), profile=FREE)
    assert "does not apply" in said


@pytest.mark.parametrize(
    "protect",
    ["encrypt", "generalize", {"transform": "generalize", "to": "decade"}, {"transform": "drop", "why": "x"}],
)
def test_unknown_transforms_and_parameters_are_refused(protect: Any) -> None:
    assert "Use one of: conditional, drop, encrypt.deterministic" in refused(column("v", protect=protect))


def test_an_integer_bucket_has_a_whole_width() -> None:
    protect = {"transform": "generalize", "to": "bucket", "width": 2.5}
    assert "part of an integer: width" in refused(column("v", "integer", protect=protect), profile=FREE)
    assert planned(column("v", "number", protect=protect), profile=FREE).params["width"] == 2.5


def test_a_hash_with_a_token_domain_is_refused() -> None:
    assert "token domain" in refused(column("v", protect="hash", token_domain="d"), profile=FREE)
