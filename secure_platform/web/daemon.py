"""The daemon lives exactly as long as the server: schedules and sensors run, and nothing is left behind.

It leads a session of its own, so that Ctrl-C in a terminal reaches it once, from us, and so that whatever it
started can be found and ended with it.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from secure_platform.errors import StepFailedError
from secure_platform.settings import Settings
from secure_platform.web.signals import undisturbed
from secure_platform.web.workspace import workspace_file

STOP_SECONDS: Final = 20.0
ALONE_SECONDS: Final = 5.0
LINGER_SECONDS: Final = 5.0
POLL_SECONDS: Final = 0.1
LOG_LEVEL: Final = "warning"


@contextmanager
def running_daemon(settings: Settings) -> Iterator[None]:
    """Run the daemon while the block runs; should it end by itself, the block is interrupted by SIGTERM.

    Args:
        settings: Names the project; the environment must name the home.

    Raises:
        StepFailedError: If the daemon ended by itself.
    """
    workspace = str(workspace_file(settings))
    command = [sys.executable, "-m", "dagster._daemon", "run", "-w", workspace, "--log-level", LOG_LEVEL]
    stopping = threading.Event()
    daemon = watcher = None
    try:
        with undisturbed():
            daemon = subprocess.Popen(  # noqa: S603 - our interpreter, fixed arguments
                command, stdin=subprocess.DEVNULL, start_new_session=True
            )
            watcher = threading.Thread(target=_watch, args=(daemon.pid, stopping), daemon=True)
            watcher.start()
        yield
    finally:
        if daemon and watcher:
            _end(daemon, watcher, stopping)


def _end(daemon: subprocess.Popen[bytes], watcher: threading.Thread, stopping: threading.Event) -> None:
    alive = watcher.is_alive()
    stopping.set()
    _stop(daemon, watcher)
    if not alive:
        raise StepFailedError(
            f"The daemon ended by itself with exit code {daemon.returncode}",
            "Read what it printed, then start again.",
        )


def _watch(pid: int, stopping: threading.Event) -> None:
    """Wait for the daemon's end without reaping it: its number stays its own."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    if not stopping.is_set():
        os.kill(os.getpid(), signal.SIGTERM)


def _stop(daemon: subprocess.Popen[bytes], watcher: threading.Thread) -> None:
    """Ask the daemon to end, then whatever it started; what does not is killed.

    The daemon comes first and alone: a sensor that is just being evaluated must still find its code server.
    """
    if watcher.is_alive():
        os.kill(daemon.pid, signal.SIGTERM)
        watcher.join(ALONE_SECONDS)
    os.killpg(daemon.pid, signal.SIGTERM)
    watcher.join(STOP_SECONDS)
    if watcher.is_alive():
        os.killpg(daemon.pid, signal.SIGKILL)
    daemon.wait()
    deadline = time.monotonic() + LINGER_SECONDS
    with suppress(ProcessLookupError):  # The group is gone with its last process.
        while time.monotonic() < deadline:
            os.killpg(daemon.pid, 0)
            time.sleep(POLL_SECONDS)
        os.killpg(daemon.pid, signal.SIGKILL)
