from pathlib import Path

import pytest

from secure_platform.errors import ContractError
from secure_platform.scan.secrets.document import own_rules
from secure_platform.taxonomy.classification import Classification
from secure_platform.taxonomy.info_types import (
    DOCUMENT,
    TRANSFORMS,
    header_tokens,
    info_types,
    load_info_types,
)

GOOD = """
FIRST_TYPE:
  title: First
  classification: restricted
  headers: [one two]
  value_patterns: ['^[0-9]{4}$']
  default_transform: drop
SECOND_TYPE:
  title: Second
  classification: public
  default_transform: keep
"""

# 45 CFR 164.514(b)(2)(i): which letters the scan can find values of; the others (certificates, vehicles,
# biometrics, photographs) have no text form or are labels that a contract gives.
HIPAA = {
    "PERSON_NAME": "A",
    "STREET_ADDRESS": "B",
    "US_ZIP": "B",
    "CITY": "B",
    "COUNTY": "B",
    "PLACE_NAME": "B",
    "GPS_COORDINATE": "B",
    "AGE": "C",
    "DATE_OF_BIRTH": "C",
    "DATE_OF_DEATH": "C",
    "DATE": "C",
    "PHONE": "D",
    "EMAIL": "F",
    "US_SSN": "G",
    "MRN": "H",
    "HEALTH_PLAN_ID": "I",
    "IBAN": "J",
    "CREDIT_CARD": "J",
    "US_DRIVERS_LICENSE": "K",
    "MAC_ADDRESS": "M",
    "IPV4": "O",
    "IPV6": "O",
    "PASSPORT": "R",
    "RECORD_ID": "R",
}


def load(tmp_path: Path, text: str) -> None:
    path = tmp_path / "types.yaml"
    path.write_text(text, encoding="utf-8")
    load_info_types(path)


def test_every_type_has_its_hipaa_letter() -> None:
    assert {kind.id: kind.hipaa for kind in info_types().values() if kind.hipaa} == HIPAA


def test_only_account_data_is_pci() -> None:
    assert [kind.id for kind in info_types().values() if kind.pci] == ["CREDIT_CARD"]


def test_secrets_are_restricted_and_never_kept() -> None:
    names = {rule.info_type for rule in own_rules().rules.values()}
    assert len(names) == 7
    secrets = [info_types()[name] for name in names]
    assert {kind.classification for kind in secrets} == {Classification.RESTRICTED}
    assert {kind.default_transform for kind in secrets} == {"drop", "redact"}


def test_no_personal_type_is_kept_by_default() -> None:
    assert all(kind.default_transform in TRANSFORMS - {"keep"} for kind in info_types().values())


def test_the_document_is_read_once() -> None:
    assert info_types() is info_types()


def test_a_good_document_loads(tmp_path: Path) -> None:
    load(tmp_path, GOOD)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("title: First", "titel: First"),
        ("title: First", "title: First\n  headrs: [one]"),
        ("title: First", "title: First\n  title: Again"),
        ("FIRST_TYPE:", "SECOND_TYPE:"),
        ("FIRST_TYPE:", "first_type:"),
        ("classification: restricted", "classification: secret"),
        ("classification: restricted", "classification: restricted\n  hipaa: S"),
        ("classification: restricted", "classification: restricted\n  gdpr: 'yes'"),
        ("classification: restricted", "classification: restricted\n  validator: luck"),
        ("classification: restricted", "classification: restricted\n  supersedes: [THIRD_TYPE]"),
        ("classification: restricted", "classification: restricted\n  supersedes: [FIRST_TYPE]"),
        ("headers: [one two]", "headers: one two"),
        ("headers: [one two]", "headers: [one, one]"),
        ("headers: [one two]", "headers: ['--']"),
        ("headers: [one two]", "headers: [1]"),
        ("'^[0-9]{4}$'", "'[0-9]{4}'"),
        ("'^[0-9]{4}$'", "'^(?=a)b$'"),
        ("'^[0-9]{4}$'", "'^[0-9]*$'"),
        ("value_patterns: ['^[0-9]{4}$']", "text_pattern: ''"),
        ("value_patterns: ['^[0-9]{4}$']", "text_pattern: '[0-9'"),
        ("value_patterns: ['^[0-9]{4}$']", "value_patterns: &a ['^x$']\n  header_patterns: *a"),
        ("default_transform: drop", "default_transform: forget"),
        ("default_transform: drop", ""),
        ("  title: Second\n  classification: public\n  default_transform: keep", "  - Second"),
    ],
)
def test_anything_not_understood_is_refused(tmp_path: Path, old: str, new: str) -> None:
    assert old in GOOD
    with pytest.raises(ContractError):
        load(tmp_path, GOOD.replace(old, new, 1))


@pytest.mark.parametrize("text", ["", "- a", "{", "a: b\n---\nc: d", "\x00"])
def test_a_document_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ContractError):
        load(tmp_path, text)


def test_the_error_names_type_and_key_only(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="Info type FIRST_TYPE: validator is not acceptable") as caught:
        load(tmp_path, GOOD.replace("title: First", "title: First\n  validator: canary-4242"))
    assert "canary" not in str(caught.value)


def test_the_head_comment_explains_every_key() -> None:
    head = DOCUMENT.read_text(encoding="utf-8").split("\n\n", 1)[0]
    keys = {
        line.strip().split(":")[0]
        for line in DOCUMENT.read_text(encoding="utf-8").splitlines()
        if line[:2] == "  "
    }
    assert {key for key in keys if key[0] != "#"} - {"title"} <= set(head.replace(",", " ").split())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("patientSSN_2", ("patient", "ssn", "2")),
        ("HTTPServerName", ("http", "server", "name")),
        ("Date of Birth", ("date", "of", "birth")),
        ("DRIVERSLICENSE", ("driverslicense",)),
        ("prénom", ("prenom",)),
        ("ＳＳＮ", ("ssn",)),  # noqa: RUF001 - full-width letters are the case
        ("driver's license", ("driver", "s", "license")),
        ("", ()),
        ("^.*$", ()),
    ],
)
def test_a_column_name_is_split_into_words(name: str, words: tuple[str, ...]) -> None:
    assert header_tokens(name) == words


def test_classifications_are_ordered_and_named() -> None:
    assert (
        Classification.PUBLIC
        < Classification.INTERNAL
        < Classification.CONFIDENTIAL
        < Classification.RESTRICTED
    )
    assert [Classification.parse(member.label) for member in Classification] == list(Classification)


@pytest.mark.parametrize("text", ["Public", "secret", "", "2"])
def test_an_unknown_classification_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ContractError) as caught:
        Classification.parse(text)
    assert "secret" not in str(caught.value)
