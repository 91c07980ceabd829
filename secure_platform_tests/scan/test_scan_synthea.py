"""The Synthea export, table by table and column by column; a full list, so that anything new is seen."""

from pathlib import Path

import polars as pl
import pytest
from scan_support import SCANNER

from secure_platform.contract.load import load_contract
from secure_platform.scan.refusals import refused, residual

CONTRACTS = Path(__file__).resolve().parents[2] / "secure_platform/defs/healthcare/contracts"

PLACE = {"ADDRESS": "STREET_ADDRESS", "CITY": "CITY", "ZIP": "US_ZIP"}
POINT = {"LAT": "GPS_COORDINATE", "LON": "GPS_COORDINATE"}
ATTRIBUTES = {
    "GENDER": "GENDER",
    "RACE": "ETHNIC_ORIGIN",
    "ETHNICITY": "ETHNIC_ORIGIN",
    "MARITAL": "MARITAL_STATUS",
}
PERIOD = {"START": "DATE", "STOP": "DATE"}

EXPECTED = {
    "allergies": {"START": "DATE"},
    "careplans": PERIOD,
    "claims": dict.fromkeys(
        ["CURRENTILLNESSDATE", "SERVICEDATE", "LASTBILLEDDATE1", "LASTBILLEDDATE2", "LASTBILLEDDATEP"], "DATE"
    ),
    "claims_transactions": {"FROMDATE": "DATE", "TODATE": "DATE"},
    "conditions": PERIOD,
    "devices": {"START": "DATE", "UDI": "MEDICAL_DEVICE_ID"},
    "encounters": PERIOD,
    "imaging_studies": {"DATE": "DATE", "SERIES_UID": "DICOM_UID", "INSTANCE_UID": "DICOM_UID"},
    "immunizations": {"DATE": "DATE"},
    "medications": PERIOD,
    "observations": {"DATE": "DATE", "VALUE": "ETHNIC_ORIGIN"},
    "organizations": {**PLACE, **POINT, "PHONE": "PHONE"},
    "patients": {
        "BIRTHDATE": "DATE_OF_BIRTH",
        "DEATHDATE": "DATE_OF_DEATH",
        "SSN": "US_SSN",
        "DRIVERS": "US_DRIVERS_LICENSE",
        "PASSPORT": "PASSPORT",
        "FIRST": "PERSON_NAME",
        "LAST": "PERSON_NAME",
        "MAIDEN": "PERSON_NAME",
        "BIRTHPLACE": "PLACE_NAME",
        "COUNTY": "COUNTY",
        **ATTRIBUTES,
        **PLACE,
        **POINT,
    },
    "payer_transitions": {
        "START_YEAR": "DATE",
        "END_YEAR": "DATE",
        "MEMBERID": "HEALTH_PLAN_ID",
        "OWNERNAME": "PERSON_NAME",
    },
    "payers": {**PLACE, "PHONE": "PHONE"},
    "procedures": PERIOD,
    "providers": {"NAME": "PERSON_NAME", "GENDER": "GENDER", **PLACE, **POINT},
    "supplies": {"DATE": "DATE"},
}
# Types beside the first of a column.
ALSO = {"observations": {"VALUE": "STREET_ADDRESS"}}


def read(shared_data: Path, table: str) -> pl.LazyFrame:
    folder = shared_data / "healthcare/synthea_csv"
    path = next(path for path in (folder / f"{table}.csv", folder / f"{table}.csv.gz") if path.exists())
    return pl.read_csv(path, infer_schema=False).lazy()


@pytest.mark.parametrize("table", EXPECTED)
def test_every_column_has_its_label_and_no_other(shared_data: Path, table: str) -> None:
    findings = SCANNER.scan(read(shared_data, table))
    found = {(f.column, f.info_type) for f in findings}
    assert found == {*EXPECTED[table].items(), *ALSO.get(table, {}).items()}


def test_whole_columns_are_found_and_not_parts(shared_data: Path) -> None:
    ratios = {f.column: f.ratio for f in SCANNER.scan(read(shared_data, "patients"))}
    assert set(ratios.values()) == {1.0}


@pytest.mark.parametrize("table", ["patients", "encounters", "conditions", "medications", "observations"])
def test_the_healthcare_contracts_declare_what_the_data_holds(shared_data: Path, table: str) -> None:
    findings = SCANNER.scan(read(shared_data, table))
    assert refused(findings, load_contract(CONTRACTS / f"{table}.odcs.yaml")) == []


def test_raw_patients_would_never_pass_as_protected(shared_data: Path) -> None:
    findings = SCANNER.scan(read(shared_data, "patients"))
    assert {f.column for f in residual(findings)} == EXPECTED["patients"].keys() - ATTRIBUTES.keys()


def test_service_dates_are_residual_under_safe_harbor_only(shared_data: Path) -> None:
    findings = SCANNER.scan(read(shared_data, "conditions"))
    assert residual(findings) == []
    assert {f.column for f in residual(findings, safe_harbor=True)} == {"START", "STOP"}
