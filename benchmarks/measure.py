"""One measurement is one process of its own: its memory is nobody else's, and nothing is warm from before."""

import os
import resource
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Self


class Stopwatch(AbstractContextManager["Stopwatch"]):
    """Wall and CPU seconds of the measured part, children included."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    def __enter__(self) -> Self:
        self._cpu, self._wall = _cpu_seconds(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall, self.cpu = time.perf_counter() - self._wall, _cpu_seconds() - self._cpu


def peak_bytes() -> int:
    """The most memory that this process has held."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def _cpu_seconds() -> float:
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
