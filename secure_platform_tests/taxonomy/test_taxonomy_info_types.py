from pathlib import Path

import pytest
import yaml

from secure_platform.errors import ContractError
from secure_platform.scan.secrets.document import own_rules
from secure_platform.taxonomy.classification import Classification
from secure_platform.taxonomy.info_types import DOCUMENT, TRANSFORMS, info_types, load_taxonomy, taxonomy
from secure_platform.taxonomy.reading import header_tokens

GOOD = """
families:
  things:
    title: Things
    group: identifier
    classification: restricted
    category: user.unique_id
    ocsf: Personal
    default_transform: drop
types:
  FIRST_TYPE:
    title: First
    family: things
    headers: [one two]
    value_patterns: ['^[0-9]{4}$']
  SECOND_TYPE:
    title: Second
    family: things
    classification: public
    default_transform: keep
"""

# 45 CFR 164.514(b)(2)(i): at least one type for each of the eighteen; a fax number is a telephone number.
HIPAA = {
    "A": {"PERSON_NAME"},
    "B": {"STREET_ADDRESS", "US_ZIP", "POSTAL_CODE", "CITY", "COUNTY", "PLACE_NAME", "GPS_COORDINATE"},
    "C": {"AGE_OVER_89", "DATE_OF_BIRTH", "DATE_OF_DEATH", "DATE"},
    "D": {"PHONE"},
    "F": {"EMAIL"},
    "G": {"US_SSN"},
    "H": {"MRN", "UK_NHS", "NZ_NHI"},
    "I": {"HEALTH_PLAN_ID", "US_MBI", "AU_MEDICARE", "DE_HEALTH_INSURANCE"},
    "J": {"CREDIT_CARD", "IBAN", "BANK_ACCOUNT", "CRYPTO_ADDRESS"},
    "K": {"US_DRIVERS_LICENSE", "DRIVERS_LICENSE"},
    "L": {"VIN", "LICENSE_PLATE"},
    "M": {"MAC_ADDRESS", "IMEI", "DEVICE_ID", "MEDICAL_DEVICE_ID"},
    "N": {"URL"},
    "O": {"IPV4", "IPV6"},
    "P": {"BIOMETRIC"},
    "Q": {"FACE_IMAGE"},
    "R": {"RECORD_ID", "PASSPORT", "USERNAME", "UK_NINO"},
}


def load(tmp_path: Path, text: str) -> None:
    path = tmp_path / "types.yaml"
    path.write_text(text, encoding="utf-8")
    load_taxonomy(path)


def test_every_pattern_of_the_platform_can_be_used() -> None:
    """`taxonomy()` does not ask, so that no command waits for it."""
    assert load_taxonomy(DOCUMENT) == taxonomy()


def test_there_are_types_of_more_than_twenty_countries() -> None:
    countries = {kind.country for kind in info_types().values() if kind.family == "national_id"}
    assert len(info_types()) >= 60
    assert len(countries - {None}) >= 20


@pytest.mark.parametrize("letter", HIPAA)
def test_safe_harbor_letters_name_their_types(letter: str) -> None:
    assert HIPAA[letter] <= {kind.id for kind in info_types().values() if kind.hipaa == letter}


def test_a_persons_number_is_an_identifier_under_safe_harbor() -> None:
    families = {"national_id", "document", "account", "device", "vehicle", "contact", "place", "name"}
    assert [k.id for k in info_types().values() if k.family in families and k.hipaa is None] == []


def test_card_numbers_are_cardholder_data_and_the_rest_must_not_be_stored() -> None:
    pci = {kind.id: kind.pci for kind in info_types().values() if kind.pci}
    assert {name for name, data in pci.items() if data == "CHD"} == {"CREDIT_CARD", "CARD_EXPIRY"}
    assert {name for name, data in pci.items() if data == "SAD"} == {
        *("CARD_SECURITY_CODE", "CARD_TRACK_DATA", "CARD_PIN"),
    }


def test_special_categories_are_article_nine() -> None:
    nine = {kind.id for kind in info_types().values() if kind.gdpr == "9(1)"}
    assert nine >= {
        *("HEALTH_DATA", "GENETIC_DATA", "BIOMETRIC", "ETHNIC_ORIGIN", "RELIGION", "POLITICAL_OPINION"),
        *("TRADE_UNION", "SEXUAL_ORIENTATION"),
    }
    assert info_types()["CRIMINAL_RECORD"].gdpr == "10"


def test_secrets_are_restricted_and_never_kept() -> None:
    secrets = [kind for kind in info_types().values() if kind.group == "secret"]
    assert {kind.classification for kind in secrets} == {Classification.RESTRICTED}
    assert {kind.default_transform for kind in secrets} == {"drop", "redact"}


def test_what_a_secret_rule_finds_is_a_secret_of_the_taxonomy() -> None:
    named = {rule.info_type for rule in own_rules().rules.values()}
    assert len(named) == 8
    assert {info_types()[name].group for name in named} == {"secret"}


def test_only_the_secret_rules_know_secrets_by_their_values() -> None:
    secrets = [kind for kind in info_types().values() if kind.group == "secret"]
    assert not [k.id for k in secrets if k.value_patterns or k.text_pattern or k.context_pattern]


def test_only_what_names_nobody_is_kept_by_default() -> None:
    assert {kind.default_transform for kind in info_types().values()} <= TRANSFORMS
    assert {kind.group for kind in info_types().values() if kind.default_transform == "keep"} == {"plain"}
    assert {k.group for k in info_types().values() if k.classification < Classification.CONFIDENTIAL} <= {
        *("plain", "attribute"),
    }


def test_a_type_says_only_what_its_family_does_not() -> None:
    document = yaml.safe_load(DOCUMENT.read_text(encoding="utf-8"))
    repeated = [
        (name, key)
        for name, body in document["types"].items()
        for key, value in body.items()
        if key != "title" and taxonomy().families[body["family"]].handling.get(key) == value
    ]
    assert repeated == []


def test_the_document_is_read_once() -> None:
    assert info_types() is info_types()


def test_a_good_document_loads(tmp_path: Path) -> None:
    load(tmp_path, GOOD)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("title: First", "titel: First"),
        ("title: First", "title: First\n    headrs: [one]"),
        ("title: First", "title: First\n    title: Again"),
        ("FIRST_TYPE:", "SECOND_TYPE:"),
        ("FIRST_TYPE:", "first_type:"),
        ("FIRST_TYPE:", "1:"),
        ("family: things", "family: nothings"),
        ("family: things", "country: usa"),
        ("    family: things\n    headers", "    headers"),
        ("classification: restricted", "classification: secret"),
        ("classification: restricted", "headers: [one]\n    classification: restricted"),
        ("group: identifier", "group: identity"),
        ("category: user.unique_id", "category: user"),
        ("ocsf: Personal", "ocsf: personal"),
        ("title: First", "title: First\n    hipaa: S"),
        ("title: First", "title: First\n    gdpr: 'yes'"),
        ("title: First", "title: First\n    pci: PAN"),
        ("title: First", "title: First\n    country: us"),
        ("title: First", "title: First\n    distinctive: 1"),
        ("title: First", "title: First\n    validator: luck"),
        ("title: First", "title: First\n    context_words: [one]"),
        ("title: First", "title: First\n    context_form: '[0-9]'"),
        ("title: First", "title: First\n    supersedes: [THIRD_TYPE]"),
        ("title: First", "title: First\n    supersedes: [FIRST_TYPE]"),
        ("headers: [one two]", "headers: one two"),
        ("headers: [one two]", "headers: [one, one]"),
        ("headers: [one two]", "headers: ['--']"),
        ("headers: [one two]", "headers: [1]"),
        ("'^[0-9]{4}$'", "'[0-9]{4}'"),
        ("'^[0-9]{4}$'", "'^(?=a)b$'"),
        ("'^[0-9]{4}$'", "'^[0-9]*$'"),
        ("value_patterns: ['^[0-9]{4}$']", "text_pattern: ''"),
        ("value_patterns: ['^[0-9]{4}$']", "text_pattern: '[0-9'"),
        ("value_patterns: ['^[0-9]{4}$']", "value_patterns: &a ['^x$']\n    header_patterns: *a"),
        ("default_transform: drop", "default_transform: forget"),
        ("    default_transform: drop\n", ""),
        ("types:", "typos:"),
        ("families:", "other: 1\nfamilies:"),
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
        load(tmp_path, GOOD.replace("title: First", "title: First\n    validator: canary-4242"))
    assert "canary" not in str(caught.value)


def test_the_head_comment_explains_every_key() -> None:
    head = DOCUMENT.read_text(encoding="utf-8").split("\n\nfamilies:", 1)[0]
    document = yaml.safe_load(DOCUMENT.read_text(encoding="utf-8"))
    keys = {key for part in document.values() for body in part.values() for key in body}
    assert keys <= set(head.replace(",", " ").split())


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
