"""Processes that die: at any moment a snapshot is wholly there or not at all, and the rest is swept."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from store_support import (
    SCRIPT,
    Home,
    commit,
    create_home,
    files_below,
    hear,
    in_clear,
    kill,
    open_home,
    start,
    table,
)

from secure_platform.store.history import WRITTEN
from secure_platform.store.snapshot import Zone
from secure_platform.store.temporary import claimed_directory, sweep

RAW = ("healthcare", "patients", Zone.RAW)
MOST_STEPS = 120


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return create_home(tmp_path / "home")


def drafts(home: Home) -> list[Path]:
    return [path for path in home.temporary.iterdir() if path.is_dir()]


def test_a_writer_killed_while_it_writes_leaves_nothing_to_be_seen(home: Home) -> None:
    writer = start("write-for-ever", home.root)
    hear(writer, "writing")
    (draft,) = drafts(home)
    kill(writer)
    assert (draft / "data.parquet").stat().st_size > 100_000
    assert in_clear(home.root) == []
    assert files_below(home.lake) == []
    assert home.store.head(*RAW) is None
    assert home.store.find(*RAW, "key") is None
    assert home.store.sweep() == 1
    assert drafts(home) == []
    assert home.store.head(*RAW) is None
    assert commit(home, table()) == home.store.head(*RAW)


def test_sweep_never_removes_a_live_draft(home: Home) -> None:
    holder = start("hold", home.root)
    hear(holder, "held")
    with home.store.draft(*RAW, actor="a") as mine:
        mine.write(table(2).lazy())
        assert home.store.sweep() == 0
        assert len(drafts(home)) == 2
        kill(holder)
        assert home.store.sweep() == 1
        snapshot = mine.commit(input_key="k", contract_version="", contract_digest="", provenance={})
    assert home.store.scan(snapshot).collect().equals(table(2))
    assert drafts(home) == []


def test_sweep_touches_nothing_else(home: Home, tmp_path: Path) -> None:
    commit(home, table())
    (tmp_path / "elsewhere").mkdir()
    name = "0" * 32
    (home.temporary / f"draft-{name}").symlink_to(tmp_path / "elsewhere")
    (home.temporary / "draft-short").mkdir()
    (home.temporary / f"other-{name}").mkdir()
    (home.temporary / f"build-{name}").write_bytes(b"a file")
    before = sorted(home.temporary.iterdir())
    assert home.store.sweep() == 0
    assert sorted(home.temporary.iterdir()) == before
    assert (tmp_path / "elsewhere").is_dir()


def test_a_claimed_directory_is_private_and_goes_away(tmp_path: Path) -> None:
    with claimed_directory(tmp_path, "build") as path:
        assert path.stat().st_mode & 0o777 == 0o700
        (path / "below").mkdir()
        (path / "below" / "file").write_bytes(b"x")
        assert sweep(tmp_path) == 0
    assert not path.exists()
    with pytest.raises(ZeroDivisionError), claimed_directory(tmp_path, "draft") as path:
        raise ZeroDivisionError
    assert not path.exists()


@pytest.mark.slow
def test_processes_that_commit_at_once_all_succeed(home: Home) -> None:
    writers = [start("commit-many", home.root, "4") for _ in range(3)]
    for writer in writers:
        hear(writer, "ready")
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        assert writer.wait(timeout=120) == 0
        kill(writer)
    ids = [path.name for path in (home.lake / "healthcare" / "raw" / "patients").iterdir() if path.is_dir()]
    assert len(ids) == 12
    for snapshot_id in ids:
        assert home.store.scan(home.store.load(*RAW, snapshot_id)).collect().height == 50
    head = home.store.head(*RAW)
    assert head is not None
    assert head.snapshot_id in ids
    written = [entry.body for entry in home.audit.entries() if entry.body["action"] == WRITTEN]
    done = {body["subject"] for body in written if body["phase"] == "done"}
    assert done == {f"healthcare/raw/patients/{snapshot_id}" for snapshot_id in ids}
    assert drafts(home) == []


@pytest.mark.slow
def test_a_commit_killed_before_any_step_is_whole_or_absent(tmp_path: Path) -> None:
    template = create_home(tmp_path / "template")
    template.audit.close()
    template.database.close()
    homes = tmp_path / "homes"
    for step in range(MOST_STEPS):
        shutil.copytree(template.root, homes / f"{step:03}")
    done = subprocess.run(
        [sys.executable, SCRIPT, "commit-and-die", homes], capture_output=True, text=True, check=True
    )
    reached = int(done.stdout)
    assert 20 < reached < MOST_STEPS
    visible = 0
    for step in range(reached):
        visible += _survived(homes / f"{step:03}")
    assert 0 < visible < reached


def _survived(root: Path) -> bool:
    """The invariants of a home whose only commit was killed at some step; whether its snapshot is there."""
    home = open_home(root)
    assert in_clear(home.root) == []
    head, found = home.store.head(*RAW), home.store.find(*RAW, "key")
    if head is not None:
        assert found is not None
    if found is not None:
        assert home.store.scan(found).collect().equals(table(3))
        written = [entry.body for entry in home.audit.entries() if entry.body["action"] == WRITTEN]
        intents = [body["subject"] for body in written if body["phase"] == "intent"]
        assert intents == [f"healthcare/raw/patients/{found.snapshot_id}"]
    home.store.sweep()
    assert drafts(home) == []
    if found is None:
        commit(home, table(3))
    else:
        home.store.set_head(found, actor="a")
    again = home.store.head(*RAW)
    assert again is not None
    assert home.store.scan(again).collect().equals(table(3))
    home.audit.verify()
    home.audit.close()
    home.database.close()
    return found is not None
