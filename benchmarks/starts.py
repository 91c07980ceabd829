"""The start of one command, taken by a process that has loaded nothing else."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.measure import Stopwatch


def start(watch: Stopwatch, folder: str, words: list[str]) -> dict[str, Any]:
    """One command from nothing to its end."""
    environment = {**os.environ, "SECURE_PLATFORM_HOME": str(Path(folder) / "home")}
    with watch:
        subprocess.run(
            [sys.executable, *words],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            check=True,
        )
    return {}
