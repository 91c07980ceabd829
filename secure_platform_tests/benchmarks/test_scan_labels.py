"""The labels are complete, say why, and hold no value."""

import csv
from pathlib import Path

import polars as pl
import pytest

from benchmarks.scan.tables import LABELS, NONE, labels, read

# Not tables, and scored elsewhere or not at all: vectors, documentation of a simulation, lookup trees.
UNLABELLED = {
    "pii/identifier_vectors_validatorjs.json",
    "finance/amlsim_20K_cycle200/metadata.txt",
    "security_logs/geo/GeoLite2-ASN-Test.json.gz",
    "security_logs/geo/GeoLite2-ASN-Test.mmdb",
    "security_logs/geo/GeoLite2-City-Test.json.gz",
    "security_logs/geo/GeoLite2-City-Test.mmdb",
}


@pytest.mark.parametrize("name", labels())
def test_every_column_of_a_table_has_one_label(shared_data: Path, name: str) -> None:
    assert {column.strip() for column in read(shared_data, name).columns} == set(labels()[name])


def test_every_file_is_labelled_or_said_to_be_none(shared_data: Path) -> None:
    patterns = {name.partition("#")[0] for name in labels()}
    labelled = {path for pattern in patterns for path in shared_data.glob(pattern)}
    folders = [path.stem for path in LABELS.glob("*.csv")]
    files = {path for folder in folders for path in (shared_data / folder).rglob("*") if path.is_file()}
    rest = {str(path.relative_to(shared_data)) for path in files - labelled}
    described = {name for name in rest if name.endswith(("SOURCES.md", ".members.json"))}
    assert rest - described == UNLABELLED


def test_none_stands_alone_or_beside_what_would_be_right_too() -> None:
    held = [types for table in labels().values() for label in table.values() for types in [label.types]]
    assert not [types for types in held if not types or (frozenset({NONE}) in types and len(types) > 1)]


def test_where_two_answers_are_right_the_reason_is_given() -> None:
    disputed = [
        (name, column)
        for name, table in labels().items()
        for column, label in table.items()
        if not label.reason and any(len(names) > 1 for names in label.types)
    ]
    assert disputed == []


def test_the_labels_hold_no_value_of_the_data(shared_data: Path) -> None:
    patients = read(shared_data, "healthcare/synthea_csv/patients.csv")
    users = read(shared_data, "finance/userdata/userdata1.csv")
    telling = [patients["SSN"], patients["LAST"], patients["ADDRESS"], users["email"], users["cc"]]
    values = pl.concat([column.drop_nulls() for column in telling]).unique().to_list()
    written = "\n".join(path.read_text(encoding="utf-8") for path in LABELS.iterdir())
    assert not [value for value in values if value in written]


def test_the_label_files_have_four_columns() -> None:
    for path in LABELS.glob("*.csv"):
        with path.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.reader(lines))
        assert rows[0] == ["file", "column", "labels", "reason"]
        assert {len(row) for row in rows} == {4}
