"""Files are private, and they are either wholly there or not there at all.

Directories are 0700 and files 0600. A file becomes visible by an atomic rename after its bytes and then its
directory have been flushed to the disk; an fsync error is fatal and never retried.
"""

import hashlib
import os
import secrets
from pathlib import Path
from typing import Final

from secure_platform.errors import UsageError

PRIVATE_DIRECTORY: Final = 0o700
PRIVATE_FILE: Final = 0o600
OTHERS: Final = 0o077
CHUNK: Final = 1 << 20
READ_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""How a file is opened that somebody else may have put there: no link is followed, no pipe is waited for."""
READ_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def private_directory(path: Path) -> Path:
    """Create the directory and missing parents with mode 0700, and return it."""
    missing = [p for p in (path, *path.parents) if not p.exists()]
    for directory in reversed(missing):
        directory.mkdir(mode=PRIVATE_DIRECTORY, exist_ok=True)
    return path


def require_private(home: Path) -> None:
    """Refuse a home that others may read.

    Raises:
        UsageError: If its mode is open, or it belongs to somebody else.
    """
    status = home.stat()
    if status.st_uid != os.geteuid() or status.st_mode & OTHERS:
        raise UsageError(f"The home {home} is open to other users", f"Make it private: chmod 700 {home}.")


def write_private(path: Path, data: bytes) -> None:
    """Write a new file with mode 0600 and flush it; an existing file is an error."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, PRIVATE_FILE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace_private(path: Path, data: bytes, *, scratch: Path | None = None) -> None:
    """Replace the file atomically: a reader sees the old bytes or the new ones, never a mixture.

    Args:
        path: The file.
        data: Its new content.
        scratch: Where it is written first, on the same file system; a killed process leaves it there. By
            default beside the file.
    """
    temporary = (scratch or path.parent) / f".{path.name}.{secrets.token_hex(8)}"
    try:
        write_private(temporary, data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def publish_directory(temporary: Path, final: Path) -> None:
    """Flush every file below `temporary`, then make the directory visible under `final` by one rename."""
    for file in sorted(p for p in temporary.rglob("*") if p.is_file()):
        file.chmod(PRIVATE_FILE)
        sync_file(file)
    for directory in sorted((p for p in temporary.rglob("*") if p.is_dir()), reverse=True):
        sync_directory(directory)
    sync_directory(temporary)
    private_directory(final.parent)
    temporary.rename(final)
    sync_directory(final.parent)


def sync_file(path: Path) -> None:
    """Flush a file's bytes to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(path: Path) -> None:
    """Flush a directory's entries to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes as `sha256:<64 hex digits>`; symbolic links are not followed."""
    digest = hashlib.sha256()
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return f"sha256:{digest.hexdigest()}"
