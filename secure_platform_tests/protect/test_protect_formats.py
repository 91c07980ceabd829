"""What keeps its format is read from the contract's pattern, and refused where that does not say enough."""

import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protect_examples import KEYS, column, compiled, contract, dataset_plan, planned, refused, typed
from stdnum import luhn

from secure_platform.contract.model import Reference
from secure_platform.errors import PlanRefusedError
from secure_platform.protect.execute import apply, undo
from secure_platform.protect.formats import Format, read_format

FREE = "gdpr_pseudonymous"
DIGITS = "0123456789"
UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
READ = {
    "^[0-9]{16}$": Format(DIGITS, 16, 16),
    "^[0-9]{3}-[0-9]{2}-[0-9]{4}$": Format(DIGITS, 9, 9),
    "^[0-9]{3}-?[0-9]{2}-?[0-9]{4,6}$": Format(DIGITS, 9, 11),
    r"^\+[0-9]{10,14}$": Format(DIGITS, 10, 14),
    "^[0-9][0-9][0-9] [0-9]{4}[0-9]?$": Format(DIGITS, 7, 8),
    "^[0-9A-Z]{8}$": Format(DIGITS + UPPER, 8, 8),
    "^[A-Z0-9]{4}/[0-9A-Z]{4}$": Format(DIGITS + UPPER, 8, 8),
    "^MRN-[0-9]{7}$": Format(DIGITS, 7, 7),
    "^[a-f0-9]{8}$": Format("0123456789abcdef", 8, 8),
}
NOT_READ = [
    r"^\d{16}$",  # digits of every script
    "^[0-9]+$",
    "^[0-9]{6,}$",
    "^[0-9]*$",
    "^[A-Z]{2}[0-9]{7}$",  # two classes: one would stay
    "^4[0-9]{15}$",  # a fixed digit cannot be told from the others
    "^(?:[0-9]{9}|X)$",
    "^[0-9]{9}|x$",
    "^.{9}$",
    "^[^0-9]{9}$",
    "^[0-9_]{9}$",
    "^é[0-9]{9}$",
    "^MRN$",
    "^$",
]


@pytest.mark.parametrize("pattern", READ)
def test_a_pattern_that_says_it_is_read(pattern: str) -> None:
    assert read_format(pattern) == READ[pattern]


@pytest.mark.parametrize("pattern", NOT_READ)
def test_a_pattern_that_does_not_say_it_for_sure_is_not(pattern: str) -> None:
    assert read_format(pattern) is None


def numbers(pattern: str, values: Sequence[str | None], **params: Any) -> tuple[list[Any], list[Any]]:
    """The values under FF1, and what they become again."""
    subject = column("v", protect={"transform": "fpe", **params}, pattern=pattern)
    plan = dataset_plan(subject, profile=FREE)
    made = apply(plan, typed([subject], {"v": list(values)}), KEYS).collect(engine="streaming")
    return made["v"].to_list(), undo(plan, made, KEYS)["v"].to_list()


@pytest.mark.parametrize("pattern", READ)
@given(data=st.data())
@settings(max_examples=10, deadline=None)
def test_what_comes_out_matches_the_pattern_and_comes_back(pattern: str, data: st.DataObject) -> None:
    value = st.from_regex(pattern[:-1] + r"\Z", alphabet=st.characters(max_codepoint=127))
    values = data.draw(st.lists(st.none() | value, max_size=12))
    made, again = numbers(pattern, values)
    assert again == values
    assert [v is None for v in made] == [v is None for v in values]
    for new, old in zip(made, values, strict=True):
        assert old is None or (re.fullmatch(pattern, new) and len(new) == len(old))
    assert len(set(made)) == len(set(values))


def test_known_numbers() -> None:
    made, again = numbers("^[0-9]{3}-[0-9]{2}-[0-9]{4}$", ["999-17-5017", "000-00-0000"])
    assert made == ["316-50-7356", "545-54-7102"]
    assert again == ["999-17-5017", "000-00-0000"]


@given(st.lists(st.from_regex("[0-9]{7,19}", fullmatch=True, alphabet=st.sampled_from(DIGITS)), max_size=12))
@settings(max_examples=50, deadline=None)
def test_a_last_digit_stays_as_right_or_wrong_as_it_was(values: list[str]) -> None:
    whole = [value[:-1] + luhn.calc_check_digit(value[:-1]) for value in values] + values
    made, again = numbers("^[0-9]{7,19}$", whole, checksum="luhn")
    assert [luhn.is_valid(number) for number in made] == [luhn.is_valid(number) for number in whole]
    assert again == whole
    assert len(set(made)) == len(set(whole))


def test_what_does_not_match_the_pattern_becomes_null_and_never_stays() -> None:
    odd = ["999-17-501", "999-17-5017 ", "x", "", "٣٣٣-33-3333", None]
    assert numbers("^[0-9]{3}-[0-9]{2}-[0-9]{4}$", odd)[0] == [None] * len(odd)


@pytest.mark.parametrize(
    ("pattern", "params", "said"),
    [
        (None, {}, "has no pattern"),
        (r"^\d{9}$", {}, "leaves open which characters"),
        ("^[0-9]{5}$", {}, "less than 1,000,000 values"),
        ("^[0-9]{4,9}$", {}, "less than 1,000,000 values"),
        ("^[0-9]{33}$", {}, "or too many"),
        ("^[0-9]{6}$", {"checksum": "luhn"}, "less than 1,000,000 values"),
        ("^[0-9A-F]{16}$", {"checksum": "luhn"}, "leaves open which characters"),
    ],
)
def test_what_cannot_keep_its_format_is_refused(pattern: str | None, params: Any, said: str) -> None:
    assert said in refused(column("v", pattern=pattern, protect={"transform": "fpe", **params}), profile=FREE)


def test_a_number_column_has_no_format() -> None:
    assert "does not apply" in refused(column("v", "integer", protect="fpe"), profile=FREE)


def test_a_foreign_key_has_the_pattern_of_its_key() -> None:
    key = column("Id", level="public", primary_key=True, protect="fpe", pattern="^[0-9]{9}$")
    people = contract("people", key)
    same = contract("same", column("P", pattern="^[0-9]{9}$", reference=Reference("people", "Id")))
    plan = compiled(people, same, profile=FREE)
    (made,), (foreign,) = plan.datasets["people"].columns, plan.datasets["same"].columns
    assert (foreign.params, foreign.token_domain) == (made.params, made.token_domain)
    assert made.token_domain == "fpe:clinic.people.Id"
    for pattern in (None, "^[0-9]{9,10}$"):
        other = contract("other", column("P", pattern=pattern, reference=Reference("people", "Id")))
        with pytest.raises(PlanRefusedError, match="another one than its key"):
            compiled(people, other, profile=FREE)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"protect": {"transform": "tokenize", "format": "uuid"}}, {"protect": "tokenize"}),
        (
            {"protect": "fpe", "pattern": "^[0-9]{9}$"},
            {"protect": "fpe", "pattern": "^[0-9]{3}-[0-9]{6}$"},
        ),
    ],
)
def test_one_domain_is_spelled_in_one_way(first: dict[str, Any], second: dict[str, Any]) -> None:
    said = refused(
        column("a", token_domain="d", **first), column("b", token_domain="d", **second), profile=FREE
    )
    assert "are not spelled alike" in said
    assert planned(column("a", token_domain="d", **first), column("b", **second), profile=FREE)
