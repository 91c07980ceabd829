"""A source file is a regular file, never a link, and the same file from its first byte to its last.

Bytes are read in blocks, decompressed on the way, so memory does not grow with the file, and only in
proportion to what is stored, so neither does what is kept of a bomb. Whoever reads a file
twice (its header, its digest, its records) must have read one and the same content: size, identity and
modification time are compared with those of the first opening, before and after.
"""

import gzip
import hashlib
import io
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from secure_platform.errors import DataRefusedError
from secure_platform.files import CHUNK, READ_FILE

ALWAYS_ALLOWED: Final = 512 << 20
"""Unpacked bytes that any file may hold, however small it is."""
RATIO: Final = 200
"""Unpacked bytes for each stored one beyond that; honest tables stay below 50."""


class Readable(Protocol):
    """A stream of bytes."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""


class Identity(NamedTuple):
    """What is compared to notice that a file was replaced or written to."""

    device: int
    inode: int
    size: int
    modified_ns: int


class Text(Protocol):
    """Text that can be read again."""

    def text(self) -> AbstractContextManager[Readable]:
        """Its bytes; opened anew each time, and the same each time."""

    def refusal(self, what: str, fix: str) -> DataRefusedError:
        """An error about it."""


class Stored(Text, Protocol):
    """A file of a dataset, wherever it lies."""

    def fingerprint(self) -> str:
        """Digest of what is stored, `sha256:<64 hex digits>`."""

    @property
    def written_at(self) -> datetime:
        """When its writer says that it was last written; aware, UTC."""


class SourceFile:
    """One file, plain or gzip by its name.

    Args:
        path: The file itself; a link as its last component is refused.

    Raises:
        DataRefusedError: If it is not there, or not a regular file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.compressed = path.suffix == ".gz"
        with self._descriptor() as descriptor:
            self._identity = _identity(descriptor)

    @property
    def size(self) -> int:
        """Bytes that are stored."""
        return self._identity.size

    @property
    def written_at(self) -> datetime:
        """When it was last written, as the file system has it; aware, UTC."""
        try:
            return datetime.fromtimestamp(self._identity.modified_ns / 1e9, UTC)
        except (ValueError, OverflowError, OSError):
            # A file system may say any year.
            return datetime.max.replace(tzinfo=UTC)

    @contextmanager
    def stored(self) -> Iterator[io.FileIO]:
        """The bytes as they are stored, compressed or not.

        Raises:
            DataRefusedError: If the file changed since it was first opened, cannot be read, or is damaged.
        """
        with self._descriptor() as descriptor, io.FileIO(descriptor, "rb", closefd=False) as file:
            self._check(descriptor)
            try:
                yield file
            except (EOFError, zlib.error, gzip.BadGzipFile):
                raise self.refusal(
                    "is not a complete gzip file", "Copy it again; it is cut off or damaged."
                ) from None
            except OSError:
                raise self.refusal("cannot be read", "Check the disk, then try again.") from None
            self._check(descriptor)

    def fingerprint(self) -> str:
        """SHA-256 of the file's own bytes (compressed ones as they are), as `sha256:<64 hex digits>`."""
        digest = hashlib.sha256()
        with self.stored() as file:
            while block := file.read(CHUNK):
                digest.update(block)
        return f"sha256:{digest.hexdigest()}"

    @contextmanager
    def text(self) -> Iterator[Readable]:
        """The bytes of the text: decompressed, all members of a gzip file one after the other."""
        with self.stored() as file:
            if self.compressed:
                with gzip.open(file) as unpacked:
                    yield _Bounded(unpacked, self)
            else:
                yield file

    @contextmanager
    def _descriptor(self) -> Iterator[int]:
        try:
            descriptor = os.open(self.path, READ_FILE)
        except OSError:
            raise self.refusal(
                "cannot be opened", "Check that it exists, is readable and is not a symbolic link."
            ) from None
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise self.refusal("is not a regular file", "Give a file, not a directory, pipe or device.")
            yield descriptor
        finally:
            os.close(descriptor)

    def _check(self, descriptor: int) -> None:
        if _identity(descriptor) != self._identity:
            raise self.refusal("changed while it was read", "Let its writer finish, then try again.")

    def refusal(self, what: str, fix: str) -> DataRefusedError:
        """An error about this file.

        Args:
            what: What is wrong, as the rest of a sentence that begins with the file.
            fix: What to do about it.
        """
        return DataRefusedError(f"The source file {self.name!r} {what}", fix)


class _Bounded:
    """Unpacked bytes, as long as they are in proportion to the file that they come from."""

    def __init__(self, unpacked: Readable, origin: SourceFile) -> None:
        self._unpacked = unpacked
        self._origin = origin
        self._left = allowed(origin.size)

    def read(self, size: int, /) -> bytes:
        block = self._unpacked.read(size)
        self._left -= len(block)
        if self._left < 0:
            raise self._origin.refusal(
                "unpacks to far more than its size allows", "Unpack it where you trust it, and give it plain."
            )
        return block


def allowed(stored: int) -> int:
    """Bytes that this many stored ones may unpack to."""
    return max(ALWAYS_ALLOWED, RATIO * stored)


def _identity(descriptor: int) -> Identity:
    status = os.fstat(descriptor)
    return Identity(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
