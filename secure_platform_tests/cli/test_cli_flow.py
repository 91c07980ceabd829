"""From source to production on the command line: what each command says, its JSON, and its exit code."""

import os
import re
import shutil
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_support import Cli, Result, clean_environment

from secure_platform.sample.generate import generate
from secure_platform.settings import PACKAGE

pytestmark = pytest.mark.slow

PATIENTS = 80
ATTENTION = "Attention: weaker protection, shared tokens, changed tests, breaking contract changes"
Story = dict[str, Result]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("source")
    generate(directory, patients=PATIENTS)
    return directory


@pytest.fixture(scope="module")
def packed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same source as a zip file."""
    path = tmp_path_factory.mktemp("packed") / "source.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in source.iterdir():
            archive.write(file, f"csv/{file.name}")
    return path


@pytest.fixture(scope="module")
def told(parsed_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    with clean_environment():
        cli = Cli(Path(shutil.copytree(parsed_home, tmp_path_factory.mktemp("flow") / "home")))
        cli.add("dana", "data_engineer", "data_steward")
        cli.add("sam", "data_steward")
        yield cli


@pytest.fixture(scope="module")
def story(told: Cli, source: Path, packed: Path) -> Story:
    """The whole way once; the tests read what was said on it."""
    cli, approve = told, ("release", "approve", "healthcare")
    story: Story = {}
    story["built"] = cli("run", "healthcare", "--source", str(source), token="dana")
    story["built again"] = cli("run", "healthcare", "--source", str(source), "--json", token="dana")
    story["shown"] = cli("release", "show", "healthcare")
    story["too early"] = cli("deploy", "healthcare", "--json")
    story["by nobody"] = cli(*approve, "--reason", "x", "--json")
    story["by its requester"] = cli(*approve, "--reason", "x", "--json", token="dana")
    other = "sha256:" + "0" * 64
    story["another digest"] = cli(*approve, "--reason", "x", "--digest", other, "--json", token="sam")
    story["approved"] = cli(*approve, "--reason", "reviewed", token="sam")
    story["deployed"] = cli("deploy", "healthcare", "--json")
    story["deployed again"] = cli("deploy", "healthcare")
    story["listed"] = cli("release", "list", "--json")
    story["unchanged"] = cli("run", "healthcare", "--source", str(packed), token="dana")
    return story


def test_a_build_shows_its_progress_and_ends_at_the_gate(story: Story, told: Cli) -> None:
    built = story["built"]
    assert (built.code, built.err) == (0, "")
    assert re.search(rf" s  healthcare/raw/patients +{PATIENTS} rows  new$", built.out, re.MULTILINE)
    assert ", requested by dana …" in built.out.splitlines()[0]
    assert "Release 1 of healthcare waits at the gate" in built.out
    assert f"--home {told.home} release show healthcare 1" in built.out
    assert "In no backup, and lost with this home: the keys " in built.out


def test_a_second_build_reuses_everything(story: Story) -> None:
    again = story["built again"]
    assert (again.code, again.err) == (0, "")
    assert again.json["state"] == "pending"
    assert again.json["release"]["number"] == 1
    assert len(again.json["reused"]) == 14
    assert all(again.json["reused"].values())


def test_a_steward_sees_what_is_decided_on(story: Story) -> None:
    text = story["shown"].out
    for words in (
        "Release 1 of healthcare: pending",
        "requested by dana, for production, confidential, profile hipaa_safe_harbor",
        "Findings in the source, and what became of them",
        "Difference to production (nothing is in production yet)",
        "Protection plan:",
        "Contracts:",
    ):
        assert words in text
    lines = [line.split() for line in text.splitlines()]
    assert ["raw/patients.SSN", "US_SSN", str(PATIENTS), "drop"] in lines
    assert ["patient_summary", "added", str(PATIENTS)] in lines
    assert ["raw/patients", "0", "scan,", "validate"] in lines


def test_before_the_approval_nothing_is_deployed(story: Story) -> None:
    assert story["too early"].code == 4
    assert story["too early"].json["state"] == "refused"


def test_only_another_steward_approves_and_only_what_was_reviewed(story: Story) -> None:
    assert [story[name].code for name in ("by nobody", "by its requester", "another digest")] == [4, 4, 2]
    assert "anonymous" in story["by nobody"].json["culprit"]
    assert "forbid-self-approval" in story["by its requester"].json["culprit"]


def test_an_approval_says_what_was_approved(story: Story) -> None:
    digest = story["built again"].json["release"]["digest"]
    first = story["approved"].out.splitlines()[0]
    assert first == f"Release 1 of healthcare is approved: {digest[:19]}…, on an empty production."


def test_a_deployment_says_what_is_in_production(story: Story) -> None:
    deployed = story["deployed"].json
    assert (deployed["succeeded"], deployed["state"], deployed["exit_code"]) == (True, "deployed", 0)
    assert "Release 1 of healthcare is in production" in story["deployed again"].out
    assert "reused" in story["deployed again"].out
    (listed,) = story["listed"].json
    assert (listed["number"], listed["in_production"], listed["state"]) == (1, True, "deployed")


def test_an_unchanged_source_makes_no_release(story: Story) -> None:
    assert "Nothing changed: release 1 of healthcare is deployed." in story["unchanged"].out
    assert " new" not in story["unchanged"].out


@pytest.mark.usefixtures("story")
def test_production_is_read_by_principals(told: Cli) -> None:
    query = "select gender, count(*) as n, 'nan'::double as x from patient_summary group by gender"
    rows = told("sql", "healthcare", query, "--purpose", "research", "--json", token="sam").json
    assert sum(row["n"] for row in rows) == PATIENTS
    assert list(rows[0]) == ["gender", "n", "x"]
    assert rows[0]["x"] == "nan"
    assert told("sql", "healthcare", query, "--purpose", "research", token="sam").out.endswith(
        f"({len(rows)} rows)\n"
    )
    first = told("sql", "healthcare", query, "--purpose", "research", "--limit", "1", token="sam").out
    assert first.endswith("(1 row) There may be more; --limit gives up to 1,000.\n")
    assert told("sql", "healthcare", query, "--purpose", "research").code == 4


@pytest.mark.usefixtures("story")
def test_a_result_cannot_steer_the_terminal(told: Cli) -> None:
    steering = "select chr(27) || ']0;x' || chr(7) as \"a\x1b[2Jb\""
    shown = told("sql", "healthcare", steering, "--purpose", "research", token="sam")
    assert shown.code == 0
    assert "\\x1b]0;x\\x07" in shown.out
    assert shown.out.replace("\n", "").isprintable()


@pytest.mark.usefixtures("story")
def test_a_query_that_fails_shows_no_value(told: Cli) -> None:
    failed = told(
        *("sql", "healthcare", "select cast(patient_id as int) from patient_summary"),
        *("--purpose", "research", "--json"),
        token="sam",
    )
    assert failed.code == 2
    assert "t1_" not in failed.out


@pytest.mark.usefixtures("story")
def test_a_result_is_exported_for_spreadsheets_and_audited_like_any_other(told: Cli, tmp_path: Path) -> None:
    query = "select '=1+1' as \"@a\", -1.5 as n, null as x, chr(39) || chr(27) as t"
    expected = '"\'@a","n","x","t"\n"\'=1+1",-1.5,,"\'\'\x1b"\n'
    assert told("sql", "healthcare", query, "--purpose", "research", "--csv", token="sam").out == expected
    out = tmp_path / "rows.csv"
    said = told("sql", "healthcare", query, "--purpose", "research", "--out", str(out), "--json", token="sam")
    assert said.json == {"file": str(out), "rows": 1}
    assert out.read_text("utf-8") == expected
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    newest = told("audit", "tail", "--count", "6", "--json", token="sam").json
    queries = [entry["phase"] for entry in newest if entry["action"] == "query.run"]
    assert queries == ["intent", "done"] * 2


@pytest.mark.usefixtures("story")
def test_a_decision_is_made_once(told: Cli) -> None:
    for verb in ("approve", "reject", "withdraw"):
        refused = told("release", verb, "healthcare", "1", "--reason", "again", "--json", token="sam")
        assert refused.code == 4, verb
    nothing = told("rollback", "healthcare", "--reason", "x", "--json", token="sam")
    assert (nothing.code, "no earlier release" in nothing.json["culprit"]) == (4, True)
    unknown = told("rollback", "healthcare", "--from", "9", "--reason", "x", "--json", token="sam")
    assert (unknown.code, unknown.json["culprit"]) == (2, "healthcare has no release 9")


@pytest.mark.usefixtures("story")
def test_missing_files_are_refused_with_a_fix(told: Cli, tmp_path: Path) -> None:
    nowhere = told("run", "healthcare", "--source", str(tmp_path / "nowhere"), token="dana")
    assert nowhere.code == 2
    assert "is not a folder" in nowhere.err
    (tmp_path / "nothing").mkdir()
    refused = told("run", "healthcare", "--source", str(tmp_path / "nothing"), token="dana")
    assert (refused.code, refused.err) == (3, "")
    assert "healthcare/raw/patients: There is no source file 'patients.csv'" in refused.out
    assert "Nothing was released, and production stays as it is." in refused.out
    report = told("run", "healthcare", "--source", str(tmp_path / "nothing"), "--json", token="dana")
    assert (report.code, report.json["exit_code"], report.json["release"]) == (3, 3, None)
    assert len(report.json["failures"]) == 5


def test_a_refused_dataset_is_told_by_column_rule_and_count(told: Cli, source: Path, tmp_path: Path) -> None:
    for file in source.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    patients = tmp_path / "patients.csv"
    header, *rows = patients.read_text().splitlines()
    canary = "CANARY-DATE"
    broken = [",".join([row.split(",")[0], canary, *row.split(",")[2:]]) for row in rows]
    patients.write_text("\n".join([header, *broken]) + "\n")
    refused = told("run", "healthcare", "--source", str(tmp_path), token="dana")
    assert refused.code == 3
    assert canary not in refused.out + refused.err
    (row,) = [line.split() for line in refused.out.splitlines() if "BIRTHDATE" in line]
    assert row[0] == "healthcare/raw/patients"
    assert row[2:] == ["BIRTHDATE", "type", str(PATIENTS)]


def test_a_damaged_package_exits_5(told: Cli, story: Story) -> None:
    assert told("release", "verify", "healthcare", "1").code == 0
    table = told.home / "releases" / "healthcare" / "1" / "payload" / "patient_summary.parquet"
    whole = table.read_bytes()
    damaged = bytearray(whole)
    damaged[len(damaged) // 2] ^= 1
    table.chmod(0o600)
    table.write_bytes(damaged)
    refused = told("release", "verify", "healthcare", "--json")
    table.write_bytes(whole)
    assert (refused.code, refused.json["error"]) == (5, "IntegrityError")
    assert story["built"].code == 0


@pytest.mark.usefixtures("story")
def test_a_steward_sees_first_what_breaks_those_who_rely_on_a_contract(
    told: Cli, source: Path, tmp_path: Path
) -> None:
    os.environ["SECURE_PLATFORM_DEFS"] = str(shutil.copytree(PACKAGE / "defs", tmp_path / "defs"))
    contract = tmp_path / "defs" / "healthcare" / "contracts" / "patients.odcs.yaml"
    text = contract.read_text(encoding="utf-8")
    head, passport, rest = text.partition("name: PASSPORT")
    contract.write_text(head + passport + rest.replace("maxLength: 64", "maxLength: 60", 1), encoding="utf-8")
    assert told("run", "healthcare", "--source", str(source), token="dana").code == 0
    breaking = "patients.PASSPORT: max length: 64 → 60"
    shown = told("release", "show", "healthcare")
    told_first, _, later = shown.out.partition("\nSchema\n")
    assert f"{ATTENTION}\n  ! {breaking}\n" in told_first
    assert "Contracts: breaking (1 breaking)" in later
    assert "these changes need 2.0.0 or higher" in later
    difference = told("release", "show", "healthcare", "--json").json["difference"]
    assert difference["attention"] == [breaking]
    assert difference["contracts"]["verdict"] == "breaking"
    compared = told("release", "diff", "healthcare", "1", "2")
    assert compared.out.startswith(f"\n{ATTENTION}\n  ! {breaking}")
    assert told("release", "diff", "healthcare", "1", "2", "--json").json == difference
    assert "Nothing differs." in told("plan", "healthcare", "--since", "1").out
