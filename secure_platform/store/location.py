"""A name never becomes a path before it matched its pattern, and a path is walked without following links.

Every directory below the root is opened relative to the one before it, so nothing that is exchanged on the
way can lead outside.
"""

import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Final

from secure_platform.errors import IntegrityError, UsageError
from secure_platform.files import READ_DIRECTORY, READ_FILE

NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
SNAPSHOT_ID: Final = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Location:
    """Where the snapshots of one dataset in one zone are.

    Raises:
        UsageError: If a name has another form than lower-case letters, digits and underscores.
    """

    product: str
    zone: str
    dataset: str

    def __post_init__(self) -> None:
        for name in (self.product, self.zone, self.dataset):
            if not NAME.fullmatch(name):
                raise UsageError(
                    f"{name[:80]!r} cannot name a product, zone or dataset",
                    "Use lower-case letters, digits and underscores, beginning with a letter, at most 63.",
                )

    def __str__(self) -> str:
        return f"{self.product}/{self.zone}/{self.dataset}"

    @property
    def parts(self) -> tuple[str, str, str]:
        """The directories below the lake."""
        return self.product, self.zone, self.dataset

    def associated(self, snapshot_id: str) -> bytes:
        """What the encryption of a snapshot's files authenticates besides their bytes."""
        return f"{self.product}/{self.dataset}/{self.zone}/{snapshot_id}".encode()

    def context(self, snapshot_id: str, file: str) -> dict[str, str]:
        """What the data key of a file is bound to."""
        return {
            "product": self.product,
            "dataset": self.dataset,
            "zone": self.zone,
            "snapshot_id": snapshot_id,
            "file": file,
        }


def require_snapshot_id(snapshot_id: str) -> str:
    """The id, when it is one.

    Raises:
        UsageError: If it is not 32 lower-case hexadecimal digits.
    """
    if not SNAPSHOT_ID.fullmatch(snapshot_id):
        raise UsageError(f"{snapshot_id[:80]!r} is not a snapshot id", "Give its 32 hexadecimal digits.")
    return snapshot_id


def open_directory(root: Path, parts: Sequence[str]) -> int:
    """A descriptor of the directory below `root`; the caller closes it.

    Raises:
        FileNotFoundError: If it is not there.
        IntegrityError: If one of the parts is a link or not a directory.
    """
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for part in parts:
        try:
            inner = os.open(part, READ_DIRECTORY, dir_fd=descriptor)
        except FileNotFoundError:
            raise
        except OSError:
            raise _not_ours("/".join(parts)) from None
        finally:
            os.close(descriptor)
        descriptor = inner
    return descriptor


def open_file(root: Path, parts: Sequence[str]) -> BufferedReader:
    """The regular file below `root`, open for reading.

    Raises:
        FileNotFoundError: If it is not there.
        IntegrityError: If one of the parts is a link, or the last one is not a regular file.
    """
    directory = open_directory(root, parts[:-1])
    try:
        descriptor = os.open(parts[-1], READ_FILE, dir_fd=directory)
    except FileNotFoundError:
        raise
    except OSError:
        raise _not_ours("/".join(parts)) from None
    finally:
        os.close(directory)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _not_ours("/".join(parts))
    return os.fdopen(descriptor, "rb")


def list_directory(root: Path, parts: Sequence[str]) -> list[str]:
    """The names in the directory below `root`, sorted; none when it is not there.

    Raises:
        IntegrityError: If one of the parts is a link or not a directory.
    """
    try:
        descriptor = open_directory(root, parts)
    except FileNotFoundError:
        return []
    try:
        return sorted(os.listdir(descriptor))  # noqa: PTH208 - a Path cannot list a descriptor
    finally:
        os.close(descriptor)


def _not_ours(name: str) -> IntegrityError:
    return IntegrityError(
        f"{name} is a link, a device or another kind of file than the platform writes",
        "Remove it and find out who put it there.",
    )
