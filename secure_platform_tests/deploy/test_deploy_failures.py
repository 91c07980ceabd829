import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from deploy_support import Home, new_home, open_home

from secure_platform.errors import IntegrityError, SecurePlatformError


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Releases 1 and 2 were deployed one after the other; 3 waits."""
    home = new_home(tmp_path_factory.mktemp("failures") / "home")
    digests = [home.release(number) for number in (1, 2, 3)]
    home.publish(1, None)
    home.publish(2, digests[0])
    home.audit.close()
    return home.root


@pytest.fixture
def home(template: Path, tmp_path: Path) -> Home:
    return open_home(shutil.copytree(template, tmp_path / "home"))


def production(home: Home) -> int:
    """The release in production, compared with its package row by row."""
    current = home.target.current("healthcare")
    assert current is not None
    with home.verified(current.number) as release:
        home.target.verify("healthcare", release.manifest)
    return current.number


@pytest.mark.slow
def test_a_killed_deployment_leaves_the_old_release_or_the_new_one(template: Path, tmp_path: Path) -> None:
    script = Path(__file__).with_name("deploy_kill.py")
    done = subprocess.run(
        [sys.executable, script, template, tmp_path / "home"], check=True, capture_output=True, text=True
    )
    steps, *survived = done.stdout.split()
    assert int(steps) > 15
    assert set(survived) == {"2", "3"}
    in_order = survived[: int(steps)]
    assert in_order == sorted(in_order)


@pytest.mark.slow
@pytest.mark.parametrize("function", ["fsync", "replace", "open"])
def test_a_disk_that_fails_leaves_the_old_release_or_the_new_one(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    real, states, step = getattr(os, function), [], 0
    failed = True
    while failed:
        step += 1
        home = open_home(shutil.copytree(template, tmp_path / str(step)))
        failed = _fails_at(home, monkeypatch, function, real, step)
        states.append(production(home))
        assert home.publish(3, home.digest(2)).number == 3
        assert production(home) == 3
    assert set(states) == {2, 3}
    assert states == sorted(states)


def _fails_at(home: Home, monkeypatch: pytest.MonkeyPatch, function: str, real: Any, step: int) -> bool:
    calls = 0

    def failing(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        writes = function != "open" or arguments[1] & (os.O_WRONLY | os.O_CREAT)
        calls += bool(writes)
        if writes and calls == step:
            raise OSError(errno.ENOSPC, "full")
        return real(*arguments, **options)

    with home.verified(3) as release, monkeypatch.context() as patch:
        patch.setattr(os, function, failing)
        try:
            home.target.publish(release, expected_base=home.digest(2), actor="a")
        except (OSError, SecurePlatformError):
            return True
    return False


def test_nothing_changes_when_the_intent_cannot_be_recorded(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise IntegrityError("The log is full", "Make room.")

    before = {path: path.stat().st_mtime_ns for path in home.warehouse.rglob("*")}
    with home.verified(3) as release, monkeypatch.context() as patch:
        patch.setattr(type(home.audit), "_append", refuse)
        with pytest.raises(IntegrityError, match="log is full"):
            home.target.publish(release, expected_base=home.digest(2), actor="a")
        with pytest.raises(IntegrityError, match="log is full"):
            home.target.query("healthcare", "SELECT 1", limit=1, actor="a")
    assert {path: path.stat().st_mtime_ns for path in home.warehouse.rglob("*")} == before


def publish_without_outcome(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Release 3 becomes production, and the log refuses to record that it did."""
    real = type(home.audit)._append

    def lose(log: Any, action: str, actor: str, subject: str, phase: Any, members: Any) -> Any:
        if phase == "done" and action == "deploy.publish":
            raise IntegrityError("The log is full", "Make room.")
        return real(log, action, actor, subject, phase, members)

    with monkeypatch.context() as patch:
        patch.setattr(type(home.audit), "_append", lose)
        with pytest.raises(IntegrityError, match="log is full"):
            home.publish(3, home.digest(2))


def test_an_outcome_that_could_not_be_recorded_is_recorded_by_the_next_call(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_without_outcome(home, monkeypatch)
    assert production(home) == 3
    home.publish(3, home.digest(2))
    done = [e.body["detail"] for e in home.audit.tail(9) if e.body["phase"] == "done"]
    assert done[-1]["sequence"] == 3


def test_an_outcome_that_was_never_recorded_is_settled_once(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    pointer = home.warehouse / "CURRENT"
    before = pointer.read_bytes()
    publish_without_outcome(home, monkeypatch)
    home.target.settle("healthcare", actor="a")
    size = home.audit.size()
    home.target.settle("healthcare", actor="a")
    home.target.settle("another", actor="a")
    assert home.audit.size() == size
    (done,) = home.audit.tail(1)
    assert (done.body["action"], done.body["detail"]["sequence"]) == ("deploy.settle", 3)
    assert production(home) == 3
    pointer.write_bytes(before)
    with pytest.raises(IntegrityError, match="audit log records last"):
        home.target.current("healthcare")


def test_readers_keep_the_database_they_opened(home: Home) -> None:
    before = home.target.current("healthcare")
    assert before is not None
    with before.file.open("rb") as file:
        content = file.read()
        home.publish(3, home.digest(2))
        assert before.file.read_bytes() == content
