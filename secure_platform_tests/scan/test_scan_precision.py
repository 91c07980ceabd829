"""The traps of other scanners (privacy.md §1), each as a column that must not, or must, be a finding."""

import random
import uuid

import pytest
from scan_support import kinds, scan

ROWS = 2000
DRAW = random.Random(7)  # noqa: S311 - the same columns every time

PLAIN = {
    "nine digits": [str(DRAW.randrange(10**8, 10**9)) for _ in range(ROWS)],
    "ten digits": [str(DRAW.randrange(10**9, 10**10)) for _ in range(ROWS)],
    "eleven digits": [str(DRAW.randrange(10**10, 10**11)) for _ in range(ROWS)],
    "sixteen digit order numbers": [str(DRAW.randrange(4 * 10**15, 6 * 10**15)) for _ in range(ROWS)],
    "order numbers in text": [f"order {DRAW.randrange(4 * 10**15, 6 * 10**15)} shipped" for _ in range(ROWS)],
    "epoch seconds": [str(1_700_000_000 + 977 * step) for step in range(ROWS)],
    "epoch milliseconds": [str(1_700_000_000_000 + 977 * step) for step in range(ROWS)],
    "epoch microseconds": [str(1_700_000_000_000_000 + 977 * step) for step in range(ROWS)],
    "epoch nanoseconds": [str(1_700_000_000_000_000_000 + 977 * step) for step in range(ROWS)],
    "compact timestamps": [f"202401{1 + step % 28:02d}12{step % 60:02d}59" for step in range(ROWS)],
    "uuids": [str(uuid.UUID(int=DRAW.getrandbits(128), version=4)) for _ in range(ROWS)],
    "digit uuids": [f"{DRAW.randrange(10**8):08d}-4111-1111-1111-111100000000" for _ in range(9)],
    "uuid of card digits": ["00000000-4111-1111-1111-111100000000", "41111111-1111-1111-0000-000000000000"],
    "uuids in text": [f"see {uuid.UUID(int=DRAW.getrandbits(128))} there" for _ in range(ROWS)],
    "our tokens": [f"t1_{DRAW.getrandbits(128):032x}" for _ in range(ROWS)],
    "our hashes": [f"h12_{DRAW.getrandbits(128):032x}" for _ in range(ROWS)],
    "sha-256": [f"{DRAW.getrandbits(256):064x}" for _ in range(ROWS)],
    "object identifiers": ["1.2.840.99999999.1.98060115.1686052808412", "1.2.840.999.9999.4111111111111111"],
    "device identifiers": ["(01)13465995954590(11)760704(17)010719(10)8477791433724820(21)488266988"],
    "card security codes": ["123", "4567", "001"],
    "stock keeping units": ["SCN-125", "AB-1234-XY", "GB82-0001"],
    "clinical codes": ["8302-2", "72514-3", "J45.909", "E11.9", "124171000119105", "185347001"],
    "amounts": ["1234.50", "-17.00", "+12.34", "+5.12345678", "1,234,567.89"],
    "versions in text": ["agent 120.0.0.0 on 10.15.7", "release 1.2.3.4"],
    "times": ["12:30:45", "23:59", "PT15M"],
    "web addresses": [
        "https://example.org/a?b=c",
        "http://localhost:8080/x",
        "ftp://example.org:21/pub/@latest",
    ],
    "at signs": ["@handle", "5 @ 3.50", "user@host", "a@b"],
    "ratios": ["1/2", "3-4-5", "1-800-555", "555-1234"],
    "words": ["Acute viral pharyngitis (disorder)", "NDA020800 0.3 ML Epinephrine 1 MG/ML Auto-Injector"],
    "blanks": ["", "   ", "\t"],
    "zero padded": ["0000000000000000", "0000-00-0000"],
}

TELLING = {
    "123-45-6789": "US_SSN",
    "123 45 6789": "US_SSN",
    "patient 123-45-6789 called": "US_SSN",
    "SSN: 999-12-3456": "US_SSN",
    "social security no. 999123456": "US_SSN",
    "4111111111111111": "CREDIT_CARD",
    " 4111-1111-1111-1111 ": "CREDIT_CARD",
    "paid with 4111 1111 1111 1111, thanks": "CREDIT_CARD",
    "3782 822463 10005": "CREDIT_CARD",
    "2223003122003222": "CREDIT_CARD",
    "6799990100000000019": "CREDIT_CARD",
    "jane.doe+x@mail.example.co.uk": "EMAIL",
    "<jane@example.org>;": "EMAIL",
    "mailto:jane@example.org?subject=hi": "EMAIL",
    "hans@müller.example": "EMAIL",
    "550e8400-e29b-41d4-a716-446655440000@example.org": "EMAIL",
    "(212) 555-2368": "PHONE",
    "+1 212 555 2368": "PHONE",
    "+491711234567": "PHONE",
    "ring 212-555-2368 after six": "PHONE",
    "call +46 (0)8 928 571 38": "PHONE",
    "192.168.1.17": "IPV4",
    "10.0.0.1:8443": "IPV4",
    "2001:db8::ff00:42:8329": "IPV6",
    "::ffff:192.0.2.128": "IPV6",
    "GB82 WEST 1234 5698 7654 32": "IBAN",
    "DE89370400440532013000": "IBAN",
    "to gb82west12345698765432 today": "IBAN",
    "MRN: 00123456": "MRN",
    "born 04/12/1961 in": "DATE_OF_BIRTH",
    "1EG4-TE5-MK73": "US_MBI",
    "42.36877, -71.15168": "GPS_COORDINATE",
    "AKIAIOSFODNN7EXAMPLE": "AWS_ACCESS_KEY",
    "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY": "AWS_ACCESS_KEY",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIE": "PRIVATE_KEY",
    "-----BEGIN OPENSSH PRIVATE KEY-----": "PRIVATE_KEY",
    "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl": "JWT",
    "postgresql://app:hunter2@db.example:5432/prod": "URL_CREDENTIALS",
    "DSN=redis://:secret@10.0.0.1/0": "URL_CREDENTIALS",
    "00:1B:44:11:3A:B7": "MAC_ADDRESS",
    "2024-01-31T12:00:00Z": "DATE",
    "1/31/2024": "DATE",
}


@pytest.mark.parametrize("trap", PLAIN)
def test_no_finding_without_a_header(trap: str) -> None:
    assert kinds(PLAIN[trap]) == set()


@pytest.mark.parametrize("value", TELLING)
def test_one_value_among_many_is_found_and_is_one_type(value: str) -> None:
    assert kinds([*["nothing to see"] * 500, value, None]) == {TELLING[value]}


def test_quotes_and_blanks_around_a_cell_hide_nothing() -> None:
    paddings = ('"{}"', "  {}\n", "\t{}")
    found = scan(
        {f"c{place}": [each.format(value) for each in paddings] for place, value in enumerate(TELLING)}
    )
    whole = {(f"c{place}", kind): len(paddings) for place, kind in enumerate(TELLING.values())}
    assert {place: found[place].count for place in whole if place in found} == whole


def test_versions_are_no_addresses_under_their_header() -> None:
    assert kinds(["10.1.2.3", "10.1.2.4"], "app_version") == set()
    assert kinds(["10.1.2.3", "10.1.2.4"], "host") == {"IPV4"}


def test_a_url_does_not_fire_inside_an_email_nor_an_email_inside_a_url() -> None:
    assert kinds(["jane@example.org"]) == {"EMAIL"}
    assert kinds(["https://jane:pw@example.org/x"]) == {"URL_CREDENTIALS"}
    assert kinds(["https://jane:pw@example.org/x", "jane@example.org"]) == {"URL_CREDENTIALS", "EMAIL"}


def test_random_numbers_with_real_cards_among_them_are_a_finding() -> None:
    orders = PLAIN["sixteen digit order numbers"]
    assert kinds([*orders, *["4111111111111111"] * 200]) == {"CREDIT_CARD"}


def test_impossible_ssns_that_fill_a_column_are_a_finding_whatever_its_name() -> None:
    assert kinds([f"999-{step % 99 + 1:02d}-{step:04d}" for step in range(100)]) == {"US_SSN"}
    assert kinds([*["part"] * 100, "999-12-3456"]) == set()


def test_keyword_and_rule_each_count_their_cells() -> None:
    finding = scan({"x": ["123-45-6789", "SSN 999-12-3456", "SSN 123-45-6789", "none"]})["x", "US_SSN"]
    assert finding.count == 3


def test_every_valid_number_in_a_cell_is_tried_not_only_the_first() -> None:
    assert kinds(["ref 4111111111111112 card 4111111111111111"]) == {"CREDIT_CARD"}


def test_counts_are_cells_of_the_right_kind() -> None:
    values = ["jane@example.org"] * 3 + ["write to joe@example.org"] * 2 + ["nobody"] * 4 + [None]
    finding = scan({"x": values})["x", "EMAIL"]
    assert (finding.count, finding.ratio) == (5, 5 / 9)
    assert finding.reasons == ("cell format", "format inside text")
