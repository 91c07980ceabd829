"""The sample is the same everywhere, keeps its contracts, and holds the cases that protection must handle."""

import csv
import hashlib
import stat
import time
from collections import Counter
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from secure_platform.contract.load import load_contract
from secure_platform.sample.generate import LAST_DAY, LAYOUT, generate
from secure_platform.source.csv import CsvSource, check_header, find_source
from secure_platform.validate.rules import validate

Table = list[dict[str, str]]
Tables = Mapping[str, Table]
CONTRACTS = Path(__file__).parents[2] / "secure_platform" / "defs" / "healthcare" / "contracts"

RESTRICTED = "036 059 063 102 203 556 692 790 821 823 830 831 878 879 884 890 893".split()  # noqa: SIM905 — as published.
"""ZIP3 areas of at most 20,000 people: HHS guidance on 45 CFR 164.514(b)(2)(i)(B), 2000 census."""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("generated") / "sample"
    generate(directory)
    return directory


@pytest.fixture(scope="module")
def tables(directory: Path) -> Tables:
    return {name: read(directory, name) for name in LAYOUT}


def read(directory: Path, name: str) -> Table:
    with (directory / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def digest(directory: Path) -> str:
    whole = hashlib.sha256()
    for file in sorted(directory.iterdir()):
        whole.update(file.name.encode() + b"\0" + file.read_bytes())
    return whole.hexdigest()


def test_one_seed_gives_the_same_bytes_on_every_python(tmp_path: Path) -> None:
    generate(tmp_path / "a", patients=40, seed=11)
    assert digest(tmp_path / "a") == "5722dee23ade51e35b1b8baa2e66402c2684577c0de94b8f729e9acfda7b2dbd"
    generate(tmp_path / "a", patients=40, seed=11)
    assert digest(tmp_path / "a") == "5722dee23ade51e35b1b8baa2e66402c2684577c0de94b8f729e9acfda7b2dbd"
    generate(tmp_path / "b", patients=40, seed=12)
    assert digest(tmp_path / "b") != digest(tmp_path / "a")


def test_takes_little_time(tmp_path: Path) -> None:
    start = time.process_time()
    generate(tmp_path / "x")
    assert time.process_time() - start < 2


def test_files_are_private_and_nothing_else_is_left(directory: Path) -> None:
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {file.name: stat.S_IMODE(file.stat().st_mode) for file in directory.iterdir()} == {
        f"{name}.csv": 0o600 for name in LAYOUT
    }


def test_the_layout_is_that_of_the_synthea_export(directory: Path, shared_data: Path) -> None:
    for name in LAYOUT:
        real = CsvSource(shared_data / "healthcare" / "synthea_csv" / f"{name}.csv")
        assert CsvSource(directory / f"{name}.csv").header == real.header


@pytest.mark.parametrize("name", list(LAYOUT))
def test_every_row_keeps_its_contract(directory: Path, name: str) -> None:
    contract = load_contract(CONTRACTS / f"{name}.odcs.yaml")
    source = CsvSource(find_source(directory, contract))
    assert check_header(contract, source.header) == []
    batches = list(source.batches())
    assert not any(batch.malformed for batch in batches)
    result = validate(contract, pl.concat(batch.frame for batch in batches).lazy())
    assert (result.failures, result.passed) == ((), True)


def test_every_reference_holds(tables: Tables) -> None:
    patients = {row["Id"] for row in tables["patients"]}
    encounters = {row["Id"]: row["PATIENT"] for row in tables["encounters"]}
    assert len(patients) == len(tables["patients"])
    assert len(encounters) == len(tables["encounters"])
    assert set(encounters.values()) <= patients
    for name in ("conditions", "medications", "observations"):
        for row in tables[name]:
            assert row["PATIENT"] in patients
            assert row["ENCOUNTER"] == "" or encounters[row["ENCOUNTER"]] == row["PATIENT"]
    assert all(row["ENCOUNTER"] for name in ("conditions", "medications") for row in tables[name])


def test_the_size_suits_a_first_run(tables: Tables) -> None:
    sizes = {name: len(rows) for name, rows in tables.items()}
    assert sizes["patients"] == 600
    assert 3_000 < sizes["encounters"] < 10_000
    assert 10_000 < sizes["observations"] < 50_000
    assert sizes["conditions"] > 1_000
    assert sizes["medications"] > 300


def test_some_conditions_are_common_and_some_too_rare(tables: Tables) -> None:
    people = Counter(
        description for description, _ in {(r["DESCRIPTION"], r["PATIENT"]) for r in tables["conditions"]}
    )
    assert sum(count >= 11 for count in people.values()) >= 8
    assert sorted(count for count in people.values() if count < 11) == [1, 3, 4, 9, 10]


def test_the_people_protection_must_care_for(tables: Tables) -> None:
    patients = tables["patients"]
    over_89 = [
        row for row in patients if date.fromisoformat(row["BIRTHDATE"]) < LAST_DAY - timedelta(days=90 * 366)
    ]
    dead = [row for row in patients if row["DEATHDATE"]]
    assert len(over_89) >= 20
    assert len(dead) >= 20
    assert any(row["DEATHDATE"] for row in over_89)
    prefixes = Counter(row["ZIP"][:3] for row in patients)
    assert sum(prefixes[prefix] for prefix in RESTRICTED) >= 30
    assert len([prefix for prefix in RESTRICTED if prefixes[prefix]]) >= 8
    assert prefixes[""] >= 30
    assert len({row["STATE"] for row in patients}) >= 8


def test_identifiers_look_like_the_real_export(tables: Tables) -> None:
    frame = pl.DataFrame(tables["patients"])
    shapes = {
        "Id": r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
        "SSN": r"^999-[0-9]{2}-[0-9]{4}$",
        "DRIVERS": r"^(S999[0-9]{5})?$",
        "PASSPORT": r"^(X[0-9]{8}X)?$",
        "FIRST": r"^\p{L}[\p{L}' -]*[0-9]{1,3}$",
        "LAST": r"^\p{L}[\p{L}' -]*[0-9]{1,3}$",
        "ADDRESS": r"^[0-9]+ ",
    }
    for column, shape in shapes.items():
        assert frame[column].str.contains(shape).all(), column
    for column in ("DRIVERS", "PASSPORT", "MAIDEN", "SUFFIX", "PREFIX"):
        assert 0 < (frame[column] != "").sum() < frame.height, column


def test_some_fields_need_their_quotes(directory: Path) -> None:
    for name, sign in [
        ("patients", ", Apt "),
        ("conditions", "Fracture, closed"),
        ("observations", '""quite a bit""'),
    ]:
        assert sign in (directory / f"{name}.csv").read_text("utf-8")


def test_yearly_scores_belong_to_no_encounter(tables: Tables) -> None:
    without = [row for row in tables["observations"] if not row["ENCOUNTER"]]
    assert 0.01 < len(without) / len(tables["observations"]) < 0.2
    assert {row["CODE"] for row in without} == {"QOLS"}


def test_nothing_happens_outside_a_life(tables: Tables) -> None:
    lives = {row["Id"]: (row["BIRTHDATE"], row["DEATHDATE"] or str(LAST_DAY)) for row in tables["patients"]}
    moments = {
        "encounters": ("START", "STOP"),
        "conditions": ("START", "STOP"),
        "medications": ("START", "STOP"),
    }
    for name, columns in {**moments, "observations": ("DATE",)}.items():
        for row in tables[name]:
            born, until = lives[row["PATIENT"]]
            days = [row[column][:10] for column in columns if row[column]]
            assert born <= days[0] <= days[-1] <= until, name
    women = {row["Id"] for row in tables["patients"] if row["GENDER"] == "F"}
    assert {row["PATIENT"] for row in tables["conditions"] if row["CODE"] == "72892002"} <= women


@pytest.mark.parametrize("patients", [0, 1, 3])
def test_small_samples_are_whole(tmp_path: Path, patients: int) -> None:
    generate(tmp_path / "x", patients=patients, seed=1)
    assert len(read(tmp_path / "x", "patients")) == patients
