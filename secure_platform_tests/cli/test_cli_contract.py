"""`contract diff`: the verdict, its exit code, and what is refused."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_support import Result

from secure_platform.cli.main import run
from secure_platform.settings import PACKAGE

OLD = PACKAGE / "defs" / "healthcare"
PATIENTS = "contracts/patients.odcs.yaml"


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return Path(shutil.copytree(OLD, tmp_path / "healthcare"))


@pytest.fixture
def diff(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    def call(*arguments: str | Path) -> Result:
        code = run(["contract", "diff", *map(str, arguments)])
        printed = capsys.readouterr()
        return Result(code, printed.out, printed.err)

    return call


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def test_nothing_changed(diff: Callable[..., Result], new: Path) -> None:
    for pair in ((OLD, new), (OLD / PATIENTS, new / PATIENTS)):
        assert diff(*pair) == Result(0, "Contracts: none (unchanged)\n", "")
        assert diff(*pair, "--json").json == {"verdict": "none", "changes": [], "notes": []}


def test_a_breaking_change_exits_3_and_says_what_breaks(diff: Callable[..., Result], new: Path) -> None:
    edit(new / PATIENTS, "name: SUFFIX\n", "name: SUFFIXES\n")
    found = diff(OLD, new)
    assert (found.code, found.err) == (3, "")
    first, *rows = found.out.splitlines()
    assert first == "Contracts: breaking (1 breaking, 1 additive)"
    assert re.split(r" {2,}", rows[2].strip()) == ["breaking", "patients", "SUFFIX", "column removed"]
    notes = " ".join(rows).partition("Note: ")[2]
    assert notes.startswith(
        "patients: the version is 1.0.0 after 1.0.0; these changes need 2.0.0 or higher. "
        "Note: Protection: patients.SUFFIXES: new column, dropped. "
    )
    assert notes.endswith("patients.SUFFIX: the column is no longer in the contract; it was dropped.")
    told = diff(OLD / PATIENTS, new / PATIENTS, "--json")
    assert told.code == 3
    assert told.json["verdict"] == "breaking"
    assert told.json["changes"] == [
        {"kind": "breaking", "dataset": "patients", "column": "SUFFIX", "what": "column removed"},
        {"kind": "additive", "dataset": "patients", "column": "SUFFIXES", "what": "optional column added"},
    ]


@pytest.mark.parametrize(
    ("fail_on", "codes"), [("breaking", (0, 3)), ("additive", (3, 3)), ("never", (0, 0))]
)
def test_ci_chooses_what_fails(
    diff: Callable[..., Result], new: Path, fail_on: str, codes: tuple[int, int]
) -> None:
    (new / "contracts" / "observations.odcs.yaml").unlink()
    assert (diff(new, OLD, "--fail-on", fail_on).code, diff(OLD, new, "--fail-on", fail_on).code) == codes
    assert diff(OLD, OLD, "--fail-on", fail_on).code == 0


def test_a_product_is_more_than_its_contracts(diff: Callable[..., Result], new: Path) -> None:
    edit(new / "defs.yaml", "freshness_hours: 26", "freshness_hours: 24")
    (change,) = diff(OLD, new, "--json").json["changes"]
    assert change == {
        "kind": "additive",
        "dataset": None,
        "column": None,
        "what": "freshness hours: 26.0 → 24.0",
    }


def test_weaker_protection_is_breaking_whatever_it_came_from(diff: Callable[..., Result], new: Path) -> None:
    edit(new / PATIENTS, "infoType, value: US_SSN}", "infoType, value: PROVIDER_ID}")
    found = diff(OLD, new, "--json")
    weaker, field = found.json["changes"]
    assert (found.code, field["what"]) == (3, "info type: US_SSN → PROVIDER_ID")
    assert (weaker["kind"], weaker["dataset"], weaker["column"]) == ("breaking", "patients", "SSN")
    assert weaker["what"].startswith("WEAKER than before: tokenized instead of dropped. ")
    (version, said) = diff(new, OLD, "--json").json["notes"]
    assert version.startswith("patients: the version is ")
    assert said.startswith("Protection: patients.SSN: dropped instead of tokenized. ")


def test_a_plan_that_does_not_compile_is_told_with_its_refusal(
    diff: Callable[..., Result], new: Path
) -> None:
    edit(new / "defs.yaml", "hipaa_safe_harbor", "gdpr_pseudonymous")
    for side, pair in (("new", (OLD, new)), ("old", (new, OLD))):
        found = diff(*pair, "--json")
        refusal, field = found.json["changes"]
        assert (found.code, field["what"][:9]) == (3, "profile: ")
        assert refusal["what"].startswith(f"the {side} protection plan is refused: ")
        assert "patients.CITY is restricted and would be kept as it is" in refusal["what"]


def test_a_refused_document_is_named_and_exits_3(diff: Callable[..., Result], new: Path) -> None:
    (new / PATIENTS).write_text("version: [1\n")
    for pair in ((OLD, new), (OLD / PATIENTS, new / PATIENTS)):
        refused = diff(*pair, "--json")
        assert (refused.code, refused.json["error"]) == (3, "ContractError")
        assert "healthcare/contracts/patients.odcs.yaml" in refused.json["culprit"]
        assert "verdict" not in refused.json


def test_what_cannot_be_compared_is_a_usage_error(diff: Callable[..., Result], new: Path) -> None:
    assert diff(OLD, new / PATIENTS).code == 2
    missing = diff(OLD, new / "nowhere")
    assert missing.code == 2
    assert "nowhere" in missing.err


def test_it_needs_no_home_and_no_dagster(new: Path) -> None:
    code = (
        "import sys; from secure_platform.cli.main import run;"
        f"code = run(['contract', 'diff', {str(OLD)!r}, {str(new)!r}]);"
        "sys.exit(code or 'dagster' in sys.modules)"
    )
    before = sorted(new.parent.iterdir())
    environment = {"SECURE_PLATFORM_HOME": str(new.parent / "home"), "PATH": ""}
    finished = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False)
    assert finished.returncode == 0
    assert sorted(new.parent.iterdir()) == before
