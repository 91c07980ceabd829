"""Nothing of a release is trusted where it lies: it is copied to a private place, and the copy is judged.

Every name is opened once, relative to an open folder and without following symbolic links; what is not a
plain file with a single name (link, device, pipe, hard link) is refused, and so is any file not expected.
"""

import errno
import hashlib
import os
import stat
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from secure_platform.errors import IntegrityError
from secure_platform.files import CHUNK, PRIVATE_FILE, READ_DIRECTORY, READ_FILE

_NOT_OPENED: Final = {
    errno.ENOENT: "is missing",
    errno.ELOOP: "is a symbolic link, not a plain file",
    errno.ENXIO: "is a socket, not a plain file",
}
_KINDS: Final = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"))
_LISTED: Final = 3
_LONGEST_NAME: Final = 80
_FIX: Final = "Do not use this release: restore it from a copy, or build it again."


class Folder:
    """An open folder of a release.

    Args:
        descriptor: The open directory.
        title: What it is called in errors.
    """

    def __init__(self, descriptor: int, title: str) -> None:
        self._descriptor = descriptor
        self._title = title

    @classmethod
    @contextmanager
    def open(cls, path: Path, title: str) -> Iterator["Folder"]:
        """Open a folder by its path, whose last component must not be a symbolic link."""
        with _opened(path, None, title) as descriptor:
            yield cls(descriptor, title)

    @contextmanager
    def folder(self, name: str) -> Iterator["Folder"]:
        """Open a folder in this one."""
        title = f"{self._title}/{name}"
        with _opened(name, self._descriptor, title) as descriptor:
            yield Folder(descriptor, title)

    def require_exactly(self, names: set[str]) -> None:
        """Refuse the folder unless it holds these names and no other.

        Raises:
            IntegrityError: If an entry is missing or not expected.
        """
        found = set(os.listdir(self._descriptor))  # noqa: PTH208 - pathlib cannot list an open folder
        missing, extra = sorted(names - found), sorted(found - names)
        problems = []
        if missing:
            problems.append(f"lacks {', '.join(missing)}")
        if extra:
            listed = ", ".join(_described(name, names) for name in extra[:_LISTED])
            problems.append(f"holds {len(extra)} entries that do not belong to it: {listed}")
        if problems:
            raise IntegrityError(f"{self._title} {' and '.join(problems)}", _FIX)

    def copy(self, name: str, to: Path, *, limit: int) -> tuple[int, str]:
        """Copy one plain file.

        Args:
            name: Its name in this folder.
            to: The new private file.
            limit: More bytes than this are refused.

        Returns:
            Size in bytes, and SHA-256 of the copied bytes as `sha256:<64 hex digits>`.

        Raises:
            IntegrityError: If it is missing, not a plain file with a single name, too large, or empty.
        """
        title = f"{self._title}/{name}"
        size, digest = 0, hashlib.sha256()
        with self._plain_file(name, title) as source, _new_file(to) as target:
            while chunk := source.read(min(CHUNK, limit + 1 - size)):
                size += len(chunk)
                digest.update(chunk)
                target.write(chunk)
        if size > limit:
            raise IntegrityError(f"{title} is larger than it may be", _FIX)
        if size == 0:
            raise IntegrityError(f"{title} is empty", _FIX)
        return size, f"sha256:{digest.hexdigest()}"

    def _plain_file(self, name: str, title: str) -> BinaryIO:
        try:
            descriptor = os.open(name, READ_FILE, dir_fd=self._descriptor)
        except OSError as error:
            what = _NOT_OPENED.get(error.errno or 0, "cannot be opened as a plain file")
            raise IntegrityError(f"{title} {what}", _FIX) from None
        problem = _not_plain(os.fstat(descriptor))
        if problem is not None:
            os.close(descriptor)
            raise IntegrityError(f"{title} is {problem}, not a plain file", _FIX)
        return os.fdopen(descriptor, "rb")


def _not_plain(status: os.stat_result) -> str | None:
    for is_kind, kind in _KINDS:
        if is_kind(status.st_mode):
            return kind
    if not stat.S_ISREG(status.st_mode):
        return "a device"
    return None if status.st_nlink == 1 else "a hard link with a second name"


def _described(name: str, expected: set[str]) -> str:
    """A name that a stranger chose, as plain ASCII."""
    written = ascii(name)[:_LONGEST_NAME]
    spelled = [other for other in sorted(expected) if _folded(other) == _folded(name)]
    return f"{written}, another spelling of {spelled[0]}" if spelled else written


def _folded(name: str) -> str:
    """Names that fold alike are one name on some file systems."""
    return unicodedata.normalize("NFKC", name).casefold()


def _new_file(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, PRIVATE_FILE), "wb")


@contextmanager
def _opened(path: Path | str, parent: int | None, title: str) -> Iterator[int]:
    try:
        descriptor = os.open(path, READ_DIRECTORY, dir_fd=parent)
    except OSError:
        raise IntegrityError(f"{title} is missing or not a plain folder", _FIX) from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)
