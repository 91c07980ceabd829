"""A plan is a document with a digest, and what changes in it is said in sentences."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import date
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from protect_examples import AS_OF, clinic, column, compiled, contract, planned, product, refused

from secure_platform import canonical
from secure_platform.contract.diff import diff
from secure_platform.contract.model import Column, Protect
from secure_platform.errors import ContractError, IntegrityError, PlanRefusedError
from secure_platform.protect import profile as profile_module
from secure_platform.protect.changes import changes, parameters
from secure_platform.protect.compiler import compile_plan
from secure_platform.protect.plan import Plan, mixed_domains
from secure_platform.taxonomy.classification import Classification

FREE = "gdpr_pseudonymous"
HEALTHCARE = Path(profile_module.__file__).parents[1] / "defs" / "healthcare"


def test_all_refusals_are_said_at_once() -> None:
    said = refused(
        column("A", info_type="US_SSN", protect="keep"),
        column("B", "number", protect="tokenize"),
        column("C", info_type="CITY", protect="keep"),
    )
    assert all(f"people.{name}" in said for name in "ABC")


def test_a_dataset_of_which_nothing_is_left_is_refused() -> None:
    assert "Nothing of people" in refused(column("SSN", level="restricted", info_type="US_SSN"))


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(ContractError):
        compile_plan(product(contract("a", column("v")), profile="hipaa"), lambda _: 1, AS_OF)


def test_the_digest_is_that_of_the_canonical_json_and_the_same_every_time() -> None:
    plan, again = compiled(*clinic()), compiled(*clinic())
    document = plan.to_json()
    digest = document.pop("digest")
    assert digest == plan.digest == again.digest == canonical.sha256(canonical.dumps(document))
    assert "key" not in {key.partition("_")[0] for key in document}


def test_whatever_changes_the_outcome_changes_the_digest() -> None:
    people, visits, notes = clinic()
    digests = {
        compiled(people, visits, notes).digest,
        compiled(people, visits, notes, version=2).digest,
        compiled(people, visits).digest,
        compile_plan(product(people, visits, notes), lambda _: 1, date(2027, 1, 1)).digest,
        compile_plan(product(people, visits, notes, name="other"), lambda _: 1, AS_OF).digest,
        compiled(people, visits, replace(notes, columns=notes.columns[::-1])).digest,
    }
    assert len(digests) == 6


def test_a_rotation_while_the_plan_is_compiled_gives_a_domain_one_version() -> None:
    versions: Counter[str] = Counter()

    def rotated(domain: str) -> int:
        versions[domain] += 1
        return versions[domain]

    plan = compile_plan(product(*clinic()), rotated, AS_OF)
    assert plan.token_versions["patient"] == 1
    assert len([c for d in plan.datasets.values() for c in d.columns if c.token_domain == "patient"]) > 1
    assert mixed_domains(plan.to_json()["datasets"].values()) == []


def test_a_document_with_two_versions_of_a_domain_is_refused() -> None:
    document = compiled(*clinic()).to_json()
    del document["digest"]
    document["datasets"]["people"][0]["token_version"] = 2
    document["token_versions"] = {**document["token_versions"], "patient": 2}
    for versions in ({"patient": 1}, {"patient": 2}):
        document["token_versions"] |= versions
        signed = {**document, "digest": canonical.sha256(canonical.dumps(document))}
        with pytest.raises(IntegrityError, match="plan"):
            Plan.from_json(signed)


FORGERIES: list[Callable[[dict[str, Any]], Any]] = [
    lambda d: d.update(token_versions={"patient": 2}),
    lambda d: d["datasets"]["people"][0].update(token_version=2),
    lambda d: d["datasets"]["people"][1].update(transform="keep"),
    lambda d: d["datasets"]["people"][1].update(more=1),
    lambda d: d["datasets"]["people"][1].pop("reason"),
    lambda d: d["datasets"]["people"][1].update(classification="secret"),
    lambda d: d["datasets"]["people"].pop(),
    lambda d: d.update(format=2),
    lambda d: d.update(extra=1),
    lambda d: d.update(as_of="soon"),
    lambda d: d.update(datasets=[]),
    lambda d: d.pop("digest"),
    lambda d: d.update(digest="sha256:" + "0" * 64),
]


def test_a_plan_survives_json_and_nothing_else_is_accepted() -> None:
    plan = compiled(*clinic())
    text = json.dumps(plan.to_json())
    assert Plan.from_json(json.loads(text)) == plan
    assert Plan.from_json(json.loads(text)).to_json() == plan.to_json()
    for change in FORGERIES:
        document = json.loads(text)
        change(document)
        with pytest.raises(IntegrityError):
            Plan.from_json(document)


# --- changes in words


def sentences(old: Mapping[str, Any] | None, new: Plan) -> list[str]:
    return changes(old, new.to_json())


def test_a_first_plan_is_summarised() -> None:
    said = sentences(None, compiled(*clinic()))
    assert said[0] == "First plan, under hipaa_safe_harbor, calculated at 2026-01-01."
    assert said[1] == (
        "people: 1 of 3 columns tokenized, 1 of 3 columns dropped, 1 of 3 columns generalized."
    )


def test_the_same_plan_changes_nothing() -> None:
    plan = compiled(*clinic())
    assert sentences(plan.to_json(), compiled(*clinic())) == []


def changed(dataset: int, name: str, **change: Any) -> tuple[Any, ...]:
    contracts = list(clinic())
    columns = tuple(replace(c, **change) if c.name == name else c for c in contracts[dataset].columns)
    contracts[dataset] = replace(contracts[dataset], columns=columns)
    return tuple(contracts)


def test_weaker_protection_is_called_weaker() -> None:
    kept, dropped = clinic(), changed(1, "CODE", protect=Protect("drop"))
    (said,) = sentences(compiled(*dropped).to_json(), compiled(*kept))
    assert said.startswith("visits.CODE: WEAKER than before: kept instead of dropped.")
    (said,) = sentences(compiled(*kept).to_json(), compiled(*dropped))
    assert said.startswith("visits.CODE: dropped instead of kept.")


def test_a_laxer_parameter_is_called_weaker() -> None:
    def with_age(age: int) -> Plan:
        protect = Protect("generalize", {"to": "year", "aggregate_age": age})
        return compiled(*changed(0, "BORN", protect=protect))

    (said,) = sentences(with_age(70).to_json(), with_age(90))
    assert "WEAKER" in said
    assert "earliest 1936" in said
    (said,) = sentences(with_age(90).to_json(), with_age(70))
    assert "WEAKER" not in said


def test_everything_else_that_changes_is_said() -> None:
    people, visits, notes = clinic()
    old = compiled(people, visits, notes).to_json()
    assert sentences(old, compiled(people, visits, notes, patient=2)) == [
        (
            "Tokens of the domain patient are made with key version 2 instead of 1: "
            "they do not match those released before."
        )
    ]
    later = compile_plan(product(people, visits, notes), lambda _: 1, date(2027, 1, 1))
    said = sentences(old, later)
    assert said[0] == "Ages are calculated at 2027-01-01 instead of 2026-01-01."
    assert any("earliest 1937" in sentence for sentence in said)
    assert "WEAKER" not in "".join(said)
    assert "notes: the dataset is no longer released." in sentences(old, compiled(people, visits))
    assert any(
        s.startswith("notes: new dataset") for s in sentences(compiled(people, visits).to_json(), later)
    )
    fewer = replace(visits, columns=visits.columns[:-1])
    assert "visits.CODE: the column is no longer in the contract; it was kept." in sentences(
        old, compiled(people, fewer, notes)
    )
    assert any(
        "visits.CODE: new column, kept" in s
        for s in sentences(compiled(people, fewer, notes).to_json(), compiled(*clinic()))
    )
    reclassified = compiled(*changed(1, "CODE", classification=Classification.PUBLIC))
    assert sentences(old, reclassified) == [
        "visits.CODE: the classification changes from internal to public.",
        "visits.CODE: the contract classifies it public instead of internal.",
    ]
    domain = compiled(*changed(1, "Id", token_domain="visit"))
    assert "visits.Id: the token domain changes from clinic.visits.Id to visit." in sentences(old, domain)
    loose = sentences(old, compiled(*changed(2, "VISIT", reference=None)))
    assert "notes.VISIT: the reference changes from visits.Id to none." in loose


def test_another_profile_is_said() -> None:
    contracts = (contract("a", column("v", info_type="CITY"), column("w")),)
    said = sentences(compiled(*contracts).to_json(), compiled(*contracts, profile=FREE))
    assert said[0] == "The protection profile changes from hipaa_safe_harbor to gdpr_pseudonymous."
    assert said[1].startswith("a.v: WEAKER than before: kept instead of dropped.")


def treatment(subject: Column, profile: str) -> Protect | None:
    with suppress(PlanRefusedError):
        plan = planned(subject, column("other"), profile=profile)
        return Protect(plan.transform, plan.params)
    return None


@pytest.mark.parametrize("profile", ["hipaa_safe_harbor", FREE])
def test_no_change_that_contract_diff_calls_additive_changes_how_a_column_is_protected(profile: str) -> None:
    columns = [
        column("a", level=level, info_type=info_type, quasi_identifier=quasi, subject_id=subject)
        for level in ("public", "internal", "confidential", "restricted")
        for info_type in (None, "RECORD_ID", "US_ZIP", "AGE", "EMAIL", "CITY", "US_SSN")
        for quasi in (False, True)
        for subject in (False, True)
    ]
    outcomes = [treatment(each, profile) for each in columns]
    compared = 0
    for (old, before), (new, after) in permutations(zip(columns, outcomes, strict=True), 2):
        if all(change.kind != "breaking" for change in diff(contract("a", old), contract("a", new))):
            compared += 1
            assert before == after
    assert compared


@pytest.mark.parametrize(
    ("asked", "logical_type", "told"),
    [
        ({"transform": "mask", "keep_last": 4}, "string", "keep_last 4"),
        ({"transform": "generalize", "to": "bucket", "width": 10}, "integer", "width 10"),
        ({"transform": "encrypt", "mode": "deterministic"}, "string", ""),
        ({"transform": "vault", "ttl": 30}, "string", "format hex, ttl 30"),
        ({"transform": "replace", "value": "x" * 36}, "string", f"value {'x' * 33}…"),
    ],
)
def test_a_plan_tells_what_a_transform_was_told(asked: Any, logical_type: str, told: str) -> None:
    found = parameters(planned(column("v", logical_type, protect=asked), column("w"), profile=FREE))
    assert set(told.split(", ")) <= {*found.split(", "), ""}
    assert all(len(each) <= 40 for each in found.split(", "))
