"""Records whose standard says what stands where: fields of HL7 v2, elements of X12, columns of NACHA, vCards.

A place is read under the words that its standard gives it, as under a column name, so the taxonomy decides
what it is. Places whose standard gives them no meaning for a person are not listed.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import polars as pl

_NAME: Final = "person name"
_STREET: Final = "street"
_CITY: Final = "city"
_POSTCODE: Final = "postal code"
_PHONE: Final = "phone"
_BORN: Final = "date of birth"
# Components of an address (XAD) that the standard gives a meaning of their own.
_ADDRESS: Final = {1: _STREET, 3: _CITY, 5: _POSTCODE, 6: "country", 9: "county"}

# HL7 v2.5.1, chapters 3, 6 and 7, and PRT of v2.8.2: by segment, the number of the field and what it holds.
_FIELDS: Final[Mapping[str, Mapping[int, str]]] = {
    "PID": {
        2: "patient id",
        3: "mrn",
        5: _NAME,
        6: "maiden name",
        7: _BORN,
        8: "sex",
        9: _NAME,
        10: "race",
        12: "county",
        13: _PHONE,
        14: _PHONE,
        16: "marital status",
        17: "religion",
        18: "account number",
        19: "ssn",
        20: "drivers license",
        21: "mrn",
        22: "ethnic group",
        23: "birth place",
        26: "nationality",
        29: "date of death",
    },
    "PD1": {4: _NAME},
    "NK1": {2: _NAME, 5: _PHONE, 6: _PHONE, 16: _BORN, 26: "maiden name", 30: _NAME, 31: _PHONE, 37: "ssn"},
    "GT1": {3: _NAME, 6: _PHONE, 7: _PHONE, 8: _BORN, 9: "sex", 12: "ssn", 18: _PHONE},
    "IN1": {7: _PHONE, 16: _NAME, 18: _BORN, 36: "policy number", 49: "member id"},
    "IN2": {2: "ssn", 6: "medicare number", 8: "medicaid number"},
    "PV1": {7: "doctor name", 8: "doctor name", 9: "doctor name", 17: "doctor name", 52: "doctor name"},
    "ORC": {12: "doctor name", 14: _PHONE},
    "OBR": {16: "doctor name", 17: _PHONE},
    "DG1": {4: "diagnosis"},
    "PRT": {5: _NAME, 15: _PHONE, 16: "device identifier", 20: "device serial"},
}
_ADDRESSES: Final = {"PID": (11,), "NK1": (4, 32), "GT1": (5,), "IN1": (5, 19), "PRT": (14,)}
# A person of the type XCN comes behind a number: of the two, the names.
_NUMBERED: Final = frozenset(
    {("PV1", f) for f in (7, 8, 9, 17, 52)} | {("PD1", 4), ("ORC", 12), ("OBR", 16), ("PRT", 5)}
)
_TEXT: Final = r"[^|^~&\r\n]"

# Who gave a number, by the object identifier in its root (CDA) or its system (FHIR); HL7's registry.
OBJECT_IDENTIFIERS: Final[Mapping[str, str]] = {
    "2.16.840.1.113883.4.1": "ssn",
    "2.16.840.1.113883.4.6": "npi",
    "2.16.840.1.113883.4.572": "medicare number",
    "2.16.840.1.113883.4.927": "mbi",
    "2.16.840.1.113883.2.1.4.1": "nhs number",
    "2.16.840.1.113883.2.4.6.3": "bsn",
    "2.16.840.1.113883.2.9.4.3.2": "codice fiscale",
}

# Each a line or a segment of its own; the names of the groups are what the places hold.
_LINES: Final = (
    # NACHA: entry details of a person's account.
    r"(?m)^6[0-9]{2}(?P<routing_number>[0-9]{9})(?P<account_number>.{17})[0-9]{10}.{15}(?P<person_name>.{22}).{2}[01][0-9]{15}\s*$",
    # X12: a person, an address, a contact, a birth date, a Social Security number.
    r"(?:^|~\s*)NM1\*[A-Z0-9]{2,3}\*1\*(?P<last_name>[^*~\r\n]+)\*(?P<first_name>[^*~\r\n]*)(?:\*[^*~\r\n]*){3}(?:\*MI\*(?P<member_id>[^*~\r\n]+))?",
    r"(?:^|~\s*)N3\*(?P<street>[^*~\r\n]+)",
    r"(?:^|~\s*)N4\*(?P<city>[^*~\r\n]+)\*[A-Z]{2}\*(?P<zip>[0-9-]+)",
    r"(?:^|~\s*)PER\*[A-Z0-9]{2}\*(?P<contact_name>[^*~\r\n]*)\*TE\*(?P<phone>[^*~\r\n]+)",
    r"(?:^|~\s*)DMG\*D8\*(?P<date_of_birth>[0-9]{8})(?:\*(?P<gender>[A-Z]))?",
    r"(?:^|~\s*)REF\*SY\*(?P<ssn>[0-9-]+)",
    # vCard.
    r"(?m)^FN(?:;[^:\r\n]*)?:(?P<full_name>[^\r\n]+)",
    r"(?m)^ADR(?:;[^:\r\n]*)?:[^;\r\n]*;[^;\r\n]*;(?P<street>[^;\r\n]*);(?P<city>[^;\r\n]*);[^;\r\n]*;(?P<postal_code>[^;\r\n]*)",
    r"(?m)^TEL(?:;[^:\r\n]*)?:(?:tel:)?(?P<phone>[^\r\n]+)",
    r"(?m)^BDAY(?:;[^:\r\n]*)?:(?P<birthday>[^\r\n]+)",
)
LAYOUT: Final = (
    rf"(?m)^\x0b?(?:MSH|{'|'.join(_FIELDS)})\|"
    r"|(?m)^6[0-9]{11}.{66}[01][0-9]{15}\s*$"
    r"|(?:^|~\s*)(?:NM1|N3|N4|PER|DMG|REF)\*"
    r"|(?m)^(?:FN|ADR|TEL|BDAY)[;:]"
)


def placed(texts: pl.LazyFrame) -> pl.LazyFrame:
    """What stands in the places of such records, as pairs of key and value.

    Args:
        texts: A frame with the column `value`.
    """
    value = pl.col("value").str.replace_all("\r", "\n", literal=True)
    found = [
        pl.struct(pl.lit(name).alias("key"), value.str.extract(pattern).alias("value"))
        for pattern, name in _fields()
    ]
    for line in _LINES:
        groups = value.str.extract_groups(line)
        found += [
            pl.struct(pl.lit(name).alias("key"), groups.struct.field(name).alias("value"))
            for name in _names(line)
        ]
    pairs = texts.select(pl.concat_list(found).alias("pair")).explode("pair").unnest("pair")
    given = pl.col("value").str.strip_chars()
    return pairs.with_columns(given).filter(pl.col("value").str.len_bytes() > 0)


def _names(line: str) -> list[str]:
    return pl.select(pl.lit("").str.extract_groups(line)).to_series().struct.fields


def _fields() -> Iterator[tuple[str, str]]:
    """A pattern with one group for every place of HL7 v2, and what it holds."""
    for segment, fields in _FIELDS.items():
        for field, name in fields.items():
            yield _field(segment, field, 2 if (segment, field) in _NUMBERED else 1), name
    for segment, numbers in _ADDRESSES.items():
        for field in numbers:
            for component, name in _ADDRESS.items():
                yield _field(segment, field, component), name


def _field(segment: str, field: int, component: int) -> str:
    before = rf"(?:[^|\r\n]*\|){{{field - 1}}}"
    return rf"(?m)^\x0b?{segment}\|{before}(?:[^|^~\r\n]*\^){{{component - 1}}}({_TEXT}+)"
