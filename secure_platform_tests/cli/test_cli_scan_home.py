"""`scan` on what a home holds: past the policy, audited, with a purpose where a query needs one."""

import shutil
from pathlib import Path

import pytest
from built_home import PRODUCT, Built
from cli_support import Cli, Result

pytestmark = pytest.mark.slow


@pytest.fixture
def cli(built: Built, tmp_path: Path) -> Cli:
    return Cli(Path(shutil.copytree(built.home, tmp_path / "home")))


def kinds(result: Result) -> set[tuple[str, str]]:
    return {(each["column"], each["info_type"]) for each in result.json["findings"]}


def actions(cli: Cli) -> list[str]:
    entries = cli("audit", "tail", "--json", token="dana").json
    return [f"{entry['action']} {entry['phase']}" for entry in entries]


def test_a_zone_is_scanned_by_who_may_see_its_runs(cli: Cli) -> None:
    words = ("scan", f"{PRODUCT}/patients", "--zone", "raw", "--json")
    refused = cli(*words)
    assert refused.code == 4
    raw = cli(*words, token="sam")
    assert raw.code == 3
    assert ("SSN", "US_SSN") in kinds(raw)
    (scanned,) = raw.json["scanned"]
    assert scanned["source"] == f"{PRODUCT}/raw/patients"
    assert scanned["rows"] > 0
    protected = cli("scan", PRODUCT, "--zone", "protected", "--json", token="sam")
    assert ("SSN", "US_SSN") not in kinds(protected)
    assert len(protected.json["scanned"]) > 1


def test_a_scan_of_the_home_is_in_its_log(cli: Cli) -> None:
    cli("scan", f"{PRODUCT}/patients", "--zone", "raw", token="sam")
    log = cli("audit", "tail", "--json", token="sam").json
    entries = [entry for entry in log if entry["action"] == "data.scan"]
    assert [entry["phase"] for entry in entries] in (
        ["intent", "succeeded"],
        ["succeeded", "intent"],
        ["intent", "done"],
    )


def test_a_release_is_scanned_by_its_number(cli: Cli) -> None:
    result = cli("scan", PRODUCT, "--release", "1", "--json", token="sam")
    assert result.code in (0, 3)
    assert {each["source"].rsplit("/", 1)[0] for each in result.json["scanned"]} == {f"{PRODUCT}/release 1"}
    assert cli("scan", PRODUCT, "--release", "9", token="sam").code == 2


def test_production_needs_something_in_it_and_a_purpose(cli: Cli) -> None:
    assert cli("scan", PRODUCT, "--zone", "production", token="sam").code == 4
    allowed = cli("scan", PRODUCT, "--zone", "production", "--purpose", "research", token="sam")
    assert allowed.code == 2
    assert "in production" in allowed.err


@pytest.mark.parametrize(
    "words",
    [("nothing", "--zone", "raw"), (f"{PRODUCT}/nothing", "--zone", "raw"), ("../x", "--zone", "raw")],
    ids=str,
)
def test_what_is_not_there_is_told(cli: Cli, words: tuple[str, ...]) -> None:
    assert cli("scan", *words, token="sam").code == 2
