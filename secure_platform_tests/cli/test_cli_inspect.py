"""`check`, `plan` and `sql` before anything was built."""

import os
import shutil
from pathlib import Path

import pytest
from cli_support import Cli
from refused_product import REFUSED, with_refused_product

from secure_platform.settings import PACKAGE


@pytest.fixture
def defs(tmp_path: Path) -> Path:
    """The project's products, to be changed."""
    copy = Path(shutil.copytree(PACKAGE / "defs", tmp_path / "defs"))
    os.environ["SECURE_PLATFORM_DEFS"] = str(copy)
    return copy


def test_valid_documents_are_listed(cli: Cli) -> None:
    (product,) = cli("check", "--json").json
    assert product["product"] == "healthcare"
    assert set(product["datasets"]) == {"patients", "encounters", "conditions", "medications", "observations"}
    text = cli("check").out
    assert text.startswith("Every document is valid.\n")
    assert "profile hipaa_safe_harbor" in text


def test_a_broken_contract_exits_3_and_is_named(cli: Cli, defs: Path) -> None:
    contract = defs / "healthcare" / "contracts" / "patients.odcs.yaml"
    contract.write_text(
        contract.read_text().replace("classification: restricted", "clasification: restricted", 1)
    )
    result = cli("check", "--json")
    assert (result.code, result.json["error"]) == (3, "ContractError")
    assert "patients.odcs.yaml" in result.json["culprit"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("info_types.yaml", "types: {STAFF: {title: Badge, family: records}}"),
        ("scan_feedback.yaml", "feedback: [{dataset: patients}]"),
    ],
)
def test_a_broken_document_of_the_scanner_is_found_before_a_run(
    cli: Cli, defs: Path, name: str, text: str
) -> None:
    (defs / "healthcare" / name).write_text(text)
    assert cli("check", "--json").json["error"] == "ContractError"


def test_a_folder_without_products_is_not_valid(cli: Cli, tmp_path: Path) -> None:
    os.environ["SECURE_PLATFORM_DEFS"] = str(tmp_path / "nothing")
    assert cli("check").code == 3
    (tmp_path / "nothing").mkdir()
    result = cli("check", "--json")
    assert (result.code, result.json["error"]) == (3, "ContractError")
    assert str(tmp_path / "nothing") in result.json["culprit"]


def test_a_plan_says_what_becomes_of_every_column_and_why(cli: Cli) -> None:
    plan = cli("plan", "healthcare", "--json").json
    patients = {column["column"]: column for column in plan["datasets"]["patients"]}
    assert patients["SSN"]["transform"] == "drop"
    lines = cli("plan", "healthcare").out.splitlines()
    (ssn,) = [line.strip().split(maxsplit=4) for line in lines if line.startswith("SSN ")]
    assert ssn == ["SSN", "US_SSN", "restricted", "drop", "45 CFR 164.514(b)(2)(i)(G)"]
    columns = sum(len(dataset) for dataset in plan["datasets"].values())
    assert len([line for line in lines if " CFR " in line or "No rule " in line]) == columns


@pytest.mark.parametrize(
    "command", [["plan"], ["run"], ["deploy"], ["release", "show"], ["release", "verify"]], ids=" ".join
)
def test_an_unknown_product_is_2_and_the_known_ones_are_named(command: list[str], cli: Cli) -> None:
    result = cli(*command, "\x1b[2Jhealthcare", "--json")
    assert result.code == 2
    assert "healthcare" in result.json["fix"]
    assert result.out.replace("\n", "").isprintable()


def test_before_the_first_release_there_is_a_next_step(cli: Cli) -> None:
    assert cli("release", "list", "--json").json == []
    listed = cli("release", "list").out
    assert f"--home {cli.home} run PRODUCT" in listed
    assert cli("release", "show", "healthcare", "--json").json["exit_code"] == 2
    assert cli("release", "show", "healthcare", "3", "--json").json["exit_code"] == 2


def test_before_the_first_deployment_there_is_nothing_to_read(cli: Cli) -> None:
    cli.add("ana", "analyst")
    result = cli("sql", "healthcare", "select 1", "--purpose", "research", "--json", token="ana")
    assert result.code == 2
    assert cli("rollback", "healthcare", "--reason", "x", "--json", token="ana").code in {2, 4}


def test_every_product_whose_plan_is_refused_is_named(cli: Cli, tmp_path: Path) -> None:
    os.environ["SECURE_PLATFORM_DEFS"] = str(with_refused_product(tmp_path / "two"))
    said = f"The plan of {REFUSED} is refused: patients.BIRTHDATE"
    build = ("run", REFUSED, "--source", str(tmp_path))
    for words in (("check",), ("plan", REFUSED), build, ("deploy", REFUSED), ("map", REFUSED)):
        refused = cli(*words, "--json")
        assert (refused.code, refused.json["error"]) == (3, "PlanRefusedError"), words
        assert said in refused.json["culprit"]
    assert cli("plan", "healthcare", "--json").code == 0
