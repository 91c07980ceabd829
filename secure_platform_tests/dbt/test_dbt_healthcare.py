"""The dbt project, run by the real dbt on an encrypted build database with small protected tables."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from secure_platform.orchestration.dbt import PARTIAL_PARSE, dbt_command
from secure_platform.store.warehouse import BuildWarehouse

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).resolve().parents[2] / "dbt"
MARTS = ("condition_prevalence", "encounter_facts", "patient_summary")
PATIENTS = 40
# Random, so that it survives compression as it is.
CANARY = "7f3ac91e55d04b7288e6f0a1c2d39b46"
# Condition → number of patients who have it; of 40 patients.
CONDITIONS = {"ten": 10, "eleven": 11, "twenty-nine": 29, "thirty": 30, "everybody": 40, "one": 1}
SHOWN = {"eleven": 11, "twenty-nine": 29}
# One condition alone is too small; of 100 patients.
LONE = {"forty": 40, "twenty-five": 25, "four": 4}


@dataclass(frozen=True)
class Build:
    folder: Path
    returncode: int
    output: str
    marts: Mapping[str, pl.DataFrame]
    results: Mapping[str, str]
    manifest: Mapping[str, Any]
    key: str

    @property
    def written(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.is_file()]


def token(kind: str, number: int) -> str:
    return f"t1_{kind}{number:031x}"


def patients(number: int = PATIENTS) -> pl.DataFrame:
    rows = range(number)
    return pl.DataFrame(
        {
            "Id": [token("a", row) for row in rows],
            "BIRTHDATE": pl.Series([1936 + row % PATIENTS for row in rows], dtype=pl.Int32),
            "DEATHDATE": pl.Series([2020 if row == 3 else None for row in rows], dtype=pl.Int32),
            "MARITAL": ["M" if row % 2 else None for row in rows],
            "RACE": [CANARY] * number,
            "ETHNICITY": ["nonhispanic"] * number,
            "GENDER": ["F", "M"] * (number // 2),
            "STATE": ["Massachusetts"] * number,
            "ZIP": ["021"] * number,
            "HEALTHCARE_EXPENSES": [0.1] * number,
            "HEALTHCARE_COVERAGE": [0.2] * number,
        }
    )


def encounters(patients: int = PATIENTS) -> pl.DataFrame:
    # Three encounters for each patient but the last, who has none.
    rows = [(patient, visit) for patient in range(patients - 1) for visit in range(3)]
    return pl.DataFrame(
        {
            "Id": [token("b", 3 * patient + visit) for patient, visit in rows],
            "START": pl.Series([2000 + visit for _, visit in rows], dtype=pl.Int32),
            "PATIENT": [token("a", patient) for patient, _ in rows],
            "ENCOUNTERCLASS": ["ambulatory"] * len(rows),
            "CODE": ["185345009"] * len(rows),
            "DESCRIPTION": ["Encounter for symptom"] * len(rows),
            "BASE_ENCOUNTER_COST": [77.49] * len(rows),
            # In binary floating point 0.1 + 0.2 + … depends on the order.
            "TOTAL_CLAIM_COST": [(0.1, 0.2, 0.7)[visit] for _, visit in rows],
            "PAYER_COVERAGE": pl.Series([None if visit else 0.05 for _, visit in rows], dtype=pl.Float64),
        }
    )


def conditions() -> pl.DataFrame:
    # Everybody has each condition twice: a cell counts patients, not rows. The last patient has no encounter,
    # so that the rows name the first one.
    rows = [
        (code, patient) for code, count in CONDITIONS.items() for patient in range(count) for _ in range(2)
    ]
    return pl.DataFrame(
        {
            "START": pl.Series([2001] * len(rows), dtype=pl.Int32),
            "PATIENT": [token("a", patient) for _, patient in rows],
            "ENCOUNTER": [token("b", 0)] * len(rows),
            "CODE": [code for code, _ in rows],
            "DESCRIPTION": [f"{code} (finding)" for code, _ in rows],
        }
    )


def medications() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "PATIENT": [token("a", 0)] * 2,
            "ENCOUNTER": [token("b", 1)] * 2,
            "CODE": ["1", "2"],
            "TOTALCOST": [1.0, 2.0],
        }
    )


def observations() -> pl.DataFrame:
    return pl.DataFrame(
        {"PATIENT": [token("a", 1)] * 3, "ENCOUNTER": [token("b", 3), None, None], "CODE": ["x"] * 3}
    )


def tables() -> dict[str, pl.DataFrame]:
    return {
        "patients": patients(),
        "encounters": encounters(),
        "conditions": conditions(),
        "medications": medications(),
        "observations": observations(),
    }


def run_dbt(
    folder: Path, environment: Mapping[str, str], *arguments: str, project: Path = PROJECT
) -> subprocess.CompletedProcess[str]:
    for name in ("home", "work"):
        (folder / name).mkdir(exist_ok=True)
    given = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder / "home"),
        "DBT_TARGET_PATH": str(folder / "target"),
        "DBT_LOG_PATH": str(folder / "log"),
        **environment,
    }
    return subprocess.run(
        dbt_command(project, arguments),
        env=given,
        cwd=folder / "work",
        capture_output=True,
        text=True,
        check=False,
    )


def build(folder: Path, frames: Mapping[str, pl.DataFrame], *, project: Path = PROJECT) -> Build:
    with BuildWarehouse(folder / "tmp") as warehouse:
        for name, frame in frames.items():
            warehouse.load(name, frame.lazy())
        environment = warehouse.environment()
        done = run_dbt(folder, environment, "build", project=project)
        (folder / "kept").mkdir()
        for path in (folder / "tmp").rglob("*.duckdb*"):
            shutil.copy(path, folder / "kept" / path.name)
        results = json.loads((folder / "target" / "run_results.json").read_text())["results"]
        marts = (
            {name: warehouse.table("healthcare", name).collect() for name in MARTS}
            if done.returncode == 0
            else {}
        )
    return Build(
        folder,
        done.returncode,
        done.stdout + done.stderr,
        marts,
        {result["unique_id"].split(".")[2]: result["status"] for result in results},
        json.loads((folder / "target" / "manifest.json").read_text()),
        environment["DBT_ENV_SECRET_BUILD_KEY"],
    )


@pytest.fixture(scope="module")
def project_files() -> Iterator[None]:
    """The project is as it was, whatever dbt did."""
    before = {path: path.read_bytes() for path in PROJECT.rglob("*") if path.is_file()}
    yield
    assert {path: path.read_bytes() for path in PROJECT.rglob("*") if path.is_file()} == before


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, project_files: None) -> Build:  # noqa: ARG001 - it checks afterwards
    return build(tmp_path_factory.mktemp("built"), tables())


def test_the_project_builds_and_every_test_passes(built: Build) -> None:
    assert built.returncode == 0, built.output
    assert set(built.results.values()) == {"success", "pass"}
    assert len([status for status in built.results.values() if status == "pass"]) >= 36


def test_small_cells_are_not_shown_and_cannot_be_derived(built: Build) -> None:
    shown = built.marts["condition_prevalence"]
    assert dict(zip(shown["condition_code"], shown["patient_count"], strict=True)) == SHOWN
    assert shown["prevalence"].to_list() == [count / PATIENTS for count in shown["patient_count"]]
    for count in shown["patient_count"]:
        assert count >= 11
        assert PATIENTS - count >= 11


def lone_small_cell() -> dict[str, pl.DataFrame]:
    """Three conditions, each once per patient; the one that is too small is an encounter's code too."""
    number = 100
    visits = encounters(number).with_columns(
        pl.when(pl.int_range(pl.len()) % 3 == 0, pl.int_range(pl.len()) < 3 * LONE["four"])
        .then(pl.lit("four"))
        .otherwise("CODE")
        .alias("CODE")
    )
    rows = [(code, patient) for code, count in LONE.items() for patient in range(count)]
    diagnoses = pl.DataFrame(
        {
            "START": pl.Series([2001] * len(rows), dtype=pl.Int32),
            "PATIENT": [token("a", patient) for _, patient in rows],
            "ENCOUNTER": [token("b", 3 * patient) for _, patient in rows],
            "CODE": [code for code, _ in rows],
            "DESCRIPTION": [f"{code} (finding)" for code, _ in rows],
        }
    )
    return {**tables(), "patients": patients(number), "encounters": visits, "conditions": diagnoses}


def test_a_lone_small_cell_is_in_no_total(tmp_path: Path) -> None:
    frames = lone_small_cell()
    result = build(tmp_path, frames)
    assert result.returncode == 0, result.output
    shown = result.marts["condition_prevalence"]
    # Row counts of the snapshots are no secret: 69 - 40 - 25 would be the four.
    assert shown["condition_code"].to_list() == ["forty"]
    assert frames["conditions"].height - shown["patient_count"].sum() == LONE["twenty-five"] + LONE["four"]
    small = {token("a", patient) for patient in range(LONE["four"])}
    told = {0, LONE["forty"], LONE["forty"] + LONE["twenty-five"]}
    for name in ("encounter_facts", "patient_summary"):
        mart = result.marts[name]
        for column in mart.select(pl.exclude("patient_id")).columns:
            if mart[column].dtype.is_numeric():
                assert mart[column].sum() - LONE["four"] not in told, (name, column)
            for _, same in mart.group_by(column):
                assert set(same["patient_id"]) != small, (name, column)


def test_a_patient_is_summed_up(built: Build) -> None:
    summary = built.marts["patient_summary"]
    assert summary.height == PATIENTS
    first = summary.row(by_predicate=pl.col("patient_id") == token("a", 0), named=True)
    assert first == {
        "patient_id": token("a", 0),
        "birth_year": 1936,
        "is_deceased": False,
        "gender": "F",
        "race": CANARY,
        "ethnicity": "nonhispanic",
        "marital_status": None,
        "state": "Massachusetts",
        "zip3": "021",
        "first_encounter_year": 2000,
        "last_encounter_year": 2002,
        "encounter_count": 3,
        "medication_count": 2,
        "observation_count": 0,
        "total_claim_cost": Decimal("1.00"),
        "payer_coverage": Decimal("0.05"),
    }
    assert summary.filter("is_deceased")["patient_id"].to_list() == [token("a", 3)]


def test_a_patient_without_encounters_is_there(built: Build) -> None:
    last = built.marts["patient_summary"].row(
        by_predicate=pl.col("patient_id") == token("a", PATIENTS - 1), named=True
    )
    assert last["encounter_count"] == 0
    assert last["first_encounter_year"] is None
    assert last["total_claim_cost"] == Decimal(0)


def test_an_encounter_has_its_facts(built: Build) -> None:
    facts = built.marts["encounter_facts"]
    assert facts.height == encounters().height
    first = facts.row(by_predicate=pl.col("encounter_id") == token("b", 0), named=True)
    assert first == {
        "encounter_id": token("b", 0),
        "patient_id": token("a", 0),
        "encounter_year": 2000,
        "encounter_class": "ambulatory",
        "base_encounter_cost": Decimal("77.49"),
        "total_claim_cost": Decimal("0.10"),
        "payer_coverage": Decimal("0.05"),
        "medication_count": 0,
    }
    second = facts.row(by_predicate=pl.col("encounter_id") == token("b", 1), named=True)
    assert (second["medication_count"], second["payer_coverage"]) == (2, None)


def test_every_mart_and_column_is_described_and_classified(built: Build) -> None:
    for name in MARTS:
        node = built.manifest["nodes"][f"model.secure_platform.{name}"]
        assert node["description"]
        assert node["meta"]["classification"] in {"public", "internal", "confidential"}
        assert node["meta"]["dagster"]["owners"] == ["team:clinical-data"]
        assert node["schema"] == "healthcare"
        assert list(node["columns"]) == built.marts[name].columns
        for column in node["columns"].values():
            assert column["description"]
            assert column["data_type"]
            assert column["config"]["meta"]["classification"] in {"public", "internal", "confidential"}


def test_every_test_judges_one_mart(built: Build) -> None:
    for name, node in built.manifest["nodes"].items():
        if name.startswith("test."):
            named = node["config"]["meta"].get("dagster", {}).get("ref", {}).get("name")
            attached = [mart.rpartition(".")[2] for mart in (node.get("attached_node"), named) if mart]
            assert len(attached) == 1, name
            assert attached[0] in MARTS, name
            assert f"model.secure_platform.{attached[0]}" in node["depends_on"]["nodes"], name


def test_no_key_and_no_value_is_left_in_clear(built: Build) -> None:
    assert CANARY in str(built.marts["patient_summary"]["race"][0])
    assert {path.suffix for path in built.written} >= {".duckdb", ".log", ".json", ".sql"}
    for path in built.written:
        content = path.read_bytes()
        assert CANARY.encode() not in content, path
        assert built.key.encode() not in content, path
        assert bytes.fromhex(built.key) not in content, path
    assert built.key not in built.output
    assert CANARY not in built.output


def test_dbt_writes_only_where_it_was_told(built: Build) -> None:
    assert list((built.folder / "home").rglob("*")) == []
    assert list((built.folder / "work").rglob("*")) == []
    assert [path.name for path in (built.folder / "tmp").iterdir()] == ["claims.lock"]


def test_dbt_parses_without_any_key(tmp_path: Path) -> None:
    done = run_dbt(tmp_path, {}, "parse")
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "target" / "manifest.json").is_file()
    assert list((tmp_path / "work").rglob("*")) == []


def test_a_run_goes_on_from_what_another_one_parsed(built: Build, tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    shutil.copy(built.folder / "target" / PARTIAL_PARSE, tmp_path / "target")
    with BuildWarehouse(tmp_path / "tmp") as warehouse:
        assert run_dbt(tmp_path, warehouse.environment(), "parse").returncode == 0
    performed = json.loads((tmp_path / "target" / "perf_info.json").read_text())
    assert performed["path_count"] > 100
    assert performed["parsed_path_count"] == 0


def test_data_that_breaks_a_rule_fails_the_test_that_names_it(tmp_path: Path) -> None:
    frames = tables()
    frames["patients"] = pl.concat([patients(), patients().head(1)])
    visits = encounters()
    # More than DECIMAL(18, 2) can hold: neither an error that quotes it nor a silent null.
    frames["encounters"] = visits.with_columns(
        TOTAL_CLAIM_COST=pl.Series([1.25e300] + [1.0] * (visits.height - 1))
    )
    failed = build(tmp_path, frames)
    assert failed.returncode != 0
    assert failed.results["unique_patient_summary_patient_id"] == "fail"
    assert failed.results["encounter_facts_has_every_encounter"] == "fail"
    assert "1.25" not in failed.output
    assert "25e300" not in (tmp_path / "log" / "dbt.log").read_text()
