"""The profiles and the strengths of transforms say what the law says, and are read strictly."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from protect_examples import column, compiled, contract, planned, refused

from secure_platform.contract.model import DTYPES, Protect, Reference
from secure_platform.errors import ContractError
from secure_platform.protect.profile import PROFILES, load_profile, read_profile
from secure_platform.protect.strength import (
    DOCUMENT,
    DONE,
    KINDS,
    MADE_OF_PARTS,
    Strengths,
    full_name,
    strengths,
)
from secure_platform.protect.transforms import TRANSFORMS
from secure_platform.taxonomy.info_types import info_types

# 45 CFR 164.514(b)(2)(i); (B) and (C) go on about ZIP codes and ages.
SAFE_HARBOR = {
    "A": "Names",
    "B": "All geographic subdivisions smaller than a State, including street address, city, county, "
    "precinct, zip code, and their equivalent geocodes",
    "C": "All elements of dates (except year)",
    "D": "Telephone numbers",
    "E": "Fax numbers",
    "F": "Electronic mail addresses",
    "G": "Social security numbers",
    "H": "Medical record numbers",
    "I": "Health plan beneficiary numbers",
    "J": "Account numbers",
    "K": "Certificate/license numbers",
    "L": "Vehicle identifiers and serial numbers, including license plate numbers",
    "M": "Device identifiers and serial numbers",
    "N": "Web Universal Resource Locators (URLs)",
    "O": "Internet Protocol (IP) address numbers",
    "P": "Biometric identifiers, including finger and voice prints",
    "Q": "Full face photographic images and any comparable images",
    "R": "Any other unique identifying number, characteristic, or code, except as permitted by paragraph "
    "(c) of this section",
}
SIXTEEN = "i ii iii iv v vi vii viii ix x xi xii xiii xiv xv xvi"
HIPAA = "hipaa_safe_harbor"


def test_safe_harbor_has_the_eighteen_identifiers_and_drops_all_but_dates() -> None:
    profile = load_profile(HIPAA)
    assert profile.identifiers.keys() == SAFE_HARBOR.keys()
    for letter, rule in profile.identifiers.items():
        assert rule.reason.startswith(f"45 CFR 164.514(b)(2)(i)({letter}): {SAFE_HARBOR[letter]}")
        expected = "generalize.year" if letter == "C" else "drop"
        assert full_name(rule.protect) == expected
    assert profile.identifiers["C"].protect.params["aggregate_age"] == 90


def test_a_limited_data_set_excludes_the_sixteen_identifiers_and_keeps_what_is_not_among_them() -> None:
    profile = load_profile("hipaa_limited")
    letters = SAFE_HARBOR.keys() - {"C", "R"}
    for letter, numeral in zip(sorted(letters), SIXTEEN.split(), strict=True):
        rule = profile.identifiers[letter]
        said = "Postal address information, other than town" if letter == "B" else SAFE_HARBOR[letter]
        assert rule.reason.startswith(f"45 CFR 164.514(e)(2)({numeral}): {said}")
        assert rule.protect.transform == "drop"
    kept = set()
    for name, kind in info_types().items():
        (rule,) = profile.rules(column("v"), info_type=name, is_key=False)
        if rule.protect.transform == "keep" and kind.hipaa:
            kept.add(name)
        assert rule.protect.transform == "drop" or (
            kind.group != "secret" and kind.hipaa not in letters - {"B"}
        )
    assert kept == {"CITY", "COUNTY", "US_ZIP", "DATE", "DATE_OF_BIRTH", "DATE_OF_DEATH", "AGE_OVER_89"}


def test_safe_harbor_for_every_info_type() -> None:
    profile = load_profile(HIPAA)
    exceptions = {
        "AGE": "generalize.age",
        "AGE_OVER_89": "generalize.age",
        "US_ZIP": "generalize.zip3",
        "RECORD_ID": "tokenize",
        "PROVIDER_ID": "tokenize",
        "DATE_OF_BIRTH": "generalize.year",
        "DATE_OF_DEATH": "generalize.year",
        "DATE": "generalize.year",
    }
    for name in info_types():
        (rule,) = profile.rules(column("v"), info_type=name, is_key=False)
        assert full_name(rule.protect) == exceptions.get(name, "drop"), name


@pytest.mark.parametrize("logical_type", ["date", "timestamp"])
@pytest.mark.parametrize("level", ["public", "internal", "confidential", "restricted"])
def test_safe_harbor_makes_every_date_a_year(logical_type: str, level: str) -> None:
    (rule,) = load_profile(HIPAA).rules(column("v", logical_type, level), info_type=None, is_key=False)
    assert rule.protect == Protect("generalize", {"to": "year", "aggregate_age": 90})


@pytest.mark.parametrize("name", sorted(path.stem for path in PROFILES.glob("*.yaml")))
def test_every_info_type_has_a_rule_in_every_profile(name: str) -> None:
    for info_type in [*info_types(), "A_TYPE_OF_TOMORROW"]:
        rules = load_profile(name).rules(column("v"), info_type=info_type, is_key=False)
        assert len(rules) == 1
        assert rules[0].reason


def test_unique_columns_and_subjects_have_a_rule_unless_public() -> None:
    profile = load_profile(HIPAA)
    assert not profile.rules(column("v"), info_type=None, is_key=False)
    for subject, is_key in [(True, False), (False, True)]:
        (rule,) = profile.rules(column("v", subject_id=subject), info_type=None, is_key=is_key)
        assert rule.protect.transform == "tokenize"
        assert not profile.rules(
            column("v", level="public", subject_id=subject), info_type=None, is_key=is_key
        )


def test_an_unknown_profile_is_refused_with_the_known_ones() -> None:
    for name in ("hipaa", "../../x", "", "HIPAA_SAFE_HARBOR"):
        with pytest.raises(
            ContractError, match=r"gdpr_pseudonymous, hipaa_limited, hipaa_safe_harbor, pci, test_data\."
        ):
            load_profile(name)


PAN = {"info_type": "CREDIT_CARD", "pattern": "^[0-9]{16}$", "level": "restricted"}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (None, ""),
        ("tokenize", ""),
        ("fake", ""),
        ({"transform": "encrypt", "mode": "randomized"}, ""),
        ({"transform": "mask", "keep_first": 4, "keep_last": 4}, ""),
        ("fpe", "weaker than mask"),
        ("keep", "weaker than mask"),
    ],
)
def test_a_pan_is_truncated_a_token_or_encrypted(asked: Any, said: str) -> None:
    subject = column("pan", protect=asked, **PAN)
    if said:
        assert said in refused(subject, column("other"), profile="pci")
        return
    found = planned(subject, column("other"), profile="pci")
    assert found.transform == (
        asked if isinstance(asked, str) else (asked or {"transform": "mask"})["transform"]
    )
    if asked is None:
        assert dict(found.params) == {"keep_first": 6, "keep_last": 4}


def test_authentication_data_are_never_stored_and_so_not_required() -> None:
    sad = {name for name, kind in info_types().items() if kind.pci == "SAD"}
    assert load_profile("pci").never_stored.keys() == sad
    for name in sad:
        assert (
            planned(column("v", level="restricted", info_type=name), column("w"), profile="pci").transform
            == "drop"
        )
    needed = column("v", level="restricted", info_type="CARD_PIN", required=True)
    assert "never lets it be stored" in refused(needed, column("w"), profile="pci")
    assert load_profile("pci").unstored(contract("p", column("v", info_type="CARD_PIN"), column("w"))) == (
        "v",
    )
    assert not load_profile("test_data").never_stored


@pytest.mark.parametrize("name", ["census", "pci", "test_data"])
def test_no_identifier_and_no_secret_is_kept_by_a_profile_with_groups(name: str) -> None:
    for info_type, kind in info_types().items():
        (rule,) = load_profile(name).rules(column("v"), info_type=info_type, is_key=False)
        if kind.sensitive and info_type not in {"DATE", "AGE"}:
            assert rule.protect.transform != "keep", info_type
        if kind.group == "secret":
            assert rule.protect.transform == "drop"


def test_test_data_look_real_and_their_references_resolve() -> None:
    """The keys are tokens, what has a look is made up, and free text of unknown content is not there."""
    people = contract(
        "people",
        column("id", info_type="RECORD_ID", primary_key=True, subject_id=True),
        column("name", info_type="PERSON_NAME"),
        column("mail", info_type="EMAIL"),
        column("born", "date", info_type="DATE_OF_BIRTH"),
        column("note", level="restricted"),
        column("key", level="restricted", info_type="AWS_ACCESS_KEY"),
    )
    orders = contract(
        "orders", column("person", reference=Reference("people", "id")), column("sum", "number")
    )
    plan = compiled(people, orders, profile="test_data")
    assert {c.column: c.full_name for each in plan.datasets.values() for c in each.columns} == {
        "id": "tokenize",
        "name": "fake",
        "mail": "fake",
        "born": "generalize.month",
        "note": "redact",
        "key": "drop",
        "person": "tokenize",
        "sum": "keep",
    }


def broken_profiles() -> dict[str, dict[str, Any]]:
    good = yaml.safe_load((PROFILES / f"{HIPAA}.yaml").read_text())
    rule = {"transform": "drop", "reason": "x"}

    def without(key: str) -> dict[str, Any]:
        return {k: v for k, v in good.items() if k != key}

    return {
        "another name": {**good, "profile": "another"},
        "no rule for other types": without("other_info_types"),
        "no info types": without("info_types"),
        "unknown key": {**good, "info_typs": {}},
        "a letter is missing": {**good, "identifiers": {"A": rule}},
        "unknown info type": {**good, "info_types": {"US_SNN": rule}},
        "unknown logical type": {**good, "logical_types": {"datetime": rule}},
        "unknown transform": {**good, "keys": {"transform": "tokenise", "reason": "x"}},
        "unknown kind": {**good, "keys": {"transform": "generalize", "to": "decade", "reason": "x"}},
        "unknown parameter": {**good, "keys": {**rule, "keep_last": 4}},
        "parameter of another type": {
            **good,
            "keys": {"transform": "generalize", "to": "year", "aggregate_age": "90", "reason": "x"},
        },
        "no reason": {**good, "keys": {"transform": "drop"}},
        "empty reason": {**good, "keys": {"transform": "drop", "reason": ""}},
        "rule is a text": {**good, "restricted": "drop"},
        "section is a list": {**good, "info_types": ["drop"]},
        "unknown group": {**good, "groups": {"people": rule}},
        "or without a list": {**good, "keys": {**rule, "or": rule}},
        "or with an unknown transform": {**good, "keys": {**rule, "or": [{"transform": "hide"}]}},
        "unknown info type that is not stored": {**good, "never_stored": {"CVV": "x"}},
        "not stored without a reason": {**good, "never_stored": {"CARD_PIN": ""}},
        "least k that is none": {**good, "least_k": 0},
        "unknown refused transform": {**good, "refused": {"shift": "x"}},
    }


@pytest.mark.parametrize("what", broken_profiles())
def test_a_profile_that_is_not_understood_is_refused(what: str, tmp_path: Path) -> None:
    path = tmp_path / f"{HIPAA}.yaml"
    path.write_text(json.dumps(broken_profiles()[what]))
    with pytest.raises(ContractError, match="is not acceptable"):
        read_profile(path)


def test_a_change_of_rules_or_strengths_changes_the_digest(tmp_path: Path) -> None:
    path = tmp_path / f"{HIPAA}.yaml"
    document = yaml.safe_load((PROFILES / f"{HIPAA}.yaml").read_text())
    path.write_text(json.dumps(document))
    assert read_profile(path).digest == load_profile(HIPAA).digest
    document["info_types"]["RECORD_ID"]["reason"] = "another"
    path.write_text(json.dumps(document))
    assert read_profile(path).digest != load_profile(HIPAA).digest


# --- strengths


def protect(name: str, **params: Any) -> Protect:
    transform, _, kind = name.partition(".")
    return Protect(transform, {**params, **({KINDS[transform]: kind} if kind else {})})


def hierarchy(file: str, level: int) -> Protect:
    return protect("generalize.hierarchy", file=file, level=level)


def test_the_data_describes_exactly_the_transforms_that_exist() -> None:
    assert strengths().names == TRANSFORMS.keys() | {"drop"}
    assert {name.partition(".")[0] for name in strengths().names} == DONE.keys()
    applicable = {dtype for transform in TRANSFORMS.values() for dtype in transform.outputs}
    assert applicable == set(DTYPES.values())


def test_what_is_declared_reversible_can_be_undone_and_nothing_else() -> None:
    declared = {name for name in TRANSFORMS if strengths().of(protect(name)).reversible}
    assert declared == {name for name, transform in TRANSFORMS.items() if transform.undo}
    assert declared == {"encrypt.deterministic", "encrypt.randomized", "fpe", "vault"}


def test_strength_is_a_preorder_with_drop_on_top_and_keep_at_the_bottom() -> None:
    known = strengths()
    # How strong these are depends on their parts.
    names = known.names - MADE_OF_PARTS
    stands_for = {a: {b for b in names if known.stands_for(protect(a), protect(b))} for a in names}
    for name, below in stands_for.items():
        assert name in below
        assert "keep" in below
        assert all(stands_for[other] <= below for other in below), "transitive"
        assert (below == names) == (name in {"drop", "redact"})
    assert stands_for["keep"] == {"keep"}
    assert stands_for["fpe"] == {"fpe", "keep"}
    assert stands_for["encrypt.deterministic"] == {"encrypt.deterministic", "fpe", "keep"}
    assert stands_for["encrypt.randomized"] == {"encrypt.randomized", *stands_for["encrypt.deterministic"]}
    assert stands_for["tokenize"] == {"tokenize", *stands_for["encrypt.deterministic"]}
    assert stands_for["hash"] == {"hash", *stands_for["tokenize"]}
    assert stands_for["replace"] == names - {"drop", "redact"}
    for name in ("mask", "noise", "shuffle", "generalize.limits", "generalize.hour", "generalize.hierarchy"):
        assert stands_for[name] == {name, "keep"}
    assert stands_for["shift_date"] == {"shift_date", "keep"}
    assert stands_for["generalize.year"] == {
        "generalize.year",
        "generalize.quarter",
        *stands_for["generalize.month"],
    }
    assert stands_for["generalize.month"] == {"generalize.month", *stands_for["generalize.day"]}
    assert stands_for["generalize.week"] == {"generalize.week", *stands_for["generalize.day"]}


@pytest.mark.parametrize(
    ("choice", "floor", "allowed"),
    [
        (protect("generalize.year", aggregate_age=90), protect("generalize.year", aggregate_age=90), True),
        (protect("generalize.year", aggregate_age=80), protect("generalize.year", aggregate_age=90), True),
        (protect("generalize.year", aggregate_age=91), protect("generalize.year", aggregate_age=90), False),
        (protect("generalize.year"), protect("generalize.year", aggregate_age=90), False),
        (protect("generalize.age"), protect("generalize.year", aggregate_age=90), False),
        (protect("generalize.age", aggregate_age=90), protect("generalize.year", aggregate_age=90), True),
        (
            protect("generalize.age", aggregate_age=90, width=5),
            protect("generalize.age", aggregate_age=90),
            True,
        ),
        (protect("generalize.age", width=5), protect("generalize.age", aggregate_age=90), False),
        (protect("generalize.age", aggregate_age=90), protect("generalize.age", width=5), False),
        (protect("generalize.age", width=10), protect("generalize.age", width=5), True),
        (protect("generalize.bucket", width=5), protect("generalize.age", aggregate_age=90), False),
        (protect("drop"), protect("generalize.year", aggregate_age=90), True),
        (protect("mask", keep_last=4), protect("mask", keep_last=2), False),
        (protect("mask", keep_last=2), protect("mask", keep_last=4), True),
        (protect("mask", keep_last=2), protect("mask"), False),
        (protect("mask"), protect("mask", keep_last=2), True),
        (protect("mask", keep_first=1, keep_last=2), protect("mask", keep_last=4), False),
        (protect("mask", keep_last=4), protect("keep"), True),
        (protect("noise", amount=5), protect("noise", amount=10), False),
        (protect("noise", amount=20), protect("noise", amount=10), True),
        (protect("generalize.limits", highest=80), protect("generalize.limits", highest=90), True),
        (protect("generalize.limits", highest=95), protect("generalize.limits", highest=90), False),
        (protect("generalize.limits", lowest=5), protect("generalize.limits", highest=90), False),
        (protect("generalize.limits", lowest=5), protect("generalize.limits", lowest=0), True),
        (hierarchy("a.csv", 3), hierarchy("a.csv", 2), True),
        (hierarchy("a.csv", 1), hierarchy("a.csv", 2), False),
        (hierarchy("b.csv", 3), hierarchy("a.csv", 2), False),
        (protect("tokenize", format="uuid"), protect("tokenize", format="base32"), True),
        (protect("fpe", checksum="luhn"), protect("fpe"), True),
        (protect("encrypt.deterministic"), protect("encrypt.randomized"), False),
        (protect("generalize.bucket", width=20), protect("generalize.bucket", width=10), True),
        (protect("generalize.bucket", width=15), protect("generalize.bucket", width=10), False),
        (protect("generalize.bucket", width=0.3), protect("generalize.bucket", width=0.1), True),
        (protect("generalize.bucket", width=5), protect("generalize.bucket", width=10), False),
    ],
)
def test_parameters_decide_what_stands_for_what(choice: Protect, floor: Protect, *, allowed: bool) -> None:
    assert strengths().stands_for(choice, floor) is allowed


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (Protect("safe"), "unknown transform"),
        (Protect("encrypt"), "without a known `mode` (deterministic, randomized)"),
        (Protect("encrypt", {"mode": "ecb"}), "without a known `mode`"),
        (Protect("tokenize", {"format": "short"}), "outside its limits"),
        (Protect("replace", {"value": ""}), "outside its limits"),
        (Protect("replace", {"value": 5}), "outside its limits"),
        (Protect("noise"), "without `amount`"),
        (Protect("generalize"), "without a known `to`"),
        (Protect("generalize", {"to": "decade"}), "without a known `to`"),
        (Protect("generalize", {"to": 5}), "without a known `to`"),
        (Protect("tokenize", {"to": "year"}), "parameter that it does not have"),
        (Protect("tokenize", {"key": "x"}), "parameter that it does not have"),
        (Protect("mask", {"keep_last": 5}), "outside its limits"),
        (Protect("mask", {"keep_last": -1}), "outside its limits"),
        (Protect("mask", {"keep_last": True}), "outside its limits"),
        (Protect("mask", {"keep_last": 2.0}), "outside its limits"),
        (Protect("generalize", {"to": "bucket"}), "without `width`"),
        (Protect("generalize", {"to": "bucket", "width": 0}), "outside its limits"),
        (Protect("generalize", {"to": "bucket", "width": float("nan")}), "outside its limits"),
        (Protect("generalize", {"to": "bucket", "width": "10"}), "outside its limits"),
        (Protect("generalize", {"to": "year", "aggregate_age": 0}), "outside its limits"),
    ],
)
def test_wrong_transforms_and_parameters_are_found(wrong: Protect, said: str) -> None:
    problem = strengths().problem(wrong)
    assert problem is not None
    assert said in problem


def test_a_strength_document_that_is_not_understood_is_refused(tmp_path: Path) -> None:
    good = yaml.safe_load(DOCUMENT.read_text())
    path = tmp_path / "transforms.yaml"
    path.write_text(json.dumps(good))
    assert Strengths.load(path).digest == strengths().digest
    broken: list[dict[str, Any]] = [
        {"transforms": good["transforms"]},
        {**good, "transforms": {"keep": {**good["transforms"]["keep"], "stronger_than": ["nothing"]}}},
        {**good, "transforms": {"keep": {**good["transforms"]["keep"], "strong": []}}},
        {**good, "transforms": {"keep": {**good["transforms"]["keep"], "reversible": "yes"}}},
        {**good, "transforms": {"keep": {**good["transforms"]["keep"], "uniqueness": "maybe"}}},
        {**good, "transforms": {"keep": {**good["transforms"]["keep"], "leaves": "secret"}}},
        {**good, "transforms": {"keep": {"uniqueness": "preserved", "leaves": "public"}}},
    ]
    for document in broken:
        path.write_text(json.dumps(document))
        with pytest.raises(ContractError, match=r"is not understood|classification"):
            Strengths.load(path)


def test_the_suppressed_zip_prefixes_are_those_of_both_counts_and_of_military_mail() -> None:
    suppressed = strengths().suppressed_zip3
    assert len(suppressed) == len(set(suppressed)) == 23 + 16
    assert all(len(prefix) == 3 and prefix.isdigit() for prefix in suppressed)
