import random
import uuid

import pytest
from known_numbers import KNOWN
from scan_support import kinds, scan

from secure_platform.scan.headers import named_types
from secure_platform.taxonomy.info_types import info_types

MEANS = {
    "ssn": "US_SSN",
    "SSN": "US_SSN",
    "Patient SSN": "US_SSN",
    "social_security_number": "US_SSN",
    "SocialSecurityNumber": "US_SSN",
    "socialsecuritynumber": "US_SSN",
    "card_number": "CREDIT_CARD",
    "creditCardNo": "CREDIT_CARD",
    "cc": "CREDIT_CARD",
    "E-Mail": "EMAIL",
    "contact_emails": "EMAIL",
    "homePhone": "PHONE",
    "FAX": "PHONE",
    "client_ip": "IPV4",
    "IBAN": "IBAN",
    "first_name": "PERSON_NAME",
    "FIRST": "PERSON_NAME",
    "lastName": "PERSON_NAME",
    "patient_full_name": "PERSON_NAME",
    "MAIDEN": "PERSON_NAME",
    "ADDRESS": "STREET_ADDRESS",
    "address_line_2": "STREET_ADDRESS",
    "billing street": "STREET_ADDRESS",
    "ZIP": "US_ZIP",
    "zipCode": "US_ZIP",
    "postal_code": "US_ZIP",
    "CITY": "CITY",
    "Cities": "CITY",
    "COUNTY": "COUNTY",
    "BIRTHPLACE": "PLACE_NAME",
    "BIRTHDATE": "DATE_OF_BIRTH",
    "dob": "DATE_OF_BIRTH",
    "dateOfBirth": "DATE_OF_BIRTH",
    "DEATHDATE": "DATE_OF_DEATH",
    "DRIVERS": "US_DRIVERS_LICENSE",
    "driver's license": "US_DRIVERS_LICENSE",
    "passport_no": "PASSPORT",
    "MRN": "MRN",
    "medicalRecordNumber": "MRN",
    "member_id": "HEALTH_PLAN_ID",
    "LAT": "GPS_COORDINATE",
    "pickup_longitude": "GPS_COORDINATE",
    "macAddress": "MAC_ADDRESS",
    "provider_npi": "US_NPI",
    "placeofbirth": "PLACE_NAME",
    "NextOfKin": "PERSON_NAME",
    "nextofkin": "PERSON_NAME",
}

MEANS_NOTHING = [
    *("acid", "cid", "description", "patient_state", "STATE", "STATE_HEADQUARTERED", "velocity"),
    *("capacity", "is_first", "first_visit", "last_login", "drivers_count", "Id", "CODE", "VALUE"),
    *("UNITS", "classname", "namespace", "NAME", "product_name", "hospital_name", "filename"),
    *("username_hash", "START", "STOP", "birth_year", "addressee", "countyline_score", "lateral"),
    *("longest", "telemetry", "mobile_users", "cell_count", "panel", "spanning", "taxonomy", "stamp"),
    *("emailed", "ipsum", "recipient", "42", "*", "^.*$", "cityscape", "placebo", ""),
]


@pytest.mark.parametrize("name", MEANS)
def test_a_name_means_a_type(name: str) -> None:
    assert MEANS[name] in named_types(info_types(), [name])[name]


def test_names_that_mean_nothing() -> None:
    # One by one: in a table with personal columns a bare `name` does mean something.
    assert [name for name in MEANS_NOTHING if named_types(info_types(), [name])[name]] == []


@pytest.mark.parametrize(
    "name", ["email_address", "ip_address", "macAddress", "wallet address", "address_type"]
)
def test_other_addresses_are_no_street(name: str) -> None:
    assert "STREET_ADDRESS" not in named_types(info_types(), [name])[name]


def test_a_bare_name_is_a_persons_only_beside_personal_columns() -> None:
    people = {"NAME": ["Jane Doe"], "GENDER": ["F"]}
    assert set(scan(people)) == {("NAME", "PERSON_NAME"), ("GENDER", "GENDER")}
    assert scan({"NAME": ["STURDY MEMORIAL HOSPITAL"], "REVENUE": ["0.0"], "STATE": ["MA"]}) == {}


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("ssn", "999-17-5017", "US_SSN"),
        ("ssn", "999175017", "US_SSN"),
        ("ssn", "1234567", "US_SSN"),
        ("ssn", "void: 999-17-5017", "US_SSN"),
        ("card_number", "1234567890123456", "CREDIT_CARD"),
        ("card_number", "4111 1111 1111 1112", "CREDIT_CARD"),
        ("phone", "5082225200", "PHONE"),
        ("phone", "467 3395", "PHONE"),
        ("email", "jane@localhost", "EMAIL"),
        ("iban", "GB00WEST12345698765432", "IBAN"),
        ("npi", "1234567890", "US_NPI"),
        ("zip", "2138", "US_ZIP"),
        ("birthdate", "19610412", "DATE_OF_BIRTH"),
        ("birthdate", "12 April 1961", "DATE_OF_BIRTH"),
        ("passport", "X12345678X", "PASSPORT"),
        ("drivers_license", "S99987654", "US_DRIVERS_LICENSE"),
        ("mrn", "004521", "MRN"),
        ("lat", "42.3", "GPS_COORDINATE"),
        ("mac", "001B44113AB7", "MAC_ADDRESS"),
    ],
)
def test_header_and_format_are_a_finding_where_the_number_rule_fails(
    name: str, value: str, kind: str
) -> None:
    assert kinds([value, *["other"] * 9], name) == {kind}
    assert kinds([value, *["other"] * 99]) == set()


UUID = "3edac2e3-d223-6fae-d515-daf96ef6bc76"


def uuid4(seed: int) -> uuid.UUID:
    """A random UUID, the same every time."""
    return uuid.UUID(int=random.Random(seed).getrandbits(128), version=4)  # noqa: S311 - no secret


TOKEN = "t1_0123456789abcdef0123456789abcdef"
DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
LEFT_BEHIND = [
    *(TOKEN, TOKEN.replace("t1", "h12"), DIGEST, UUID, "", "  ", "n/a"),
    *("REDACTED", "[redacted]", "********", "***-**-****", "*****@*******.***", "XXXX"),
    *("v_0123456789abcdef0123456789abcdef", "v_ABCDEFGHIJKLMNOPQRSTUVWXY2"),
    *("t1_ABCDEFGHIJKLMNOPQRSTUVWXY2", "e12_iQvKNdTXDcGr4cGlZLZHaFBLmA==", "[PERSON_NAME]"),
    *("021", "000", "1961", "90", "90+", "45-49"),
]


# Four digits are a ZIP code that lost its zero, or a short record number; a record number may be a UUID.
KEPT = {"1961": {"US_ZIP", "MRN"}, UUID: {"MRN", "HEALTH_PLAN_ID"}}


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([value for value in LEFT_BEHIND if value not in KEPT], set()),
        *(([v], kinds) for v, kinds in KEPT.items()),
    ],
    ids=["nothing", "year", "uuid"],
)
def test_what_protection_leaves_behind_is_no_evidence(cells: list[str], expected: set[str]) -> None:
    # Under a name that means its type one cell with evidence is a finding, whatever the others are.
    found = scan({name: [*cells, None, *cells] for name in MEANS})
    assert {MEANS[column] for column, _ in found} == expected


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([str(uuid4(step)) for step in range(20)], set()),
        ([str(10_000 + step) for step in range(20)], set()),
        ([str(10_000 + step // 3) for step in range(60)], set()),
        ([str(10_000 + 977 * step) for step in range(20)], {"MRN"}),
        ([f"MR{10_000 + step}" for step in range(20)], {"MRN"}),
    ],
)
def test_a_key_of_patients_is_a_finding_unless_the_system_made_it_up(
    cells: list[str], expected: set[str]
) -> None:
    assert kinds(cells, "patient_id") == expected


def test_who_did_it_is_a_user_beside_columns_of_a_log() -> None:
    log = {"identity": ["jdoe", "roe"], "user": [str(uuid4(1)), str(uuid4(2))], "event_id": ["4624", "4625"]}
    assert set(scan(log)) == {("identity", "USERNAME")}
    assert scan({"identity": ["square", "cube"], "law": ["a", "b"]}) == {}
    assert kinds(["jdoe", "roe"], "user") == {"USERNAME"}


def test_numbers_given_one_after_the_other_count_under_a_name_that_says_record_number() -> None:
    assert kinds([str(10_000 + step) for step in range(20)], "mrn") == {"MRN"}


@pytest.mark.parametrize("value", ["Boston", "Jane", "12 Main Street", "J. Doe ** VIP patient"])
@pytest.mark.parametrize("name", ["first_name", "address", "city", "county", "birthplace"])
def test_plain_words_under_a_telling_header_are_evidence(name: str, value: str) -> None:
    assert len(kinds([value], name)) == 1


def test_addresses_of_machines_and_mail_are_no_streets_nor_towns() -> None:
    addresses = [
        *("jane@example.org", "10.0.0.13:40000", "10.0.0.0/8", "00:1b:44:11:3a:b7", "00-1b-44-11-3a-b7"),
        *("2001:db8::1", "[2001:db8::1]:443", "::ffff:10.0.0.1"),
    ]
    found = scan({"address": addresses, "l2_addr": ["00:1b:44:11:3a:b7"] * 8, "city": addresses})
    assert not {kind for _, kind in found} & {"STREET_ADDRESS", "CITY"}
    assert kinds(["12 Main St: rear", "Abbey Rd 3", "1:2 Lane"], "address") == {"STREET_ADDRESS"}


def test_cells_of_either_format_count_under_a_header() -> None:
    assert scan({"gps": ["42.36877, -71.15168", "42.3", "north"]})["gps", "GPS_COORDINATE"].count == 2


def test_reasons_and_confidence_grow_with_the_evidence() -> None:
    header_only = scan({"city": ["Boston"]})["city", "CITY"]
    fits = scan({"ssn": ["12345678"]})["ssn", "US_SSN"]
    value_only = scan({"x": ["123-45-6789"]})["x", "US_SSN"]
    both = scan({"ssn": ["123-45-6789"]})["ssn", "US_SSN"]
    assert header_only.confidence < fits.confidence < value_only.confidence < both.confidence < 1
    assert both.reasons == ("column name", "cell format", "number rule")
    assert fits.reasons == ("column name", "cells fit the name")
    assert header_only.reasons == ("column name",)


def test_published_numbers_of_every_kind_are_found_under_their_header() -> None:
    ruled = [kind for kind in info_types().values() if kind.validator and kind.header_words]
    missed = []
    for kind in ruled:
        name = " ".join(word for word in kind.header_words[0] if word not in {"^", "$"})
        numbers = list(KNOWN[str(kind.validator)])
        found = scan({name: numbers}).get((name, kind.id))
        if found is None or found.count != len(numbers):
            missed.append(kind.id)
    assert missed == []
