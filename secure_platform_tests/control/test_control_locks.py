"""The lock is exclusive, bounded in time, and freed by the death of its holder."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from secure_platform.control.locks import file_lock
from secure_platform.errors import GateRefusedError

PROGRAM = Path(__file__).with_name("control_support.py")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home.lock"


def hold(path: Path) -> subprocess.Popen[str]:
    holder = subprocess.Popen([sys.executable, PROGRAM, "lock", path], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def release(holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.communicate(timeout=10)


def test_a_held_lock_is_refused_after_the_time_given(path: Path) -> None:
    holder = hold(path)
    began = time.monotonic()
    with (
        pytest.raises(GateRefusedError, match="busy with the deployment for 0 s"),
        file_lock(path, holder="the deployment", timeout_seconds=0.2),
    ):
        pytest.fail("two holders")
    assert 0.2 <= time.monotonic() - began < 5
    release(holder)


def test_a_killed_holder_frees_the_lock(path: Path) -> None:
    release(hold(path))
    with file_lock(path, holder="the test", timeout_seconds=0):
        pass


def test_a_waiter_gets_the_lock_when_its_holder_dies(path: Path) -> None:
    holder = hold(path)
    holder.send_signal(signal.SIGKILL)
    with file_lock(path, holder="the test", timeout_seconds=10):
        pass
    holder.communicate(timeout=10)


def test_the_lock_is_exclusive_within_one_process(path: Path) -> None:
    with (
        file_lock(path, holder="the test"),
        pytest.raises(GateRefusedError),
        file_lock(path, holder="the test", timeout_seconds=0),
    ):
        pytest.fail("two holders")


def test_an_exception_frees_the_lock(path: Path) -> None:
    with pytest.raises(ZeroDivisionError), file_lock(path, holder="the test"):
        raise ZeroDivisionError
    with file_lock(path, holder="the test", timeout_seconds=0):
        pass


def test_the_lock_file_stays_and_is_private(path: Path) -> None:
    with file_lock(path, holder="the test"):
        pass
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_child_process_does_not_inherit_the_lock(path: Path) -> None:
    with file_lock(path, holder="the test"):
        sleeper = subprocess.Popen(["sleep", "30"], close_fds=False)
    with file_lock(path, holder="the test", timeout_seconds=0):
        pass
    sleeper.kill()
    sleeper.wait()
