"""The demo as a user sees it, and the data map held against the home that it leaves."""

import re
import stat
from collections.abc import Mapping
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import duckdb
import pytest
from cli_support import Cli, Result, execute

from secure_platform.keys.material import SEALED_VERSION
from secure_platform.orchestration.data_map import AtRest, Content

VALUES = re.compile(rb"\b999-\d\d-\d{4}\b")
DECISIONS = (
    "policy.decide",
    "principal.add",
    "release.approve",
    "secret.set",
    "token.issue",
    "trust_root.publish",
)
SECRET = b"999-12-3456 opens the mail"
EVENTS = ("asset.", "run.", "home.", "key.create", "scan.findings")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "home"


@pytest.fixture(scope="module")
def first(home: Path) -> Result:
    return execute("demo", home=home)


@pytest.fixture(scope="module")
def used(first: Result, home: Path) -> Path:
    """The demo's home after somebody kept a secret in it and published who signs."""
    assert first.code == 0
    cli = Cli(home)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", TextIOWrapper(BytesIO(SECRET)))
        assert cli("secret", "set", "mail", token="admin").code == 0
    assert cli("keys", "trust-root", token="admin").code == 0
    return home


@pytest.fixture
def drawn(used: Path) -> Mapping[str, Any]:
    document: Mapping[str, Any] = Cli(used)("map", "healthcare", "--json").json
    return document


def _files(home: Path) -> set[str]:
    """Everything but Dagster's record of each run, and what SQLite has while a database is open."""
    names = (str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())
    return {name for name in names if "dagster/" not in name and not name.endswith(("-wal", "-shm"))}


def _fits(pattern: str, path: str) -> bool:
    """Glob over a relative path: `*` stays within a name, `**` does not."""
    parts = (re.escape(part).replace(r"\*", "[^/]*") for part in pattern.split("**"))
    return re.fullmatch(".*".join(parts), path) is not None


def _at_rest(path: Path) -> AtRest:
    """What the bytes say, whatever the map says."""
    content = path.read_bytes()
    if content[:4] == content[-4:] == b"PARE":
        return AtRest.PARQUET
    if path.suffix == ".duckdb":
        with pytest.raises(duckdb.Error, match="encrypted"):
            duckdb.connect(path, read_only=True)
        return AtRest.DUCKDB
    assert stat.S_IMODE(path.stat().st_mode) in {0o600, 0o400, 0o644}
    return AtRest.SEALED if content.startswith(SEALED_VERSION.pack(1)) else AtRest.OWNER_ONLY


def test_the_demo_goes_all_the_way(first: Result) -> None:
    assert (first.code, first.err) == (0, "")
    for words in (
        "dana tries to approve their own release and is refused",
        "sam approves: release 1",
        "Verified: production holds exactly what was approved",
        "Verified: the audit log is whole",
        "condition_prevalence",
        "Try next:",
    ):
        assert words in first.out
    assert "reused" not in first.out.partition("Try next:")[0]


def test_every_file_of_a_home_is_on_the_map_and_protected_as_it_says(
    home: Path, drawn: Mapping[str, Any]
) -> None:
    places = {place["name"]: place for place in drawn["places"]}
    seen: set[str] = set()
    for name in _files(home) | {"dagster/history/runs.db"}:
        found = [place for place in places.values() if any(_fits(p, name) for p in place["files"])]
        assert [place["name"] for place in found[1:]] == []
        assert found, name
        seen.add(found[0]["name"])
        if found[0]["at_rest"] != AtRest.OUTSIDE:
            assert _at_rest(home / name) == found[0]["at_rest"], name
            assert VALUES.search((home / name).read_bytes()) is None, name
    # Nobody was erased, no lineage was asked for, and nobody looked at what the log comes to.
    rare = {"tombstones", "lineage", "counts"}
    assert {name for name, place in places.items() if place["files"]} == seen | rare
    assert VALUES.search((home / "sources/healthcare/patients.csv").read_bytes())


def test_every_effect_in_the_audit_log_is_on_the_map(home: Path, drawn: Mapping[str, Any]) -> None:
    log = Cli(home)("audit", "tail", "--count", "1000", "--json", token="admin").json
    effects = {entry["action"] for entry in log if not entry["action"].startswith(EVENTS)}
    mapped = {action for flow in drawn["flows"] for action in flow["records"]}
    assert effects - mapped == set(DECISIONS)
    undone = {"data.reveal", "deploy.rollback", "deploy.settle", "release.rolled_back", "snapshot.head"}
    assert mapped - effects == undone


def test_original_values_never_leave_the_encryption_boundary(drawn: Mapping[str, Any]) -> None:
    places = {place["name"]: place for place in drawn["places"]}
    for flow in drawn["flows"]:
        if places[flow["target"]]["at_rest"] == AtRest.OUTSIDE:
            assert places[flow["source"]]["content"] == Content.PROTECTED
    assert [p for p in places.values() if p["content"] == Content.ORIGINAL] == [
        places["source"],
        places["raw"],
        places["revealed"],
    ]
    (revealing,) = [flow for flow in drawn["flows"] if flow["target"] == "revealed"]
    assert (revealing["permission"], revealing["records"]) == ("data_reveal", ["data.reveal"])


def test_the_map_is_drawn_for_people_and_for_mermaid(home: Path, drawn: Mapping[str, Any]) -> None:
    cli = Cli(home)
    text = cli("map", "healthcare").out
    for place in drawn["places"]:
        assert place["name"] in text
    assert "production -->|query| reader" in cli("map", "healthcare", "--mermaid", "flows").out
    assert "provider -->|wraps| key_data" in cli("map", "healthcare", "--mermaid", "keys").out
    assert cli("map", "unknown").code == 2


def test_a_second_demo_changes_nothing(home: Path, first: Result) -> None:
    assert first.code == 0
    files = _files(home)
    second = execute("demo", home=home)
    assert (second.code, second.err) == (0, "")
    assert "Nothing changed: release 1 is deployed, production stays as it is." in second.out
    assert second.out.count("  reused") == 14
    assert _files(home) == files
    third = execute("demo", "--json", home=home)
    assert (third.code, third.err) == (0, "")
    assert third.json["changed"] is False
    assert third.json["release"]["number"] == 1
    assert len(third.json["rows"]) == 3
    assert len(third.json["reused"]) == 14
    assert all(third.json["reused"].values())
