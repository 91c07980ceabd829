"""What is in archives: zip (and documents, wheels, jars, which are zip), tar, gzip, bzip2, xz, in each other.

Nothing is unpacked to a disk. An archive gets a budget of bytes, members and depth for all that is in it, so
that a small file cannot become more work than a large one; where it ends, the rest is reported as skipped.
"""

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Final

SEPARATOR: Final = "!/"
_DEEPEST: Final = 3
_HEAD: Final = 512
_TAR_MAGIC: Final = slice(257, 262)
_END: Final = b"PK\x05\x06"
_END_BYTES: Final = 22
_LONGEST_COMMENT: Final = 0xFFFF
_LARGEST_DIRECTORY: Final = 4 << 20
_ENCRYPTED: Final = 1
_UNREADABLE: Final = (
    OSError, EOFError, ValueError, RuntimeError, NotImplementedError, MemoryError, struct.error, zlib.error,
    lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile,
)  # fmt: skip


@dataclass
class Budget:
    """What may still be taken out of an archive, with everything in it."""

    bytes: int = 256 << 20
    members: int = 10_000


class BudgetSpentError(Exception):
    """The archive holds more than is read."""


@dataclass(frozen=True)
class Entry:
    """A file in an archive, to be read before the next one is asked for; or why it is not read.

    Attributes:
        path: Of the archive and in it, with `!/` between them.
    """

    path: str
    stream: IO[bytes] | None
    why: str = ""


def is_archive(head: bytes) -> bool:
    """Whether a file that begins so is taken apart."""
    return _reader(head) is not None


def entries(
    stream: IO[bytes], path: str, budget: Budget, *, whole: Callable[[str], bool] = lambda _: False
) -> Iterator[Entry]:
    """The files in a stream that may be an archive; the stream itself if it is none.

    Args:
        stream: Where reading begins and goes back to.
        path: How it is called.
        budget: What may be taken out.
        whole: Whether a member of this path is given as it is, although it is an archive itself.
    """
    yield from _entries(stream, path, budget, 0, whole)


def _entries(
    stream: IO[bytes], path: str, budget: Budget, depth: int, whole: Callable[[str], bool]
) -> Iterator[Entry]:
    reader = None if depth and whole(path) else _reader(_head(stream))
    if reader is None:
        yield Entry(path, stream)
        return
    if depth == _DEEPEST:
        yield Entry(path, None, "archives too deep in each other")
        return
    try:
        for member in reader(stream, path, budget):
            if member.stream is None:
                yield member
            else:
                yield from _entries(member.stream, member.path, budget, depth + 1, whole)
    except BudgetSpentError:
        yield Entry(path, None, "the archive holds more than is read")
    except _UNREADABLE:
        yield Entry(path, None, "the archive cannot be read")


def _head(stream: IO[bytes]) -> bytes:
    head = stream.read(_HEAD)
    stream.seek(0)
    return head


def _reader(head: bytes) -> "Callable[[IO[bytes], str, Budget], Iterator[Entry]] | None":
    if head.startswith((b"PK\x03\x04", _END)):
        return _zip
    if head.startswith(b"\x1f\x8b"):
        return lambda stream, path, budget: _packed(gzip.GzipFile(fileobj=stream), path, budget)
    if head.startswith(b"BZh"):
        return lambda stream, path, budget: _packed(bz2.BZ2File(stream), path, budget)
    if head.startswith(b"\xfd7zXZ\0"):
        return lambda stream, path, budget: _packed(lzma.LZMAFile(stream), path, budget)
    return _tar if head[_TAR_MAGIC] == b"ustar" else None


def _zip(stream: IO[bytes], path: str, budget: Budget) -> Iterator[Entry]:
    _require_small_directory(stream)
    with zipfile.ZipFile(stream) as archive:
        for member in archive.infolist():
            name = f"{path}{SEPARATOR}{member.filename}"
            if member.filename.endswith("/"):
                continue
            if member.flag_bits & _ENCRYPTED:
                yield Entry(name, None, "encrypted")
                continue
            with archive.open(member) as packed:
                yield Entry(name, _whole(packed, budget))


def _require_small_directory(stream: IO[bytes]) -> None:
    """The list of members is read whole by whoever opens a zip: its size is looked at before."""
    size = stream.seek(0, io.SEEK_END)
    stream.seek(max(0, size - _END_BYTES - _LONGEST_COMMENT))
    tail = stream.read()
    end = tail.rfind(_END)
    directory = tail[end + 12 : end + 16]
    if end < 0 or len(directory) < struct.calcsize("<I"):
        raise zipfile.BadZipFile
    if struct.unpack("<I", directory)[0] > _LARGEST_DIRECTORY:
        raise BudgetSpentError
    stream.seek(0)


def _tar(stream: IO[bytes], path: str, budget: Budget) -> Iterator[Entry]:
    with tarfile.open(fileobj=stream, mode="r:") as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isreg() else None
            if content is not None:
                with content:
                    yield Entry(f"{path}{SEPARATOR}{member.name}", _whole(content, budget))


def _packed(stream: "IO[bytes] | gzip.GzipFile", path: str, budget: Budget) -> Iterator[Entry]:
    with stream:
        yield Entry(path, _whole(stream, budget))


def _whole(packed: "IO[bytes] | gzip.GzipFile", budget: Budget) -> IO[bytes]:
    """The content in memory: what is in it may be an archive again, which needs to be read from its end."""
    content = packed.read(budget.bytes + 1)
    budget.bytes -= len(content)
    budget.members -= 1
    if budget.bytes < 0 or budget.members < 0:
        raise BudgetSpentError
    return io.BytesIO(content)
