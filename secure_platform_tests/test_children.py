"""Whatever ends this process, its children do not outlive it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from secure_platform.children import running

SLEEPER = [sys.executable, "-c", "import time; time.sleep(3600)"]
STARTS = f"""
import os, signal, threading
from secure_platform.children import running
def start():
    kept.append(running({SLEEPER!r}))
    started.append(kept[0].__enter__())
kept, started = [], []
thread = threading.Thread(target=start)
thread.start()
thread.join()
print(started[0].poll(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_child_ends_with_its_killed_parent_and_not_with_the_thread_that_started_it() -> None:
    """Its standard output is the parent's: reading that ends when both have ended."""
    ended = subprocess.run([sys.executable, "-c", STARTS], stdout=subprocess.PIPE, check=False, timeout=60)
    assert (ended.returncode, ended.stdout) == (-signal.SIGKILL, b"None\n")


def test_a_child_that_ends_by_itself_tells_its_status_and_leaves_no_descriptor() -> None:
    before = os.listdir("/proc/self/fd")  # noqa: PTH208 - their number
    with running([sys.executable, "-c", "raise SystemExit(3)"]) as process:
        assert process.wait() == 3
    assert len(os.listdir("/proc/self/fd")) == len(before)  # noqa: PTH208


def test_a_child_is_ended_when_its_block_is_left() -> None:
    with pytest.raises(ValueError, match="left"), running(SLEEPER) as process:
        raise ValueError("left")
    assert process.returncode == -signal.SIGKILL


def test_a_child_sees_no_other_end_of_the_pipe_of_another() -> None:
    """A thread that starts a program meanwhile must not keep the first one's pipe open."""
    with running(SLEEPER) as first, running(SLEEPER) as second:
        pipes = [
            {link.readlink() for link in Path(f"/proc/{child.pid}/fd").iterdir() if int(link.name) > 2}
            for child in (first, second)
        ]
        assert pipes[0].isdisjoint(pipes[1])
