"""The healthcare contracts accept every row of the third-party Synthea export, and other exports like it."""

from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pandera.polars as pa
import polars as pl
import pytest
from contract_support import HEALTHCARE

from secure_platform.contract.model import Contract
from secure_platform.contract.product import Product, load_product
from secure_platform.contract.schema import pandera_schema
from secure_platform.taxonomy.classification import Classification

DATASETS = ("patients", "encounters", "conditions", "medications", "observations")
NEWER_HEADERS = {
    "patients": "Id,BIRTHDATE,DEATHDATE,SSN,DRIVERS,PASSPORT,PREFIX,FIRST,MIDDLE,LAST,SUFFIX,MAIDEN,MARITAL,"
    "RACE,ETHNICITY,GENDER,BIRTHPLACE,ADDRESS,CITY,STATE,COUNTY,FIPS,ZIP,LAT,LON,"
    "HEALTHCARE_EXPENSES,HEALTHCARE_COVERAGE,INCOME",
    "encounters": "Id,START,STOP,PATIENT,ORGANIZATION,PROVIDER,PAYER,ENCOUNTERCLASS,CODE,DESCRIPTION,"
    "BASE_ENCOUNTER_COST,TOTAL_CLAIM_COST,PAYER_COVERAGE,REASONCODE,REASONDESCRIPTION",
    "conditions": "START,STOP,PATIENT,ENCOUNTER,SYSTEM,CODE,DESCRIPTION",
    "medications": "START,STOP,PATIENT,PAYER,ENCOUNTER,CODE,DESCRIPTION,BASE_COST,PAYER_COVERAGE,DISPENSES,"
    "TOTALCOST,REASONCODE,REASONDESCRIPTION",
    "observations": "DATE,PATIENT,ENCOUNTER,CATEGORY,CODE,DESCRIPTION,VALUE,UNITS,TYPE",
}
DIRECT_IDENTIFIERS = {
    "BIRTHDATE", "DEATHDATE", "SSN", "DRIVERS", "PASSPORT", "PREFIX", "FIRST", "LAST", "SUFFIX", "MAIDEN",
    "BIRTHPLACE", "ADDRESS", "CITY", "COUNTY", "ZIP", "LAT", "LON",
}  # fmt: skip


@cache
def healthcare() -> Product:
    return load_product(HEALTHCARE)


def typed(contract: Contract, text: pl.DataFrame) -> pl.DataFrame:
    """Every cell of the contract's columns in its type; a cell that does not convert is an error."""
    convert: dict[str, Any] = {
        "date": lambda cell: cell.str.to_date("%Y-%m-%d"),
        "timestamp": lambda cell: cell.str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC"),
        "integer": lambda cell: cell.cast(pl.Int64),
        "number": lambda cell: cell.cast(pl.Float64),
        "string": lambda cell: cell,
    }
    return text.select(convert[column.logical_type](pl.col(column.name)) for column in contract.columns)


def synthea(shared_data: Path, dataset: str) -> pl.DataFrame:
    path = shared_data / "healthcare" / "synthea_csv" / f"{dataset}.csv"
    return pl.read_csv(path, infer_schema=False)


def accepts(contract: Contract, frame: pl.DataFrame) -> bool:
    try:
        pandera_schema(contract).validate(frame, lazy=True)
    except pa.errors.SchemaErrors:
        return False
    return True


def row(contract: Contract, **values: Any) -> pl.DataFrame:
    """One row that is null wherever the contract lets it be."""
    least: dict[str, Any] = {
        "string": "x",
        "integer": 0,
        "number": 0.0,
        "date": date(2000, 1, 1),
        "timestamp": datetime(2000, 1, 1, tzinfo=UTC),
    }
    cells = {
        column.name: least[column.logical_type] if column.required else None for column in contract.columns
    } | ({"GENDER": "F"} if contract.dataset == "patients" else {})
    return pl.DataFrame({**cells, **values}, schema={c.name: c.dtype for c in contract.columns}, orient="row")


def test_the_product_is_in_the_order_of_its_references() -> None:
    product = healthcare()
    assert tuple(product.contracts) == DATASETS
    assert (product.name, product.owner, product.profile) == (
        "healthcare",
        "team:clinical-data",
        "hipaa_safe_harbor",
    )
    assert product.models == ("patient_summary", "encounter_facts", "condition_prevalence")
    assert (product.schedule, product.freshness_hours) == ("0 5 * * *", 26)


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_columns_are_those_of_the_export(shared_data: Path, dataset: str) -> None:
    contract = healthcare().contracts[dataset]
    assert [column.name for column in contract.columns] == synthea(shared_data, dataset).columns


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_row_of_the_export_is_valid(shared_data: Path, dataset: str) -> None:
    contract = healthcare().contracts[dataset]
    frame = typed(contract, synthea(shared_data, dataset))
    assert frame.height > 20
    assert accepts(contract, frame)
    for column in contract.columns:
        if contract.is_key(column):
            assert frame[column.name].is_unique().all()
        if column.reference:
            parent = synthea(shared_data, column.reference.dataset)[column.reference.column]
            assert frame[column.name].drop_nulls().is_in(parent.implode()).all()


@pytest.mark.parametrize("dataset", DATASETS)
def test_newer_exports_have_every_column_and_may_have_more(dataset: str) -> None:
    contract = healthcare().contracts[dataset]
    assert {column.name for column in contract.columns} <= set(NEWER_HEADERS[dataset].split(","))
    assert contract.extra_columns == "keep_raw"


@pytest.mark.parametrize("dataset", DATASETS)
def test_handling_and_promises(dataset: str) -> None:
    contract = healthcare().contracts[dataset]
    assert (contract.on_invalid, contract.max_invalid_ratio, contract.minimum_rows) == ("quarantine", 0.05, 1)
    assert (contract.freshness_hours, contract.retention_days) == (26, 2190)
    assert contract.source_file == f"{dataset}.csv"
    assert all(column.description for column in contract.columns)


def test_everything_that_names_or_locates_a_person_is_restricted_and_typed() -> None:
    patients = healthcare().contracts["patients"]
    restricted = {c.name for c in patients.columns if c.classification is Classification.RESTRICTED}
    assert restricted == DIRECT_IDENTIFIERS
    assert all(patients.column(name).info_type for name in restricted)


def test_results_are_restricted_free_text(shared_data: Path) -> None:
    """The export answers "What address do you live at?" in observations.VALUE."""
    value = healthcare().contracts["observations"].column("VALUE")
    assert (value.classification, value.info_type) == (Classification.RESTRICTED, None)
    addresses = synthea(shared_data, "patients")["ADDRESS"].implode()
    assert synthea(shared_data, "observations")["VALUE"].is_in(addresses).sum() == 18


@pytest.mark.parametrize("dataset", DATASETS)
def test_dates_and_keys_are_typed_and_confidential(dataset: str) -> None:
    for column in healthcare().contracts[dataset].columns:
        if column.logical_type in ("date", "timestamp"):
            assert column.info_type in ("DATE", "DATE_OF_BIRTH", "DATE_OF_DEATH")
        if column.token_domain or column.reference or column.primary_key:
            assert column.token_domain
            assert column.info_type in ("RECORD_ID", "PROVIDER_ID")
            assert column.classification is Classification.CONFIDENTIAL


def test_each_dataset_has_one_subject() -> None:
    subjects = {
        dataset: [column.name for column in contract.columns if column.subject_id]
        for dataset, contract in healthcare().contracts.items()
    }
    assert subjects == {dataset: ["Id" if dataset == "patients" else "PATIENT"] for dataset in DATASETS}


def test_only_the_closed_sets_of_the_export_are_closed() -> None:
    closed = {
        column.name: set(column.enum or ())
        for contract in healthcare().contracts.values()
        for column in contract.columns
        if column.enum
    }
    assert closed.pop("ENCOUNTERCLASS") >= {
        "ambulatory",
        "emergency",
        "inpatient",
        "outpatient",
        "urgentcare",
        "wellness",
    }
    assert closed == {"GENDER": {"M", "F"}, "MARITAL": {"S", "M", "D", "W"}}


ACCEPTED: list[tuple[str, dict[str, Any]]] = [
    ("patients", {}),
    ("patients", {"MARITAL": "W", "ZIP": "02155-1234", "PREFIX": "Dr.", "SUFFIX": "PhD", "RACE": "native"}),
    ("patients", {"SSN": "999999999", "PASSPORT": "X" * 20, "HEALTHCARE_EXPENSES": 1e12, "LAT": -0.0}),
    ("patients", {"BIRTHDATE": date(1900, 1, 1), "STATE": "MA", "LAST": "O'Brien-Müller Ångström"}),
    ("encounters", {"ENCOUNTERCLASS": "virtual"}),
    ("encounters", {"ENCOUNTERCLASS": "snf", "STOP": None, "PAYER": None, "TOTAL_CLAIM_COST": 1e9}),
    ("encounters", {"PAYER_COVERAGE": -0.01, "DESCRIPTION": "word " * 5000}),
    ("conditions", {"CODE": "10939881000119104", "DESCRIPTION": None}),
    ("medications", {"DISPENSES": 10**9, "TOTALCOST": 1e15, "REASONCODE": "ICD10:E11.9"}),
    ("observations", {"VALUE": 'free text, with "quotes"\nand lines', "ENCOUNTER": None}),
    ("observations", {"VALUE": None, "UNITS": "{score}", "CODE": "QALY", "TYPE": "text"}),
]
REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("patients", {"GENDER": "X"}),
    ("patients", {"GENDER": None}),
    ("patients", {"MARITAL": "married"}),
    ("patients", {"ZIP": "2155"}),
    ("patients", {"LAT": 91.0}),
    ("patients", {"LON": float("nan")}),
    ("patients", {"BIRTHDATE": None}),
    ("patients", {"BIRTHDATE": date(1066, 10, 14)}),
    ("patients", {"Id": None}),
    ("patients", {"Id": "x" * 65}),
    ("patients", {"SSN": "12345"}),
    ("encounters", {"PATIENT": None}),
    ("encounters", {"START": None}),
    ("encounters", {"ENCOUNTERCLASS": "party"}),
    ("encounters", {"TOTAL_CLAIM_COST": -1.0}),
    ("encounters", {"TOTAL_CLAIM_COST": float("inf")}),
    ("conditions", {"ENCOUNTER": None}),
    ("conditions", {"CODE": "a b"}),
    ("medications", {"DISPENSES": -1}),
    ("observations", {"PATIENT": None}),
]


@pytest.mark.parametrize(("dataset", "values"), ACCEPTED)
def test_variations_of_the_export_are_accepted(dataset: str, values: dict[str, Any]) -> None:
    contract = healthcare().contracts[dataset]
    assert accepts(contract, row(contract, **values))


@pytest.mark.parametrize(("dataset", "values"), REFUSED)
def test_values_that_cannot_be_are_refused(dataset: str, values: dict[str, Any]) -> None:
    contract = healthcare().contracts[dataset]
    assert not accepts(contract, row(contract, **values))
