import logging
import traceback

import polars as pl
import pytest
from scan_support import SCANNER, scan

from secure_platform.contract.model import Column, Contract
from secure_platform.scan.columns import Finding
from secure_platform.scan.refusals import refused, residual
from secure_platform.taxonomy.classification import Classification
from secure_platform.taxonomy.info_types import info_types

BLOCKING = {"identifier", "secret"}
# Composed, so that it stands nowhere.
SECRET = "ghp_" + "".join(f"{chr(97 + place * 7 % 26)}{place % 10}" for place in range(18))
CANARIES = {
    "ssn": "987-65-4320",
    "note": "card 4111111111111111 of canary@secret.example",
    "first_name": "Canarius",
    "address": "1 Canary Wharf",
    "dob": "1931-07-13",
    "key": "AKIACANARYCANARY7777",
    "db": "pg://u:canarypw@h/x",
    "phone": "+12125557777",
    "ip": "203.0.113.77",
    "iban": "DE89370400440532013000",
}


def contract(**classifications: Classification) -> Contract:
    return Contract(
        dataset="things",
        version="1.0.0",
        description="Things.",
        owner="team:x",
        source_file="things.csv",
        digest="sha256:" + "0" * 64,
        columns=tuple(
            Column(name=name, logical_type="string", description="-", classification=classification)
            for name, classification in classifications.items()
        ),
    )


def finding(column: str, kind: str) -> Finding:
    return Finding(column, kind, 1, 1.0, 0.9, ("cell format",))


@pytest.mark.parametrize("declared", list(Classification))
def test_a_sensitive_finding_in_a_public_or_internal_column_is_refused(declared: Classification) -> None:
    found = [finding("a", "EMAIL")]
    assert refused(found, contract(a=declared)) == (found if declared < Classification.CONFIDENTIAL else [])


def test_dates_contradict_no_contract() -> None:
    assert refused([finding("a", "DATE")], contract(a=Classification.PUBLIC)) == []


def test_columns_outside_the_contract_are_listed_but_not_refused() -> None:
    columns = {"known": ["x"], "extra": ["jane@example.org"]}
    found = SCANNER.scan(pl.LazyFrame(columns))
    assert [f.column for f in found] == ["extra"]
    assert refused(found, contract(known=Classification.PUBLIC)) == []


def test_every_finding_of_a_column_is_judged() -> None:
    found = SCANNER.scan(pl.LazyFrame({"note": ["4111111111111111 and jane@example.org on 2024-01-31"]}))
    assert {f.info_type for f in refused(found, contract(note=Classification.INTERNAL))} == {
        "CREDIT_CARD",
        "EMAIL",
    }


@pytest.mark.parametrize("kind", [kind.id for kind in info_types().values() if kind.group in BLOCKING])
def test_identifiers_and_secrets_block_protected_data(kind: str) -> None:
    assert residual([finding("a", kind)]) == [finding("a", kind)]


def test_whatever_is_restricted_blocks_protected_data() -> None:
    restricted = [k for k in info_types().values() if k.classification >= Classification.RESTRICTED]
    assert len(restricted) > 90
    found = [finding("a", kind.id) for kind in restricted]
    assert residual(found) == found


@pytest.mark.parametrize("kind", [kind.id for kind in info_types().values() if kind.group not in BLOCKING])
def test_what_names_nobody_blocks_where_safe_harbor_lists_it(kind: str) -> None:
    found = [finding("a", kind)]
    assert residual(found) == []
    assert residual(found, safe_harbor=True) == (found if info_types()[kind].hipaa else [])


def test_a_well_protected_table_is_clean_under_safe_harbor() -> None:
    token = "t1_0123456789abcdef0123456789abcdef"
    protected = pl.LazyFrame(
        {
            "Id": [token, token],
            "SSN": [token, None],
            "BIRTHDATE": [1961, 1934],
            "AGE": [90, 45],
            "GENDER": ["F", "M"],
            "RACE": ["white", "asian"],
            "FIRST": [None, None],
            "LAST": ["REDACTED", "REDACTED"],
            "ADDRESS": ["****", "*******eet"],
            "CITY": pl.Series([None, None], dtype=pl.String),
            "ZIP": ["021", "000"],
            "PHONE": ["********77", "******8888"],
            "email": ["****@*******.***", None],
            "patient_state": ["Massachusetts", "Ohio"],
            "description": ["Acute viral pharyngitis (disorder)", "Normal pregnancy"],
            "CODE": ["195662009", "124171000119105"],
            "city_count": [3, 4],
            "first_year": [2001, 2002],
        }
    )
    assert residual(SCANNER.scan(protected), safe_harbor=True) == []


@pytest.mark.parametrize(
    ("column", "value", "kind"),
    [
        ("description", "call 123-45-6789", "US_SSN"),
        ("CITY", "Boston", "CITY"),
        ("BIRTHDATE", "1961-04-12", "DATE_OF_BIRTH"),
        ("ZIP", "02138", "US_ZIP"),
        ("state", "jane@example.org", "EMAIL"),
        ("PHONE", "(***) ***-2368 or 212-555-2368", "PHONE"),
        ("description", f"sent {SECRET}", "SECRET_TOKEN"),
    ],
)
def test_one_cell_that_slipped_through_blocks(column: str, value: str, kind: str) -> None:
    token = "t1_0123456789abcdef0123456789abcdef"
    found = SCANNER.scan(pl.LazyFrame({column: [*[token] * 5000, value]}))
    assert [f.info_type for f in residual(found)] == [kind]


def test_nothing_that_leaves_the_scanner_holds_a_value(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    frame = pl.LazyFrame({name: [value] * 3 for name, value in CANARIES.items()})
    observed = SCANNER.observe(frame).collect()
    findings = SCANNER.findings(observed, frame, frame.collect_schema().names())
    assert {f.column for f in findings} == set(CANARIES)
    captured = capfd.readouterr()
    said = [repr(findings), repr(observed.to_dicts()), caplog.text, captured.out, captured.err]
    assert not [value for value in _parts() if any(value in text for text in said)]


def test_a_query_that_fails_in_the_middle_says_no_value() -> None:
    broken = pl.LazyFrame({"ssn": [CANARIES["ssn"]] * 3}).with_columns(
        pl.col("ssn").map_batches(lambda _: 1 / 0, return_dtype=pl.String)
    )
    with pytest.raises(Exception, match="division") as caught:
        SCANNER.scan(broken)
    assert CANARIES["ssn"] not in "".join(traceback.format_exception(caught.value))


def test_a_refused_column_is_named_without_its_values() -> None:
    with pytest.raises(Exception, match="holds bytes") as caught:
        scan({"blob": [b"canary"]})
    assert "canary" not in str(caught.value)


def _parts() -> list[str]:
    return [part for value in CANARIES.values() for part in (value, *value.split()) if len(part) > 4]
