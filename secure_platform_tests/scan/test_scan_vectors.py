"""Third-party identifier vectors and labelled sentences."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from scan_support import kinds, scan

# Valid ones that the scanner does not call by this type: pairs of whole degrees are any two numbers, bare or
# spaced hexadecimal bytes any bytes.
MISSED = {
    "isCreditCard": set(),
    "isIBAN": set(),
    "isEmail": set(),
    "isMACAddress": {
        "A9 C5 D4 9F EB D3",
        "01 02 03 04 05 ab",
        "A9 C5 D4 9F EB D3 B6 65",
        "01 02 03 04 05 06 07 ab",
    }
    | {"0102.0304.0506.07ab"},
    "isLatLong": {"(-71, -146)", "-0.55, +0.22", "90, 180", "+90, -180", "-90,+180", "90,180", "0, 0"},
    "isJWT": set(),
}
TYPE = {
    "isCreditCard": "CREDIT_CARD",
    "isIBAN": "IBAN",
    "isEmail": "EMAIL",
    "isMACAddress": "MAC_ADDRESS",
    "isLatLong": "GPS_COORDINATE",
    "isJWT": "JWT",
}
# Wrong in a way that makes them no less an identifier: these are reported all the same.
STILL_FOUND = {"isCreditCard": 1, "isIBAN": 5, "isMACAddress": 0, "isLatLong": 4, "isJWT": 1}


Rules = list[dict[str, Any]]


@pytest.fixture(scope="module")
def rules(shared_data: Path) -> Rules:
    document = json.loads(
        (shared_data / "pii/identifier_vectors_validatorjs.json").read_text(encoding="utf-8")
    )
    return [rule for rule in document if not rule["args"]]


@pytest.mark.parametrize("rule", TYPE)
def test_valid_identifiers_are_found_one_by_one(rules: Rules, rule: str) -> None:
    values = [value for each in rules if each["validator"] == rule for value in each["valid"]]
    assert values
    assert {value for value in values if TYPE[rule] not in kinds([value])} == MISSED[rule]


@pytest.mark.parametrize("rule", STILL_FOUND)
def test_invalid_identifiers_are_not(rules: Rules, rule: str) -> None:
    values = [value for each in rules if each["validator"] == rule for value in each["invalid"]]
    assert sum(TYPE[rule] in kinds([value]) for value in values) == STILL_FOUND[rule]


@pytest.mark.parametrize(("version", "kind"), [(4, "IPV4"), (6, "IPV6")])
def test_addresses_of_both_versions(shared_data: Path, version: int, kind: str) -> None:
    document = json.loads(
        (shared_data / "pii/identifier_vectors_validatorjs.json").read_text(encoding="utf-8")
    )
    rule = next(r for r in document if r["validator"] == "isIP" and r["args"] == [{"version": version}])
    assert all(kind in kinds([value]) for value in rule["valid"])
    assert sum(kind in kinds([value]) for value in rule["invalid"]) == (1 if version == 6 else 0)


def test_international_phones_of_every_country(shared_data: Path) -> None:
    phones = pl.read_csv(shared_data / "pii/phone_examples.csv", infer_schema=False)
    finding = kinds(phones.get_column("e164").to_list())
    assert finding == {"PHONE"}
    assert all(kinds([number]) == {"PHONE"} for number in phones.get_column("e164").to_list()[::20])


# Cards that are missed have issuer prefixes which no network uses. Phones without country code or a form of
# North America need a header: precision before recall.
LABELS = {
    "CREDIT_CARD": ("CREDIT_CARD", 0.9),
    "EMAIL": ("EMAIL_ADDRESS", 1.0),
    "IBAN": ("IBAN_CODE", 1.0),
    "US_SSN": ("US_SSN", 1.0),
    "PHONE": ("PHONE_NUMBER", 0.25),
}


@pytest.fixture(scope="module")
def labelled(shared_data: Path) -> tuple[list[set[str]], list[set[str]]]:
    """Labels and findings of every third sentence, as a column of one cell each."""
    sentences = json.loads((shared_data / "pii/presidio_synth_dataset_v2.json").read_text(encoding="utf-8"))[
        ::3
    ]
    columns = {f"s{place}": [sentence["full_text"]] for place, sentence in enumerate(sentences)}
    found: dict[str, set[str]] = {name: set() for name in columns}
    for column, kind in scan(columns):
        found[column].add(kind)
    return [{span["entity_type"] for span in sentence["spans"]} for sentence in sentences], list(
        found.values()
    )


@pytest.mark.parametrize("kind", LABELS)
def test_labelled_sentences_are_found_without_a_false_one(
    labelled: tuple[list[set[str]], list[set[str]]], kind: str
) -> None:
    label, recall = LABELS[kind]
    truth = [label in labels for labels in labelled[0]]
    found = [kind in kinds for kinds in labelled[1]]
    hits = sum(f and t for f, t in zip(found, truth, strict=True))
    assert hits == sum(found)
    assert hits >= recall * sum(truth)
