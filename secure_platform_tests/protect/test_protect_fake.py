"""Made-up values are the same everywhere for the same value, say nothing of it, and reach nobody."""

import hmac
import re
from typing import Any

import pytest
import yaml
from protect_examples import KEYS, column, compiled, contract, dataset_plan, planned, refused, typed
from stdnum import luhn

from secure_platform.protect.changes import changes
from secure_platform.protect.execute import apply
from secure_platform.protect.fake import DOCUMENT, TRUE_BY_CHANCE, kind_for
from secure_platform.protect.residual import residual_values
from secure_platform.protect.strength import strengths
from secure_platform.taxonomy.info_types import info_types

FREE = "gdpr_pseudonymous"
PARAMS = strengths().named("fake").params
KINDS, LOCALES = PARAMS["as"].choices, PARAMS["locale"].choices
KNOWN = yaml.safe_load(DOCUMENT.read_text("utf-8"))
VALUES = [f"person {number}" for number in range(400)]
FORMS = {
    "email": r"[a-z-]+\.[a-z-]+[0-9]{2}@example\.(com|net|org)",
    "username": r"[a-z-]+\.[a-z-]+[0-9]{2}",
    "ssn": r"666-[0-9]{2}-[0-9]{4}",
    "card": r"9999[0-9]{12}",
    "ipv4": r"(192\.0\.2|198\.51\.100|203\.0\.113)\.[0-9]{1,3}",
    "mac": r"00-00-5E-00-53-[0-9A-F]{2}",
    "url": r"https://www\.example\.(com|net|org)/[a-z-]+/[0-9]{4}",
}
FICTION = {
    "en_US": r"\([2-9][0-9]{2}\) 555-01[0-9]{2}",
    "en_GB": r"020 7946 0[0-9]{3}",
    "de_DE": r"030 23125 [0-9]{3}",
    "fr_FR": r"01 99 00 [0-9]{2} [0-9]{2}",
    "es_ES": r"500 [0-9]{3} [0-9]{3}",
}


def faked(kind: str, locale: str = "en_US", values: list[Any] = VALUES, **more: Any) -> list[Any]:
    subject = column("v", protect={"transform": "fake", "as": kind, "locale": locale}, **more)
    plan = dataset_plan(subject, profile=FREE)
    return apply(plan, typed([subject], {"v": values}), KEYS).collect(engine="streaming")["v"].to_list()


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_made_in_every_locale(kind: str, locale: str) -> None:
    made = faked(kind, locale)
    form = FICTION[locale] if kind == "phone" else FORMS.get(kind, r"[\w .,'&-]{3,}")
    assert all(re.fullmatch(form, value) for value in made), made[:3]
    assert len(set(made)) > (20 if kind in {"city", "first_name", "last_name"} else 100)
    if kind == "card":
        assert all(luhn.is_valid(value) for value in made)


def test_one_value_has_one_made_up_value_in_every_table() -> None:
    fake = {"transform": "fake", "locale": "de_DE"}
    here = column("name", info_type="PERSON_NAME", protect=fake, token_domain="person")
    there = column("doctor", info_type="PERSON_NAME", protect=fake, token_domain="person")
    apart = column("other", info_type="PERSON_NAME", protect=fake)
    plan = compiled(contract("people", here), contract("visits", there, apart), profile=FREE)
    names = ["Ada", "Bob", None, "Ada"]
    people = apply(plan.datasets["people"], typed([here], {"name": names}), KEYS).collect()
    visits = apply(
        plan.datasets["visits"], typed([there, apart], {"doctor": names[::-1], "other": names}), KEYS
    ).collect()
    assert people["name"].to_list() == visits["doctor"].to_list()[::-1]
    assert people["name"][0] == people["name"][3] != people["name"][1]
    assert people["name"][2] is None
    assert people["name"].to_list() != visits["other"].to_list()
    assert plan.token_versions == {"fake:person": 1, "fake:clinic.visits.other": 1}


def test_what_is_made_goes_by_the_keyed_hash_of_the_value_alone() -> None:
    drawn = hmac.digest(KEYS.bytes("fake:d").hex().encode(), b"Ada", "sha256").hex()
    words = KNOWN["locales"]["fr_FR"]
    first = words["first"][int(drawn[:8], 16) % len(words["first"])]
    last = words["last"][int(drawn[16:24], 16) % len(words["last"])]
    assert faked("name", "fr_FR", ["Ada"], token_domain="d") == [f"{first} {last}"]


def test_no_value_needs_more_draws_than_the_hash_has() -> None:
    patterns = [
        form
        for body in KNOWN["kinds"].values()
        for form in (body.values() if isinstance(body, dict) else [body])
    ]
    assert (
        max(len(re.findall(r"\{|#{1,9}|\$|(?<![{a-z_])[^{}#$]+(?![a-z_]*\})", form)) for form in patterns)
        <= 8
    )
    assert all(set(body) == set(LOCALES) for body in KNOWN["kinds"].values() if isinstance(body, dict))
    assert set(KNOWN["kinds"]) == set(KINDS)
    assert set(KNOWN["locales"]) == set(LOCALES)


def test_the_word_lists_hold_no_word_twice_and_enough_of_them() -> None:
    for locale, lists in KNOWN["locales"].items():
        for name, words in lists.items():
            assert len(set(words)) == len(words), (locale, name)
        assert len(lists["first"]) == len(lists["last"]) == 48, locale
        assert len(lists["street"]) == len(lists["city"]) == 24, locale


def test_the_info_type_says_what_is_made_and_where_it_does_not_the_contract_has_to() -> None:
    assert set(KNOWN["info_types"]) <= info_types().keys()
    assert set(KNOWN["info_types"].values()) <= set(KINDS)
    assert planned(column("v", info_type="US_SSN", protect="fake"), profile=FREE).params["as"] == "ssn"
    assert kind_for("MRN") is None
    assert "nothing is made up" in refused(column("v", info_type="MRN", protect="fake"), profile=FREE)
    assert "does not apply" in refused(column("v", "integer", protect="fake"), profile=FREE)
    assert "outside its limits" in refused(
        column("v", protect={"transform": "fake", "as": "king"}), profile=FREE
    )


def test_columns_of_one_domain_are_made_up_alike() -> None:
    one = column("a", token_domain="d", protect={"transform": "fake", "as": "name"})
    other = column("b", token_domain="d", protect={"transform": "fake", "as": "email"})
    assert "not spelled alike" in refused(one, other, profile=FREE)


def test_originals_that_are_left_are_found_but_for_words_that_are_true_by_chance() -> None:
    values = [f"5{number:03}-X{number * 37 % 1000:03}" for number in range(50)]
    for kind in KINDS:
        subject = column("v", token_domain="d", protect={"transform": "fake", "as": kind})
        plan = dataset_plan(subject, profile=FREE)
        frame = typed([subject], {"v": values})
        assert residual_values([(frame, plan)], apply(plan, frame, KEYS), plan, bytes(32)) == [], kind
        left = residual_values([(frame, plan)], frame, plan, bytes(32))
        assert left == ([] if kind in TRUE_BY_CHANCE else [("v", 50)]), kind


def test_a_made_up_value_tells_no_more_than_a_token_and_that_is_said() -> None:
    assert planned(column("v", info_type="EMAIL", protect="fake"), profile=FREE).transform == "fake"
    old = compiled(contract("p", column("v", info_type="EMAIL")), profile=FREE)
    new = compiled(contract("p", column("v", info_type="EMAIL", protect="fake")), profile=FREE)
    (said,) = changes(old.to_json(), new.to_json())
    assert said.startswith("p.v: made up (as email, locale en_US) instead of tokenized.")


@pytest.mark.parametrize("profile", [FREE, "test_data"])
def test_what_has_to_stay_unique_is_not_made_up(profile: str) -> None:
    asked: list[Any] = [
        "fake",
        {
            "transform": "conditional",
            "when": [{"column": "b", "equals": "x"}],
            "then": "fake",
            "otherwise": "replace",
        },
    ]
    for protect in asked:
        mail = column("mail", info_type="EMAIL", unique=True, protect=protect)
        said = refused(mail, column("b", level="public"), profile=profile)
        assert "people.mail is unique, and two values may get the same made-up one" in said
        assert "use tokenize" in said


@pytest.mark.parametrize(
    "info_type", ["EMAIL", "PHONE", "US_SSN", "CREDIT_CARD", "MAC_ADDRESS", "PERSON_NAME"]
)
@pytest.mark.parametrize("level", ["public", "confidential", "restricted"])
def test_what_test_data_keeps_unique_is_a_token(info_type: str, level: str) -> None:
    once = column("v", level=level, unique=True, info_type=info_type)
    plan = dataset_plan(once, profile="test_data")
    assert plan.columns[0].full_name == "tokenize"
    made = apply(plan, typed([once], {"v": [f"{n}" for n in range(2_000)]}), KEYS).collect()["v"]
    assert made.n_unique() == 2_000
    assert planned(column("v", level=level, info_type=info_type), profile="test_data").full_name == "fake"
    asked = column("v", level=level, info_type=info_type, protect="tokenize")
    assert planned(asked, profile="test_data").full_name == "tokenize", "as good as made up"
