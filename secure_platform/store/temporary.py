"""Work in progress lives in a claimed directory: its process's until the process ends, nobody's after.

The claim is a `flock` on the directory itself, which the kernel drops when the process dies. `sweep` removes
exactly the directories whose claim it can take; claiming and sweeping exclude each other, so a directory that
was just made is never taken for a leftover.
"""

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal, TypeAlias

from secure_platform.control.locks import file_lock
from secure_platform.files import PRIVATE_DIRECTORY, READ_DIRECTORY, private_directory, replace_private

Kind: TypeAlias = Literal["draft", "build"]
_CLAIMED: Final = re.compile(r"(draft|build)-[0-9a-f]{32}")
_LOCK: Final = "claims.lock"
_HOLDER: Final = "the work in progress"


@contextmanager
def claimed_directory(temporary: Path, kind: Kind) -> Iterator[Path]:
    """A private directory for the length of the block; then it is removed, unless it was renamed away."""
    path = temporary / f"{kind}-{secrets.token_hex(16)}"
    with file_lock(temporary / _LOCK, holder=_HOLDER):
        path.mkdir(mode=PRIVATE_DIRECTORY)
        claim = _claim(path)
    try:
        yield path
    finally:
        if path.exists():
            shutil.rmtree(path)
        os.close(claim)


def replace_by_way_of(temporary: Path, path: Path, data: bytes) -> None:
    """Replace a file atomically; what a killed process leaves of it is swept, and never lies beside it."""
    with claimed_directory(private_directory(temporary), "build") as scratch:
        replace_private(path, data, scratch=scratch)


def sweep(temporary: Path) -> int:
    """Remove what killed processes left behind, and return how many directories that were."""
    removed = 0
    with file_lock(temporary / _LOCK, holder=_HOLDER):
        for path in sorted(temporary.iterdir()):
            if not _CLAIMED.fullmatch(path.name) or path.is_symlink() or not path.is_dir():
                continue
            try:
                claim = _claim(path)
            except BlockingIOError:
                continue
            try:
                shutil.rmtree(path)
            finally:
                os.close(claim)
            removed += 1
    return removed


def _claim(path: Path) -> int:
    descriptor = os.open(path, READ_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
