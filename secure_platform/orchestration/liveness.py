"""A run lives exactly as long as the process that executes it.

That process holds a lock on a file of the run, which the kernel drops with the process. A run that is
recorded as started while nobody holds its lock has died: Dagster's monitoring marks it as failed, so that it
no longer holds back the runs of its product, and launches it again. Otherwise it would stay started for ever.
"""

import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dagster import DefaultRunLauncher
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus

from secure_platform.files import PRIVATE_FILE, private_directory

if TYPE_CHECKING:
    from dagster import DagsterRun

CLAIMS: Final = "running"


class RunClaims:
    """The runs that this process executes.

    Args:
        directory: Where the files of all runs are.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._held: dict[str, int] = {}

    def claim(self, run_id: str) -> None:
        """Say that this process executes the run."""
        path = private_directory(self._directory) / run_id
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        self._held[run_id] = descriptor

    def release(self, run_id: str) -> None:
        """Say that the run is over; nothing happens when this process did not execute it."""
        descriptor = self._held.pop(run_id, None)
        if descriptor is not None:
            (self._directory / run_id).unlink(missing_ok=True)
            os.close(descriptor)

    def alive(self, run_id: str) -> bool:
        """Whether a living process executes the run."""
        try:
            descriptor = os.open(self._directory / run_id, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            (self._directory / run_id).unlink(missing_ok=True)
            return False
        finally:
            os.close(descriptor)


def run_claims(dagster_home: str) -> RunClaims:
    """The claims of the instance whose state is in this directory."""
    return RunClaims(Path(dagster_home) / CLAIMS)


class SecureRunLauncher(DefaultRunLauncher):
    """Dagster's default, which can also tell which runs have died; `run_launcher` in `dagster.yaml`."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Dagster's monitoring asks."""
        return True

    def check_run_worker_health(self, run: "DagsterRun") -> CheckRunHealthResult:
        """Whether the process of a started run lives."""
        if run_claims(self._instance.root_directory).alive(run.run_id):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "the process that executed the run is gone")
