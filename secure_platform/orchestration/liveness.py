"""A run lives exactly as long as the process that executes it.

That process holds a lock on a file of the run, which the kernel drops with the process. A run that is
recorded as started while nobody holds the lock of its file has died: Dagster's monitoring marks it as failed,
so that it no longer holds back the runs of its product, and launches it again. Otherwise it would stay
started for ever. Without that file nobody knows, and the run is left alone.
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
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_FILE)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        self._held[run_id] = descriptor

    def release(self, run_id: str) -> None:
        """Say that the run is over, whoever executed it."""
        (self._directory / run_id).unlink(missing_ok=True)
        descriptor = self._held.pop(run_id, None)
        if descriptor is not None:
            os.close(descriptor)

    def died(self, run_id: str) -> bool:
        """Whether a process claimed the run and is gone; a run that nobody could claim may live."""
        try:
            descriptor = os.open(self._directory / run_id, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        else:
            return True
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
        """Whether the process of a started run is gone.

        What cannot be told is RUNNING: Dagster's monitoring takes UNKNOWN for dead and launches a second run.
        """
        if run_claims(self._instance.root_directory).died(run.run_id):
            return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "the process that executed the run is gone")
        return CheckRunHealthResult(WorkerStatus.RUNNING)
