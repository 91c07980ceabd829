"""The demo as a user starts it, and where its time goes, read off the audit log."""

import os
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from benchmarks.bench import Bench, Figure
from benchmarks.measure import Stopwatch

FIRST: Final = "the first run"
ENDS: Final = {
    "home.initialise": "start and home",
    "token.issue": "sample data and people",
    "run.start": "definitions of",
    "asset.materialize": "step",
    "run.success": "end of",
    "release.approve": "review and approval",
    "query.run": "verification and question",
}


def run(bench: Bench) -> list[Figure]:
    """Once from nothing, then again with nothing changed."""
    figures: list[Figure] = []
    walls: list[float] = []
    for number in range(bench.scale.demos):
        name = FIRST if number == 0 else f"run {number + 1}, nothing changed"
        measured = bench.measure(name, "demo:demo", folder=str(bench.folder))
        walls.append(measured.wall)
        figures += [
            Figure(f"demo, {name}", measured.wall, "s"),
            *(
                Figure(f"demo, {name}: {stage}", seconds, "s")
                for stage, seconds in measured.detail["stages"].items()
            ),
        ]
    return [*figures, *(Figure("demo again", wall / walls[0], "x wall", FIRST) for wall in walls[1:])]


def demo(watch: Stopwatch, folder: str) -> dict[str, Any]:
    """Run the demo and split its time."""
    home = Path(folder) / "home"
    before = _size(home)
    started = time.time()
    with watch:
        subprocess.run(
            [sys.executable, "-m", "secure_platform", "--home", str(home), "demo", "--json"],
            env=dict(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            check=True,
        )
    return {"stages": _stages(home, before, started, time.time())}


def _stages(home: Path, before: int, started: float, ended: float) -> dict[str, float]:
    """Seconds from the end of one stage to the end of the next."""
    stages: dict[str, float] = {}
    last = started
    for body in _entries(home, before):
        label = ENDS.get(body["action"])
        if label is None or body["phase"] == "intent":
            continue
        if body["action"] in {"run.start", "run.success", "asset.materialize"}:
            label = f"{label} {body['subject']}"
        now = datetime.fromisoformat(body["time"]).timestamp()
        stages[label] = stages.get(label, 0.0) + now - last
        last = now
    stages["end of the process"] = ended - last
    return stages


def _size(home: Path) -> int:
    return _log(home).size() if home.exists() else 0


def _entries(home: Path, start: int) -> list[Any]:
    return [entry.body for entry in _log(home).entries(start)]


def _log(home: Path) -> Any:
    from secure_platform.services import Services  # noqa: PLC0415 - imported beside the demo, not before it
    from secure_platform.settings import load_settings  # noqa: PLC0415

    return Services(load_settings(home=home)).audit
