"""A child process never outlives this one, even if this one is killed.

The child inherits an end of a pipe whose other end only this process has, and the kernel kills it when that
end closes. The kernel's own "parent death signal" would follow the thread that started the child instead,
and take code of ours between fork and exec, which threads make unsafe.
"""

import fcntl
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

INHERITED: Final = ("PATH", "LANG", "LC_ALL", "HOME", "TZ", "VIRTUAL_ENV", "PYTHONHOME", "LD_LIBRARY_PATH")


def inherited_environment() -> dict[str, str]:
    """Of our environment only what a program needs to start: no key, token or setting of ours."""
    return {name: os.environ[name] for name in INHERITED if name in os.environ}


@contextmanager
def running(
    command: Sequence[str], *, pass_fds: Sequence[int] = (), **options: Any
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a program while the block runs; it is killed when the block is left or this process ends.

    Args:
        command: Program and arguments, from code.
        pass_fds: Descriptors that it inherits.
        options: Those of `subprocess.Popen`.
    """
    with (
        lifeline() as watched,
        subprocess.Popen(command, pass_fds=(*pass_fds, watched), **options) as process,  # noqa: S603
    ):
        try:
            end_with_us(watched, process.pid, signal.SIGKILL)
            yield process
        finally:
            process.kill()


@contextmanager
def lifeline() -> Iterator[int]:
    """The end of a pipe for a child to inherit; the other end closes with the block, or with this process."""
    watched, held = os.pipe()
    try:
        yield watched
    finally:
        os.close(watched)
        os.close(held)


def end_with_us(watched: int, owner: int, number: signal.Signals) -> None:
    """Have the kernel send a signal when the other end of a lifeline closes.

    Args:
        watched: From `lifeline`; whoever gets the signal, or who leads them, has inherited it.
        owner: Number of a process; negative for its group.
        number: The signal.
    """
    fcntl.fcntl(watched, fcntl.F_SETOWN, owner)
    fcntl.fcntl(watched, fcntl.F_SETSIG, number)
    fcntl.fcntl(watched, fcntl.F_SETFL, os.O_ASYNC)
