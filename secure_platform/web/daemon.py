"""The daemon lives exactly as long as the server: schedules and sensors run, and nothing is left behind."""

import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from secure_platform.web.companion import companion

ALONE_SECONDS: Final = 5.0
LOG_LEVEL: Final = "warning"


def running_daemon(workspace: Path) -> AbstractContextManager[None]:
    """Run the daemon while the block runs; should it end by itself, the block is interrupted by SIGTERM.

    It ends alone first: a sensor that is just being evaluated must still come to its end.

    Args:
        workspace: Names the code locations; the environment must name the home.
    """
    command = [sys.executable, "-m", "dagster._daemon", "run", "-w", str(workspace), "--log-level", LOG_LEVEL]
    return companion("The daemon", command, alone_seconds=ALONE_SECONDS)
