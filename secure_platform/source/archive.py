"""A zip file stands for a folder of CSV files, read from where they are in it and never unpacked to the disk.

An archive is refused as a whole if any of its members could deceive an unpacker: names that lead elsewhere or
collide, links, encryption, archives in it, members that overlap, bytes that belong to no member, headers that
contradict the directory, and sizes out of proportion. How much there is to look at is bounded before it is
read. Members may lie below one common folder.
"""

import copy
import hashlib
import io
import os
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import IO, Final

from secure_platform.errors import DataRefusedError
from secure_platform.files import CHUNK
from secure_platform.source.stream import Readable, SourceFile, allowed

MEMBER_LIMIT: Final = 1_000
DIRECTORY_LIMIT: Final = 1 << 20

_END: Final = struct.Struct("<4s4H2LH")
_END_MAGIC: Final = b"PK\5\6"
_END_64: Final = struct.Struct("<4sLQL")
_END_64_MAGIC: Final = b"PK\6\7"
_LOCAL: Final = struct.Struct("<4s5H3L2H")
_LOCAL_MAGIC: Final = b"PK\3\4"
_DESCRIPTOR: Final = 24
"""Bytes that may follow a member that was packed into a pipe: its checksum and sizes."""
_UTF8: Final = 0x800
_FIELD: Final = struct.Struct("<2H")
_SECOND_NAME: Final = 0x7075
"""The extra field of a name in Unicode, which some read instead of the name, also Python from 3.12 on."""
_ENCRYPTED: Final = 0x1 | 0x40 | 0x2000
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_NESTED: Final = (".zip", ".jar", ".7z", ".rar", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst")
_BESIDE: Final = frozenset({"__MACOSX"})
"""Folders that packers add of their own accord."""
_UNPACK: Final = "Unpack it where you trust it, and give the folder."


class Archive:
    """A `.zip` file.

    Raises:
        DataRefusedError: If it is no zip file, or one that could deceive.
    """

    def __init__(self, path: Path) -> None:
        self.file = SourceFile(path)
        with self.open() as archive:
            infos = archive.infolist()
            self._check(infos, archive)
        self._names = {info.filename for info in infos if not info.is_dir()}
        tops = {name.partition("/")[0] for name in self._names} - _BESIDE
        self._top = f"{tops.pop()}/" if len(tops) == 1 else ""

    def find(self, name: str) -> str | None:
        """The member of this very name, at the top or below the one folder that holds everything."""
        return next((found for found in (name, self._top + name) if found in self._names), None)

    @contextmanager
    def open(self) -> Iterator[zipfile.ZipFile]:
        """The archive, after the size of its directory was bounded.

        Raises:
            DataRefusedError: If it is not a zip file, or damaged where it is read.
        """
        with self.file.stored() as stored:
            self._check_end(stored)
            with self._directory(stored) as archive:
                try:
                    yield archive
                except (zipfile.BadZipFile, NotImplementedError, EOFError, zlib.error):
                    raise self._damaged() from None

    def _directory(self, stored: io.FileIO) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(stored)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error):
            raise self._damaged() from None

    def _check_end(self, stored: io.FileIO) -> None:
        size = stored.seek(0, os.SEEK_END)
        tail_size = min(size, _END.size + _END_64.size)
        stored.seek(size - tail_size)
        tail = stored.read(tail_size)
        if len(tail) < _END.size:
            raise self._damaged()
        magic, *_, entries, directory, _, comment = _END.unpack(tail[-_END.size :])
        if magic != _END_MAGIC or comment:
            raise self._damaged()
        if entries > MEMBER_LIMIT or directory > DIRECTORY_LIMIT or tail.startswith(_END_64_MAGIC):
            raise self.file.refusal(
                f"holds more than {MEMBER_LIMIT:,} files, or more than 4 GiB",
                "Unpack it, and give the folder.",
            )
        stored.seek(0)

    def _check(self, infos: Sequence[zipfile.ZipInfo], archive: zipfile.ZipFile) -> None:
        if len(infos) > MEMBER_LIMIT:
            raise self._damaged()
        for info in infos:
            wrong = _wrong(info)
            if wrong:
                raise self.file.refusal(f"holds {wrong}", _UNPACK)
        if len({unicodedata.normalize("NFKC", info.filename).casefold() for info in infos}) < len(infos):
            raise self.file.refusal("holds two files of one name", _UNPACK)
        with self.file.stored() as stored:
            places = sorted((info.header_offset, self._end_of(info, stored)) for info in infos)
        gaps = [after - end for (_, end), (after, _) in pairwise([(0, 0), *places, (archive.start_dir, 0)])]
        if any(gap < 0 for gap in gaps):
            raise self.file.refusal("holds files that overlap", _UNPACK)
        if gaps[0] or any(gap > _DESCRIPTOR for gap in gaps):
            raise self.file.refusal("holds bytes that belong to none of its files", _UNPACK)

    def _end_of(self, info: zipfile.ZipInfo, stored: IO[bytes]) -> int:
        """Where a member ends that begins as the directory says."""
        stored.seek(info.header_offset)
        head = stored.read(_LOCAL.size)
        if len(head) < _LOCAL.size:
            raise self._damaged()
        magic, _, flags, method, *_, name_size, extra_size = _LOCAL.unpack(head)
        name = info.orig_filename.encode("utf-8" if info.flag_bits & _UTF8 else "cp437")
        told = (magic, flags, method, stored.read(name_size))
        if told != (_LOCAL_MAGIC, info.flag_bits, info.compress_type, name):
            raise self.file.refusal("holds a file whose header contradicts the directory", _UNPACK)
        if _has_second_name(stored.read(extra_size)):
            raise self.file.refusal("holds a file with a second name", _UNPACK)
        header: int = _LOCAL.size + name_size + extra_size
        return info.header_offset + header + info.compress_size

    def _damaged(self) -> DataRefusedError:
        return self.file.refusal("is not a whole zip file", "Pack it again, or give the folder.")


class Member:
    """A file in an archive."""

    def __init__(self, archive: Archive, name: str) -> None:
        self._archive = archive
        self._name = name

    @contextmanager
    def text(self) -> Iterator[Readable]:
        """Its bytes, unpacked as they are read; at the end their number and checksum must be as promised."""
        with self._archive.open() as archive:
            info = copy.copy(archive.getinfo(self._name))
            promised = info.file_size
            # zipfile never reads on after what is promised.
            info.file_size += 1
            with archive.open(info) as file:
                yield _Promised(file, promised)

    def fingerprint(self) -> str:
        """Digest of its unpacked bytes: the same as of the file in a folder."""
        digest = hashlib.sha256()
        with self.text() as file:
            while block := file.read(CHUNK):
                digest.update(block)
        return f"sha256:{digest.hexdigest()}"

    @property
    def written_at(self) -> datetime:
        """When the archive was last written; aware, UTC."""
        return self._archive.file.written_at

    def refusal(self, what: str, fix: str) -> DataRefusedError:
        """An error about this file."""
        return DataRefusedError(f"The source file {self._name!r} in {self._archive.file.name!r} {what}", fix)


class _Promised:
    """A file that is neither shorter nor longer than it says, as long as whoever opened it asks for more."""

    def __init__(self, file: Readable, size: int) -> None:
        self._file = file
        self._left = size

    def read(self, size: int, /) -> bytes:
        block = self._file.read(size)
        self._left -= len(block)
        if not block and self._left:
            raise zipfile.BadZipFile
        return block


def _wrong(info: zipfile.ZipInfo) -> str | None:
    """What about a member could deceive; its name is not repeated."""
    kind = stat.S_IFMT(info.external_attr >> 16)
    name = info.orig_filename
    second = info.filename != name or _has_second_name(info.extra)
    parts = name.removesuffix("/").split("/")
    misleading = {"", ".", ".."}.intersection(parts) or "\\" in name or ":" in name
    reasons = {
        "a file whose name leads elsewhere": misleading or not name.isprintable(),
        "a file with a second name": second,
        "a link or a device": kind not in (0, stat.S_IFREG, stat.S_IFDIR),
        "an encrypted file": info.flag_bits & _ENCRYPTED,
        "a file that is packed in an unusual way": info.compress_type not in _METHODS,
        "an archive": name.lower().endswith(_NESTED),
        "a file that unpacks to far more than its size allows": info.file_size > allowed(info.compress_size),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _has_second_name(extra: bytes) -> bool:
    while len(extra) >= _FIELD.size:
        kind, size = _FIELD.unpack_from(extra)
        if kind == _SECOND_NAME:
            return True
        extra = extra[_FIELD.size + size :]
    return False
