"""A companion is a process that lives exactly as long as the server: neither of them leaves the other behind.

It leads a session of its own, so that Ctrl-C in a terminal reaches it once, from us, and so that whatever it
started can be found and ended with it. Should the server be killed, the kernel asks all of them to end.
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from secure_platform.children import end_with_us, lifeline
from secure_platform.errors import StepFailedError
from secure_platform.web.signals import undisturbed

STOP_SECONDS: Final = 20.0
LINGER_SECONDS: Final = 5.0
POLL_SECONDS: Final = 0.1


@contextmanager
def companion(
    what: str,
    command: Sequence[str],
    *,
    variables: Mapping[str, str] | None = None,
    alone_seconds: float = 0.0,
) -> Iterator[None]:
    """Run a process while the block runs; should it end by itself, the block is interrupted by SIGTERM.

    Args:
        what: What it is, as an error begins with it.
        command: An executable's path and its arguments.
        variables: What its environment has besides ours, or instead.
        alone_seconds: How long it may end by itself before what it started is asked to end too.

    Raises:
        StepFailedError: If it ended by itself.
    """
    stopping = threading.Event()
    process = watcher = None
    with lifeline() as watched:
        try:
            with undisturbed():
                process = subprocess.Popen(  # noqa: S603 - our interpreter, arguments that are not a request's
                    command,
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                    env={**os.environ, **(variables or {})},
                    pass_fds=(watched,),
                )
                end_with_us(watched, -process.pid, signal.SIGTERM)
                watcher = threading.Thread(target=_watch, args=(process.pid, stopping), daemon=True)
                watcher.start()
            yield
        finally:
            if process and watcher:
                alive = watcher.is_alive()
                stopping.set()
                _stop(process, watcher, alone_seconds)
                if not alive:
                    raise StepFailedError(
                        f"{what} ended by itself with exit code {process.returncode}",
                        "Read what it printed, then start again.",
                    )


def _watch(pid: int, stopping: threading.Event) -> None:
    """Wait for the process's end without reaping it: its number stays its own."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    if not stopping.is_set():
        os.kill(os.getpid(), signal.SIGTERM)


def _stop(process: subprocess.Popen[bytes], watcher: threading.Thread, alone_seconds: float) -> None:
    """Ask the process to end, then whatever it started; what does not is killed."""
    if alone_seconds and watcher.is_alive():
        os.kill(process.pid, signal.SIGTERM)
        watcher.join(alone_seconds)
    os.killpg(process.pid, signal.SIGTERM)
    watcher.join(STOP_SECONDS)
    if watcher.is_alive():
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + LINGER_SECONDS
    with suppress(ProcessLookupError):  # The group is gone with its last process.
        while time.monotonic() < deadline:
            os.killpg(process.pid, 0)
            time.sleep(POLL_SECONDS)
        os.killpg(process.pid, signal.SIGKILL)
