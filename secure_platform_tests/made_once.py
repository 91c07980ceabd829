"""What is costly to make is made once in a run of the tests, where it is needed first; others copy it."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from secure_platform.control.locks import WORK_SECONDS, file_lock


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that all test processes of this run share; nobody may change it.

    Args:
        factory: Knows where this process keeps its files.
        name: Of the folder, the same wherever the same is needed.
        make: Fills the folder.
    """
    own = factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    folder, finished = shared / name, shared / f"{name}.finished"
    with file_lock(shared / f"{name}.lock", holder=name, timeout_seconds=WORK_SECONDS):
        if not finished.exists():
            shutil.rmtree(folder, ignore_errors=True)  # Of a process that failed to make it.
            folder.mkdir(mode=0o700)
            make(folder)
            finished.touch()
    return folder
