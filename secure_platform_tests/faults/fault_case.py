"""An interruption, what became of it, and the processes and disks that it takes."""

import json
import os
import signal
import subprocess
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from secure_platform.errors import SecurePlatformError

PLENTY = 64 << 10
HANGING_SECONDS = 500


@dataclass(frozen=True)
class Case:
    """One interruption.

    Attributes:
        stage: Where it happens.
        action: What happens.
        point: Before which effect, or
        seconds: after which time, in the middle of whatever runs then, or
        room: with how many KiB left on a disk of its own, a tmpfs.
        until: The last stage that is run afterwards.
        sabotage: What is wrong with the product, of `broken_products`.
    """

    stage: str
    action: str
    point: str = ""
    occurrence: int = 0
    seconds: float = 0.0
    room: int = 0
    until: str = "return"
    sabotage: str = ""

    @property
    def timed(self) -> bool:
        """Whether it is killed by the clock; then dbt itself runs in it."""
        return self.seconds > 0


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    Attributes:
        reached: Whether the point was reached, or the process was killed in time.
        killed: Whether the process died of it.
        error: Class of the platform's error that came out of the stage.
        said: Its text.
        broken: Which invariant does not hold, or what went wrong afterwards.
    """

    case: Case
    reached: bool
    killed: bool
    error: str
    said: str
    broken: str


@contextmanager
def disk(folder: Path, case: Case) -> Iterator[Callable[[int], None]]:
    """The folder, a disk of its own if room is to run out on it; what is yielded leaves so many KiB free."""
    if case.room:
        with small_disk(folder):
            yield partial(leave, folder)
    else:
        folder.mkdir()
        yield lambda _: None


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A disk of its own in this folder; only root may make one."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={PLENTY}k", "none", str(folder)]
    subprocess.run(command, capture_output=True, check=True)
    try:
        yield
    finally:
        # A helper process of dbt may outlive it for a moment, in this folder.
        subprocess.run(["umount", "--lazy", folder], check=True)


def leave(folder: Path, room: int) -> None:
    """Make the disk in this folder just so large that so many KiB are free."""
    status = os.statvfs(folder)
    used = (status.f_blocks - status.f_bfree) * status.f_frsize // 1024
    subprocess.run(["mount", "-o", f"remount,size={used + room}k", folder], check=True)


def forked(work: Callable[[], dict[str, Any]], stderr: Path | None = None) -> tuple[int, dict[str, Any]]:
    """Exit status of a child that does this, and what it told; nothing when it died."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(HANGING_SECONDS)
        if stderr is not None:
            os.dup2(os.open(stderr, os.O_WRONLY | os.O_CREAT), 2)
        try:
            told = work()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the case is what failed
            text = str(error) if isinstance(error, (SecurePlatformError, AssertionError)) else ""
            told = {"broken": [text or "".join(traceback.format_exception(error)[-3:])]}
        os.write(writing, json.dumps(told).encode())
        os._exit(0)
    os.close(writing)
    try:
        with os.fdopen(reading, "rb") as pipe:
            content = pipe.read()
    except BaseException:  # This process is to end, and with it what it started.
        os.kill(child, signal.SIGKILL)
        raise
    finally:
        status = os.waitpid(child, 0)[1]
        with suppress(ProcessLookupError):  # What the child started, if it led a group.
            os.killpg(child, signal.SIGKILL)
    return status, json.loads(content) if content else {}
