"""One measurement is one process of its own: its memory is nobody else's, and nothing is warm from before."""

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self


class Stopwatch(AbstractContextManager["Stopwatch"]):
    """Wall and CPU seconds of the measured part; those of children that it waited for included."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0
        self._started = (0.0, 0.0)

    def __enter__(self) -> Self:
        self._started = time.perf_counter(), _cpu_seconds()
        return self

    def __exit__(self, *_: object) -> None:
        wall, cpu = self._started
        self.wall, self.cpu = time.perf_counter() - wall, _cpu_seconds() - cpu


@dataclass(frozen=True)
class Measurement:
    """What repeating one thing gave; wall and CPU seconds are medians, the peak is the highest.

    Attributes:
        load: Load average before each repetition: compare ratios, not seconds, when it is high.
        detail: What the last repetition said of itself.
    """

    name: str
    wall: float
    cpu: float
    peak_bytes: int
    walls: tuple[float, ...]
    load: tuple[float, ...]
    detail: Mapping[str, Any]


def measure(name: str, function: str, parameters: Mapping[str, Any], repeats: int) -> Measurement:
    """Run `module:function` in a fresh process, as often as asked."""
    loads, runs = [], []
    for _ in range(repeats):
        loads.append(round(os.getloadavg()[0], 2))
        runs.append(_child(function, parameters))
    return Measurement(
        name=name,
        wall=statistics.median(run["wall"] for run in runs),
        cpu=statistics.median(run["cpu"] for run in runs),
        peak_bytes=max(run["peak_bytes"] for run in runs),
        walls=tuple(run["wall"] for run in runs),
        load=tuple(loads),
        detail=runs[-1]["detail"],
    )


def _child(function: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SECURE_PLATFORM_")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    root = str(Path(__file__).parent.parent)
    finished = subprocess.run(
        [sys.executable, "-m", "benchmarks.child", function, json.dumps(parameters)],
        env={**environment, "PYTHONPATH": root},
        cwd=root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return dict(json.loads(finished.stdout.splitlines()[-1]))


def peak_bytes() -> int:
    """The most memory that this process has held."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def _cpu_seconds() -> float:
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
