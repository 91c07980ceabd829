import json
import random
from importlib import import_module
from math import sqrt
from pathlib import Path
from string import ascii_uppercase, digits

import polars as pl
import pytest
from drawn_texts import drawn
from hypothesis import given, settings
from hypothesis import strategies as st
from known_numbers import KNOWN

from secure_platform.taxonomy.info_types import InfoType, info_types
from secure_platform.taxonomy.validators import VALIDATORS, luhn

DRAWN = 1500
KINDS = {name: [kind for kind in info_types().values() if kind.validator == name] for name in VALIDATORS}
# Where the patterns are wider than the numbers: every country's IBAN, a number that became a float.
FORMS = {"iban": ["DE[0-9]{20}"], "us_npi": ["1[0-9]{9}"]}
# Without a check digit, with one that is not the last sign, or with more than one that is right.
UNCHECKED = {
    *("au_medicare", "crypto_address", "uk_nino", "us_ssn", "stdnum.ar.dni", "stdnum.bic", "stdnum.dk.cpr"),
    *("stdnum.gb.utr", "stdnum.id.nik", "stdnum.imsi", "stdnum.in_.pan", "stdnum.is_.kennitala"),
    *("stdnum.ke.pin", "stdnum.mx.rfc", "stdnum.my.nric", "stdnum.pk.cnic", "stdnum.us.ein"),
    *("stdnum.us.itin", "stdnum.us.ptin"),
}
CHECKED = sorted(set(VALIDATORS) - UNCHECKED)


def accepted(name: str, values: list[str]) -> list[str]:
    frame = pl.DataFrame({"value": values}, schema={"value": pl.String})
    return frame.filter(VALIDATORS[name].check(pl.col("value"))).get_column("value").to_list()


def check_digit(number: str) -> str:
    """Luhn by the book, independent of the expression."""
    total = 0
    for place, character in enumerate(reversed(number)):
        value = int(character) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def iban_check(country: str, account: str) -> str:
    number = int("".join(str(int(character, 36)) for character in account + country + "00"))
    return f"{98 - number % 97:02d}"


@pytest.fixture(scope="module")
def vectors(shared_data: Path) -> dict[str, tuple[list[str], list[str]]]:
    """Valid and invalid strings by rule, of the rules without arguments."""
    document = json.loads(
        (shared_data / "pii/identifier_vectors_validatorjs.json").read_text(encoding="utf-8")
    )
    rules: dict[str, tuple[list[str], list[str]]] = {}
    for rule in document:
        if not rule["args"]:
            valid, invalid = rules.setdefault(rule["validator"], ([], []))
            valid += rule["valid"]
            invalid += rule["invalid"]
    return rules


def test_cards_of_every_network(vectors: dict[str, tuple[list[str], list[str]]]) -> None:
    valid, invalid = vectors["isCreditCard"]
    assert accepted("payment_card", valid) == valid
    # A number that a word is glued to is one here.
    assert accepted("payment_card", invalid) == ["prefix6234917882863855"]


def test_ibans_of_every_country(vectors: dict[str, tuple[list[str], list[str]]]) -> None:
    valid, invalid = vectors["isIBAN"]
    assert accepted("iban", valid) == valid
    # These keep length and check digits and break a rule of the account number inside.
    inner = {"VG46H07Y0223060094359858", "IE95TE8270900834048660", "PS072435171802145240705922007"}
    assert set(accepted("iban", invalid)) == inner


@pytest.mark.parametrize(
    "number",
    [
        "4111111111111111",
        "4111 1111 1111 1111",
        "5555-5555-5555-4444",
        "2223003122003222",
        "378282246310005",
        "30569309025904",
        "3530111333300000",
        "6011111111111117",
        "6200000000000005",
        "6759649826438453",
        "21310000000000" + check_digit("21310000000000"),
        "18000000000000" + check_digit("18000000000000"),
    ],
)
def test_published_test_cards_are_valid(number: str) -> None:
    assert accepted("payment_card", [number]) == [number]


@pytest.mark.parametrize(
    "number",
    [
        "4111111111111112",
        "411111111111111",
        "41111111111111111111",
        "0000000000000000",
        "1700000000000",
        "",
        "2220991234567899",
        "2721000000000004",
        "20240131123059",
    ],
)
def test_what_is_no_card(number: str) -> None:
    assert accepted("payment_card", [number]) == []


@pytest.mark.parametrize("number", ["123-45-6789", "123456789", "899 99 9999", "001-01-0001", "667-12-3456"])
def test_social_security_numbers_that_can_exist(number: str) -> None:
    assert accepted("us_ssn", [number]) == [number]


@pytest.mark.parametrize(
    "number",
    [
        "000-12-3456",
        "666-12-3456",
        "900-12-3456",
        "999-12-3456",
        "123-00-4567",
        "123-45-0000",
        "12-345-6789",
        "1234567890",
        "12345678",
        "078-05-112",
        "abc-de-fghi",
        "",
    ],
)
def test_social_security_numbers_that_cannot_exist(number: str) -> None:
    assert accepted("us_ssn", [number]) == []


def test_provider_identifiers() -> None:
    # 1234567893 is the worked example of the CMS check digit note.
    assert accepted("us_npi", ["1234567893", "1234567890", "3234567893", "123456789", "12345678930"]) == [
        "1234567893"
    ]


@settings(deadline=None)  # a loaded machine is not a defect
@given(st.text(alphabet="0123456789", min_size=1, max_size=18))
def test_luhn_equals_the_book(number: str) -> None:
    frame = pl.DataFrame({"value": [number + str(last) for last in range(10)]})
    right = frame.filter(luhn(pl.col("value"))).get_column("value").to_list()
    assert right == [number + check_digit(number)]


@settings(deadline=None)  # a loaded machine is not a defect
@given(st.from_regex(r"4[0-9]{14}", fullmatch=True), st.sampled_from(["", " ", "-"]))
def test_a_card_is_valid_with_one_last_digit_only(body: str, separator: str) -> None:
    numbers = [body + str(last) for last in range(10)]
    written = [separator.join(number[start : start + 4] for start in range(0, 16, 4)) for number in numbers]
    assert accepted("payment_card", written) == [written[int(check_digit(body))]]


@settings(deadline=None)  # a loaded machine is not a defect
@given(st.sampled_from(["DE", "GB", "NO", "MT"]), st.data())
def test_an_iban_is_valid_with_one_pair_of_check_digits_only(country: str, data: st.DataObject) -> None:
    length = {"DE": 22, "GB": 22, "NO": 15, "MT": 31}[country]
    account = data.draw(
        st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=length - 4, max_size=length - 4)
    )
    candidates = [f"{country}{pair:02d}{account}" for pair in range(2, 99)]
    assert accepted("iban", candidates) == [country + iban_check(country, account) + account]


@settings(deadline=None)  # a loaded machine is not a defect
@given(st.integers(0, 999), st.integers(0, 99), st.integers(0, 9999))
def test_the_ssn_rule_is_the_published_one(area: int, group: int, serial: int) -> None:
    number = f"{area:03d}-{group:02d}-{serial:04d}"
    possible = area not in {0, 666} and area < 900 and group > 0 and serial > 0
    assert bool(accepted("us_ssn", [number])) == possible


@pytest.mark.parametrize("name", sorted(VALIDATORS))
def test_published_numbers_are_accepted(name: str) -> None:
    known = list(KNOWN[name])
    assert accepted(name, known) == known
    quoted = [f' "{number}"\n' for number in known]
    assert accepted(name, quoted) == quoted


@pytest.mark.parametrize("name", CHECKED)
def test_no_other_last_sign_is_accepted(name: str) -> None:
    for number in KNOWN[name]:
        last = max(place for place, sign in enumerate(number) if sign.isalnum())
        signs = digits if number[last].isdecimal() else ascii_uppercase
        written = [number[:last] + sign + number[last + 1 :] for sign in signs]
        assert accepted(name, written) == [number]


@pytest.mark.parametrize("name", CHECKED)
def test_a_mistyped_digit_is_hardly_ever_accepted(name: str) -> None:
    mistyped = {
        number[:place] + digit + number[place + 1 :]
        for number in KNOWN[name]
        for place, sign in enumerate(number)
        if sign.isdecimal()
        for digit in digits
        if digit != sign
    }
    assert len(accepted(name, sorted(mistyped))) <= 0.2 * len(mistyped)


@settings(deadline=None, max_examples=30)  # a loaded machine is not a defect; each asks every rule
@given(text=st.text(max_size=60) | st.text("0123456789AZaz -./()<", max_size=50))
def test_any_text_is_answered_and_null_stays_null(text: str) -> None:
    frame = pl.DataFrame({"value": [text, None]}, schema={"value": pl.String})
    answers = frame.select(rule.check(pl.col("value")).alias(name) for name, rule in VALIDATORS.items())
    assert {answer for answer in answers.row(0) if answer not in {True, False}} == set()
    assert not any(answers.row(1))


@pytest.mark.parametrize(
    ("name", "number"), [("stdnum.cn.ric", "11014519491231008X"), ("stdnum.pt.cc", "008٣0٣00 0 ZZ4")]
)
def test_where_the_library_stumbles_the_answer_is_no(name: str, number: str) -> None:
    with pytest.raises((KeyError, ValueError)):
        import_module(name).is_valid(number)
    assert accepted(name, [number]) == []


@pytest.mark.parametrize("name", sorted(VALIDATORS))
def test_the_stated_chance_is_the_measured_one(name: str) -> None:
    """Too low would make findings of random numbers; far too high would miss some."""
    draw = random.Random(7)  # noqa: S311 - the same numbers every time
    forms = FORMS.get(name) or [form for kind in KINDS[name] for form in _forms(kind)]
    values = [drawn(form, draw) for form in forms for _ in range(DRAWN // len(forms))]
    expected = VALIDATORS[name].chance * len(values)
    noise = 4 * sqrt(expected)
    assert expected / 2.5 - noise <= len(accepted(name, values)) <= 1.15 * expected + noise


def _forms(kind: InfoType) -> tuple[str, ...]:
    text = (kind.text_pattern,) if kind.text_pattern else ()
    return kind.value_patterns or text or kind.header_patterns
