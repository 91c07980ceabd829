"""What holds bytes and can be opened again: a file, a member of an archive, an object of a store.

A file is opened without following a link, must be a regular one, and must stay the same from one opening to
the next: what a table was searched for is what its header was read from.
"""

import errno
import io
import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Protocol

from secure_platform.errors import DataRefusedError
from secure_platform.files import READ_FILE
from secure_platform.source.stream import Readable, SourceFile

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

UNREADABLE: Final = "cannot be read"
LARGEST: Final = 256 << 20


class SkippedError(Exception):
    """Carries the reason for which something is not read."""


class Document(Protocol):
    """Bytes with a name."""

    @property
    def name(self) -> str:
        """As the report calls it."""

    @property
    def size(self) -> int:
        """How many bytes are stored."""

    def open(self) -> AbstractContextManager[IO[bytes]]:
        """The bytes from their beginning.

        Raises:
            SkippedError: If they cannot be read, or are not those of the first opening.
        """


class FileDocument:
    """A file.

    Args:
        path: Where it is.
        name: As the report calls it.

    Raises:
        SkippedError: If it cannot be read or is not a regular file.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.name = name
        descriptor = _opened(path)
        try:
            self._identity = _identity(descriptor)
        finally:
            os.close(descriptor)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._identity[2]

    @property
    def identity(self) -> tuple[int, ...]:
        """What changes when the file is written to or replaced."""
        return self._identity

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The file's bytes."""
        descriptor = _opened(self.path)
        with os.fdopen(descriptor, "rb") as stream:
            if _identity(stream.fileno()) != self._identity:
                raise SkippedError("changed while it was read")
            yield stream


class UnpackedDocument:
    """What is in a `.gz` file, unpacked as it is read, in proportion to what is stored.

    Args:
        file: The file.
    """

    def __init__(self, file: FileDocument) -> None:
        self._file = file
        self.name = file.name

    @property
    def size(self) -> int:
        """Bytes of the packed file."""
        return self._file.size

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The unpacked bytes."""
        try:
            with SourceFile(self._file.path).text() as text:
                yield flowing(text)
        except DataRefusedError as refused:
            raise SkippedError(refused.culprit) from None


class MemoryDocument:
    """Bytes in memory.

    Args:
        name: As the report calls them.
        content: The bytes; read by nobody else.
    """

    def __init__(self, name: str, content: IO[bytes]) -> None:
        self.name = name
        self._content = content

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return self._content.seek(0, os.SEEK_END)

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The bytes, from the beginning; one reader at a time."""
        self._content.seek(0)
        yield self._content


def in_reach(document: Document) -> Document:
    """A document that can be read from any place: a file, or else a copy in memory.

    Raises:
        SkippedError: If it is too large to be copied.
    """
    if isinstance(document, FileDocument | MemoryDocument):
        return document
    if document.size > LARGEST:
        raise SkippedError(f"larger than {LARGEST >> 20} MiB: only CSV, JSON and text are read on the way")
    with document.open() as stream:
        return MemoryDocument(document.name, io.BytesIO(stream.read(LARGEST + 1)))


class Handed:
    """A document as another process is handed it: behind a descriptor, of no file for bytes in memory.

    Args:
        document: A file, or bytes in memory.
    """

    def __init__(self, document: Document) -> None:
        self._document = document
        self.name = document.name

    @property
    def size(self) -> int:
        """Bytes of the document."""
        return self._document.size

    @contextmanager
    def stored(self) -> Iterator[io.FileIO]:
        """The bytes, from the beginning."""
        with self._document.open() as stream:
            if not isinstance(stream, io.BytesIO):
                yield io.FileIO(stream.fileno(), closefd=False)
                return
            if not hasattr(os, "memfd_create"):
                raise SkippedError("in an archive it is only read on Linux: unpack it")
            with io.FileIO(os.memfd_create("document", os.MFD_CLOEXEC), "r+") as copy:
                copy.write(stream.getbuffer())
                copy.seek(0)
                yield copy

    def refusal(self, what: str, fix: str) -> DataRefusedError:
        """An error about it."""
        return DataRefusedError(f"{self.name} {what}", fix)


def flowing(source: Readable) -> IO[bytes]:
    """What can only be read on, as a stream."""
    return io.BufferedReader(_Flow(source))


class _Flow(io.RawIOBase):
    def __init__(self, source: Readable) -> None:
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        view = memoryview(buffer).cast("B")
        block = self._source.read(len(view))
        view[: len(block)] = block
        return len(block)


def _opened(path: Path) -> int:
    try:
        descriptor = os.open(path, READ_FILE)
    except OSError as error:
        raise SkippedError("a link" if error.errno == errno.ELOOP else UNREADABLE) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise SkippedError("not a regular file")
    return descriptor


def _identity(descriptor: int) -> tuple[int, ...]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
