import errno
import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from release_support import Home, build, commit, conditions, new_home, patients, request

from secure_platform import canonical
from secure_platform.errors import IntegrityError, SecurePlatformError, UsageError
from secure_platform.release.package import Release, build_release
from secure_platform.release.verify import verified
from secure_platform.store.snapshot import Snapshot

CANARY = "canary-4c21"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return new_home(tmp_path / "home")


def package(home: Home, tables: dict[str, Snapshot], number: int = 1, **members: Any) -> Release:
    return build_release(request(tables, number, **members), home.store, home.keys, home.audit, home.releases)


def files(home: Home) -> set[str]:
    folder = home.releases / "healthcare"
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_release_is_private_encrypted_and_named_by_its_manifest(home: Home) -> None:
    frame = pl.DataFrame({"name": [CANARY] * 100, "n": range(100)})
    release = build(home, patients=frame, counts=conditions())
    assert files(home) == {
        ".lock",
        "1/manifest.json",
        "1/payload/patients.parquet",
        "1/payload/counts.parquet",
        "1.attestations/release.sigstore.json",
        "1.attestations/checkpoint.txt",
    }
    document = (release.directory / "manifest.json").read_bytes()
    assert release.digest == canonical.sha256(document)
    assert canonical.loads(document, name="m") == release.manifest
    for path in home.releases.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
        assert path.is_dir() or CANARY.encode() not in path.read_bytes()
    table = release.manifest["tables"]["patients"]
    assert (table["rows"], [c["name"] for c in table["columns"]]) == (100, ["name", "n"])


def test_the_same_tables_are_never_encrypted_alike(home: Home) -> None:
    tables = {"conditions": commit(home, "conditions", conditions())}
    first, second = package(home, tables, 1), package(home, tables, 2)
    digests = {release.manifest["tables"]["conditions"]["content_digest"] for release in (first, second)}
    assert digests == {tables["conditions"].content_digest}
    assert first.manifest["payload_key"] != second.manifest["payload_key"]
    payloads = [
        (release.directory / "payload/conditions.parquet").read_bytes() for release in (first, second)
    ]
    assert payloads[0] != payloads[1]


@pytest.mark.parametrize("name", ["../up", "Patients", "", "a/b", "a b", "x" * 64, "1st", "té"])
def test_a_name_that_could_be_a_path_is_refused(home: Home, name: str) -> None:
    snapshot = commit(home, "conditions", conditions())
    with pytest.raises(UsageError):
        package(home, {name: snapshot})
    with pytest.raises(UsageError):
        package(home, {"conditions": snapshot}, product=name)
    assert not home.releases.exists()


def test_nothing_cannot_be_released(home: Home) -> None:
    with pytest.raises(UsageError):
        package(home, {})
    with pytest.raises(UsageError):
        package(home, {"conditions": commit(home, "conditions", conditions())}, 0)


@pytest.mark.parametrize(
    "members",
    [
        {"rows": 4},
        {"content_digest": "hmac-sha256:1:" + "0" * 64},
    ],
)
def test_a_snapshot_that_states_something_else_is_refused(home: Home, members: dict[str, Any]) -> None:
    snapshot = replace(commit(home, "conditions", conditions()), **members)
    with pytest.raises(IntegrityError):
        package(home, {"conditions": snapshot})
    assert files(home) == {".lock"}


def test_a_table_that_is_not_in_the_lineage_is_refused(home: Home) -> None:
    tables = {"conditions": commit(home, "conditions", conditions())}
    with pytest.raises(IntegrityError, match="differs from its source snapshot"):
        package(home, tables, lineage=[])
    with pytest.raises(IntegrityError, match=r"malformed at lineage\.0\."):
        package(home, tables, lineage=[{"dataset": "conditions"}])
    assert files(home) == {".lock"}


def test_a_damaged_snapshot_is_refused(home: Home) -> None:
    snapshot = commit(home, "conditions", conditions())
    path = snapshot.path / "data.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError):
        package(home, {"conditions": snapshot})
    assert files(home) == {".lock"}


def test_a_number_that_is_handed_out_again_sets_the_earlier_package_aside(home: Home) -> None:
    first = build(home, 1, conditions=conditions())
    bundle = home.releases / "healthcare/1.attestations/release.sigstore.json"
    before = bundle.read_bytes()
    second = build(home, 1, patients=patients())
    assert first.digest != second.digest
    with verified(second.directory, home.keys, home.temporary) as release:
        assert release.digest == second.digest
    (kept,) = (home.releases / "healthcare/.unregistered").iterdir()
    assert canonical.sha256((kept / "1/manifest.json").read_bytes()) == first.digest
    assert (kept / "1.attestations/release.sigstore.json").read_bytes() == before
    assert home.audit.tail(1)[0].body["detail"] == {"digest": second.digest, "set_aside": True}


def test_what_a_killed_build_left_is_removed(home: Home) -> None:
    folder = home.releases / "healthcare"
    for left in (".staging-0123/release/payload", "1.attestations"):
        (folder / left).mkdir(parents=True)
        (folder / left / "checkpoint.txt").touch()
    release = build(home, 1, conditions=conditions())
    with verified(release.directory, home.keys, home.temporary):
        pass
    assert not (folder / ".staging-0123").exists()


def test_intent_and_outcome_are_recorded(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = {"conditions": commit(home, "conditions", conditions())}
    release = package(home, tables)
    intent, done = (entry.body for entry in home.audit.tail(2))
    assert (intent["action"], intent["phase"], intent["subject"]) == (
        "release.create",
        "intent",
        "healthcare/1",
    )
    assert (done["phase"], done["intent"]) == ("done", intent["seq"])
    assert done["detail"]["digest"] == release.digest

    def refuse(*_: object, **__: object) -> None:
        raise IntegrityError("The log is full", "Make room.")

    before = files(home)
    monkeypatch.setattr(type(home.audit), "_append", refuse)
    with pytest.raises(IntegrityError, match="log is full"):
        package(home, tables, 2)
    assert files(home) == before


@pytest.mark.parametrize("function", ["fsync", "rename", "mkdir"])
def test_a_disk_that_fails_leaves_a_whole_release_or_none(
    home: Home, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    tables = {"conditions": commit(home, "conditions", conditions())}
    real, step, failed, seen = getattr(os, function), 0, True, set()
    while failed:
        step += 1
        failed = _fails_at(home, tables, monkeypatch, function, real, step)
        folder = home.releases / f"healthcare/{step}"
        seen.add(folder.exists())
        if folder.exists():
            with verified(folder, home.keys, home.temporary):
                pass
        again = package(home, tables, step)
        with verified(again.directory, home.keys, home.temporary):
            pass
        assert not list((home.releases / "healthcare").glob(".staging*"))
    assert seen == {False, True}
    assert step > 2


def _fails_at(
    home: Home,
    tables: dict[str, Snapshot],
    monkeypatch: pytest.MonkeyPatch,
    function: str,
    real: Any,
    step: int,
) -> bool:
    calls = 0

    def failing(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == step:
            raise OSError(errno.ENOSPC, "full")
        return real(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, function, failing)
        try:
            package(home, tables, step)
        except (OSError, SecurePlatformError):
            return True
    return False
