"""A file that holds a secret is a regular file of ours with mode 0600, reached through no symbolic link.

It is opened once and judged through that descriptor, so what was checked is what is read.
"""

import errno
import os
import stat
from pathlib import Path

from secure_platform.errors import UsageError
from secure_platform.files import PRIVATE_FILE, READ_FILE


def read_secret(path: Path, *, name: str, limit: int) -> bytes:
    """Read a secret from its file.

    Args:
        path: The file.
        name: What the file is, for the error.
        limit: Bytes read at most; one more than the longest valid content tells that it is too long.

    Raises:
        FileNotFoundError: If there is no such file; the caller knows what that means.
        UsageError: If the file is not private, not ours, not regular, or cannot be opened.
    """
    descriptor = _open(path, name)
    try:
        _check(os.fstat(descriptor), path, name)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(limit)
    finally:
        os.close(descriptor)


def _open(path: Path, name: str) -> int:
    try:
        return os.open(path, READ_FILE)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _refused(f"{name} {path} is a symbolic link", "Put the file itself there.") from None
        reason = os.strerror(error.errno or 0)
        raise _refused(f"{name} {path} cannot be read: {reason}", "Give its owner access to it.") from None


def _check(status: os.stat_result, path: Path, name: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _refused(f"{name} {path} is not a regular file", "Put a regular file there.")
    if status.st_uid != os.geteuid():
        raise _refused(
            f"{name} {path} belongs to user id {status.st_uid}, not to {os.geteuid()}",
            "Run as the owner of the file, or make a file of your own.",
        )
    mode = stat.S_IMODE(status.st_mode)
    if mode != PRIVATE_FILE:
        raise _refused(
            f"{name} {path} has mode {mode:04o}, and only 0600 keeps it secret",
            f"Replace the secret if others could read it, then run: chmod 600 {path}",
        )


def _refused(culprit: str, fix: str) -> UsageError:
    return UsageError(culprit, fix)
