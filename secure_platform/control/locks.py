"""Locks that a killed process frees by itself (`flock`)."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from secure_platform.errors import GateRefusedError
from secure_platform.files import PRIVATE_FILE

POLL_SECONDS: Final = 0.05
WORK_SECONDS: Final = 3600.0
"""How long to wait for work that takes as long as the data is large."""


@contextmanager
def file_lock(path: Path, *, holder: str, timeout_seconds: float = 120.0) -> Iterator[None]:
    """Hold an exclusive lock on this file.

    Args:
        path: The lock file; it is created once and never removed.
        holder: What its holder is busy with, for the error.
        timeout_seconds: How long to wait for another process.

    Raises:
        GateRefusedError: If another process kept the lock for the whole time.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        _acquire(descriptor, holder, timeout_seconds)
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, holder: str, timeout_seconds: float) -> None:
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise GateRefusedError(
                    f"Another process has been busy with {holder} for {timeout_seconds:.0f} s",
                    "Wait for it to finish, then try again.",
                ) from None
            time.sleep(POLL_SECONDS)
        else:
            return
