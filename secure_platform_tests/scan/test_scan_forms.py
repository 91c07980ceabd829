"""Values under names are found in markup, assignments, records of a layout, and tables of attributes."""

import json
from typing import Any

import pytest
from scan_support import kinds, scan

PID = (
    "PID|1||0001523^^^HOSP^MR||DOE^JANE^Q||19610412|F||2106-3|12 MAIN ST^^BOSTON^MA^02108^USA||(617)555-0143"
)
SUBJECT = (
    '<patient><name use="L"><given>Jane</given><family>Doe</family></name>'
    '<birthTime value="19610412"/><telecom value="tel:+1(617)555-0143" use="HP"/></patient>'
)
ENTRY = (
    "622231380104" + "12345678".ljust(17) + "0000010000" + "#789654".ljust(15) + "Jane Doe".ljust(22) + "  0"
)
ENTRY += "121042880000001"
CLAIM = "NM1*IL*1*DOE*JANE****MI*00221111~N3*12 MAIN ST~N4*BOSTON*MA*02108~DMG*D8*19610412*F"
CARD = "BEGIN:VCARD\nFN:Jane Doe\nBDAY:1961-04-12\nADR;TYPE=home:;;12 Main St;Boston;MA;02108;USA\nEND:VCARD"
DATES_OF_LIFE = {"DATE_OF_BIRTH", "DATE_OF_DEATH"}
MESSAGE = "A logon was attempted.\r\n\r\nSubject:\r\n\tAccount Name:\t\tjdoe\r\n\tLogon ID:\t\t0x3E7\r\n"


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (PID, {"MRN", "PERSON_NAME", "DATE_OF_BIRTH", "GENDER", "STREET_ADDRESS", "CITY", "US_ZIP", "PHONE"}),
        (f"MSH|^~\\&|A|B\r{PID}\rNK1|1|ROE^RICHARD||9 ELM ST^^LYNN^MA^01901", {"MRN", "PERSON_NAME", "CITY"}),
        (SUBJECT, {"PERSON_NAME", "DATE_OF_BIRTH", "PHONE"}),
        ('  <streetAddressLine partType="SAL">12 Main St</streetAddressLine>', {"STREET_ADDRESS"}),
        (ENTRY, {"BANK_ACCOUNT", "US_ABA_ROUTING", "PERSON_NAME"}),
        (CLAIM, {"PERSON_NAME", "HEALTH_PLAN_ID", "STREET_ADDRESS", "CITY", "DATE_OF_BIRTH", "GENDER"}),
        (CARD, {"PERSON_NAME", "DATE_OF_BIRTH", "STREET_ADDRESS", "CITY"}),
        (MESSAGE, {"USERNAME"}),
        ('    "lastName": "Doe",', {"PERSON_NAME"}),
        ("ts=1700000000 level=info username=jdoe passport_no='X1234567'", {"USERNAME", "PASSPORT"}),
        ("/form?first_name=Jane&city=Boston", {"PERSON_NAME", "CITY"}),
        ("user: CLINIC\\jdoe host: pc-17", {"USERNAME"}),
        ('<id root="2.16.840.1.113883.4.1" extension="999175017"/>', {"US_SSN"}),
        ("<id extension='1417947383' root='2.16.840.1.113883.4.6'/>", {"US_NPI"}),
        ("PID|1||||||19610412083000+0100|F" + "|" * 21 + "20080825111630-0500", DATES_OF_LIFE),
        ("PRT|1|AD||DEV||||||||||||00643169001763^^UDI|||LOT7|21A11F4855", {"MEDICAL_DEVICE_ID"}),
    ],
)
def test_a_cell_of_this_form_holds_what_its_places_are_for(cell: str, expected: set[str]) -> None:
    assert expected <= kinds([cell, "nothing to see", None])


@pytest.mark.parametrize(
    "cell",
    [
        "PID|1||0001523",  # too short for a name
        "the PID|1 of a process",
        "<b>Boston</b> is a <i>city</i>",
        '<a href="/address">Main</a>',
        "x = y; city == other",
        "Name: {{PERSON}}",
        "Billing address: {{STREET_ADDRESS}}",
        "PWD=/tmp ; USER=root",
        "denied on arn:aws:secretsmanager:us-east-1:123456789012:secret:billing-token-2aONLk",
        "621231380104 is an order number",
        "aes256-cbc,rijndael-cbc@lysator.liu.se,hmac-sha2-256-etm@openssh.com",
        "seed: -4508782859800911020",
        '<id root="2.16.840.1.113883.4.123" extension="123-45-6789012"/>',
        '<id root="2.16.840.1.113883.4.6"/> <code extension="1417947383"/>',
    ],
)
def test_nothing_is_read_into_what_only_looks_so(cell: str) -> None:
    assert kinds([cell] * 3) - {"MRN", "USERNAME"} == set()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"type": {"text": "Medical Record Number"}, "system": "urn:x:1", "value": "77-1"}, set()),
        (
            {"type": {"text": "Medical Record Number"}, "system": "http://h.example", "value": "771234"},
            {"MRN"},
        ),
        ({"system": "phone", "value": "6175550143"}, {"PHONE"}),
        ({"url": "urn:x:patient-mothersMaidenName", "valueString": "Roe"}, {"PERSON_NAME"}),
        ({"url": "latitude", "valueDecimal": 42.33196}, {"GPS_COORDINATE"}),
        ({"entity_type": "STREET_ADDRESS", "entity_value": "12 Main St"}, {"STREET_ADDRESS"}),
        ({"system": "urn:oid:2.16.840.1.113883.4.6", "value": "1417947383"}, {"US_NPI"}),
        ({"system": "urn:oid:2.16.840.1.113883.4.66", "value": "1417947383"}, set()),
        ({"name": "Colour", "value": "blue"}, set()),
        ({"message": json.dumps({"passport_no": "X1234567"})}, {"PASSPORT"}),
    ],
)
def test_an_object_that_says_what_its_value_is(value: Any, expected: set[str]) -> None:
    assert kinds([json.dumps([value])] * 2) - {"URL"} == expected


def test_a_column_is_named_row_by_row_by_another() -> None:
    rows = [("What address do you live at?", "12 Main St"), ("Tobacco", "Never"), ("Phone", "6175550143")]
    table = {"DESCRIPTION": [row[0] for row in rows] * 3, "VALUE": [row[1] for row in rows] * 3}
    found = scan(table)
    assert set(found) == {("VALUE", "STREET_ADDRESS"), ("VALUE", "PHONE")}
    assert (found["VALUE", "PHONE"].count, found["VALUE", "PHONE"].reasons[-1]) == (
        3,
        "named by another column",
    )


def test_things_that_have_names_name_no_values() -> None:
    table = {
        "NAME": [f"{step} city lamp" for step in range(9)],
        "VALUE": [f"type {step}" for step in range(9)],
    }
    assert scan(table) == {}
