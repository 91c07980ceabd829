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
    watched, held = os.pipe()
    try:
        with subprocess.Popen(command, pass_fds=(*pass_fds, watched), **options) as process:  # noqa: S603
            try:
                fcntl.fcntl(watched, fcntl.F_SETOWN, process.pid)
                fcntl.fcntl(watched, fcntl.F_SETSIG, signal.SIGKILL)
                fcntl.fcntl(watched, fcntl.F_SETFL, os.O_ASYNC)
                yield process
            finally:
                process.kill()
    finally:
        os.close(watched)
        os.close(held)
