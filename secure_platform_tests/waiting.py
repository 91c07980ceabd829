"""Waits for what other processes do, and finds the processes of a home."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from required import missing

T = TypeVar("T")


THRIFT: Final = 5
"""Asking takes a sixth of one core at most: what is waited for needs it."""


def wait_for(ask: Callable[[], T], seconds: float, pause: float = 0.1) -> T:
    """Ask until the answer is true; the last answer."""
    deadline = time.monotonic() + seconds
    while True:
        began = time.thread_time()
        answer = ask()
        if answer or time.monotonic() >= deadline:
            return answer
        time.sleep(max(pause, THRIFT * (time.thread_time() - began)))


def processes_of(home: Path, argument: str = "") -> list[int]:
    """Every living process that was given this home or a path below it, and this argument if one is named."""
    if not sees_processes():
        missing("what holds keys shows its environment to root only: run the tests as root")
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            environment = (directory / "environ").read_bytes()
            command = (directory / "cmdline").read_bytes().split(b"\0")
        except OSError:  # It has ended meanwhile, or is not ours.
            continue
        if os.fsencode(home) in environment and (not argument or argument.encode() in command):
            found.append(int(directory.name))
    return found


def sees_processes() -> bool:
    """Whether the environment of a process that is not dumpable can be read."""
    return os.geteuid() == 0
