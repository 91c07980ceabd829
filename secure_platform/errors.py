"""Every error names the culprit and the fix, never contains a data value, and carries its exit code.

Exit codes: 2 usage, 3 data or contract refused, 4 gate refused, 5 integrity, 6 storage,
7 a service that keeps keys or secrets.
An error that wraps a library's error is raised `from None` when the library's text may hold data values.
"""

import errno
import os
import sqlite3
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Final, Self

# What a disk says that is full, over its quota or limit, failing, or mounted read-only.
_DISK: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)
_SQLITE: Final = {
    sqlite3.SQLITE_FULL: os.strerror(errno.ENOSPC),
    sqlite3.SQLITE_IOERR_SHMSIZE: os.strerror(errno.ENOSPC),
    sqlite3.SQLITE_IOERR: os.strerror(errno.EIO),
    sqlite3.SQLITE_READONLY: os.strerror(errno.EROFS),
}


# DuckDB's errors about its files, which hold no cells; a transaction or a session fails for its file's sake.
_ABOUT_FILES: Final = frozenset(
    {"_duckdb.IOException", "_duckdb.TransactionException", "_duckdb.FatalException"}
)


class SecurePlatformError(Exception):
    """Base of all errors a user can meet.

    Args:
        culprit: What is wrong and where (dataset, column, file, release), without any data value.
        fix: What the reader can do about it, as an imperative sentence. Empty only where Polars makes anew an
            error that a callback raised: it gives the class the whole text, and its own after that.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, culprit: str, fix: str = "") -> None:
        if not fix:
            culprit = culprit.partition("\n\n")[0]
        super().__init__(culprit, fix)
        self.culprit = culprit
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.culprit.rstrip('.')}. {self.fix}".rstrip()


class UsageError(SecurePlatformError):
    """The command, setting or name that was given cannot be used."""

    exit_code: ClassVar[int] = 2


class ContractError(SecurePlatformError):
    """A contract or product document is refused."""

    exit_code: ClassVar[int] = 3


class DataRefusedError(SecurePlatformError):
    """The data does not keep its contract."""

    exit_code: ClassVar[int] = 3


class PlanRefusedError(SecurePlatformError):
    """The protection plan cannot be compiled or carried out safely."""

    exit_code: ClassVar[int] = 3


class GateRefusedError(SecurePlatformError):
    """A release, approval, deployment or rollback is not allowed in its present state."""

    exit_code: ClassVar[int] = 4


class AlreadyRolledBackError(GateRefusedError):
    """Production went back from this release before."""


class AccessDeniedError(SecurePlatformError):
    """The policy does not allow this principal this action."""

    exit_code: ClassVar[int] = 4


class IntegrityError(SecurePlatformError):
    """Something stored is not what was written: a digest, MAC, signature or proof does not match."""

    exit_code: ClassVar[int] = 5


class ServiceError(SecurePlatformError):
    """A service that keeps keys or secrets cannot be reached, refuses, or lacks what was asked for."""

    exit_code: ClassVar[int] = 7


class StorageError(SecurePlatformError):
    """The disk is full or failing; nothing is said about the data, and nothing half-written counts."""

    exit_code: ClassVar[int] = 6

    @classmethod
    def of(cls, doing: str, reason: str) -> Self:
        """Name what could not be done and what the disk said.

        Args:
            doing: What was being done.
            reason: The operating system's own text.
        """
        return cls(
            f"{doing} could not use the disk: {reason}",
            "Free or repair the disk of the home, then run it again: it goes on where it was.",
        )

    @classmethod
    def behind(cls, doing: str, error: BaseException) -> Self | None:
        """The disk's part in a foreign error, by its error number or text; None when it has none.

        Args:
            doing: What was being done.
            error: The foreign error, with what it was raised from.
        """
        reason = next(filter(None, map(_disk_reason, _chain(error))), None)
        return cls.of(doing, reason) if reason else None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        error = error.__cause__ or error.__context__


def _disk_reason(error: BaseException) -> str | None:
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", 0)
        # An extended code has the kind of error in its lowest byte.
        return _SQLITE.get(code) or _SQLITE.get(code & 0xFF)
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno) if error.errno in _DISK else None
    # Polars and DuckDB quote the operating system, but they quote cells too.
    kinds = {f"{kind.__module__}.{kind.__name__}" for kind in type(error).__mro__}
    told = [f"{os.strerror(number)} (os error {number})" for number in _DISK]
    if not kinds.isdisjoint(_ABOUT_FILES):
        told = [os.strerror(number) for number in _DISK]
    return next((os.strerror(n) for n, text in zip(_DISK, told, strict=True) if text in str(error)), None)


class StepFailedError(SecurePlatformError):
    """A step met an error of a library, whose message is withheld because it may contain data."""

    @classmethod
    def withheld(cls, step: str, error: BaseException) -> Self:
        """Name the class of the foreign error and our code lines it passed, not its message.

        Args:
            step: What was being done.
            error: The foreign error.
        """
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if "secure_platform" in Path(frame.filename).parts] or list(frames)
        lines = ", ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in own[-3:])
        return cls(
            f"{step} failed with {type(error).__name__} at {lines or 'an unknown line'}",
            "Its message is withheld because it may contain data; repeat it on data you may look at.",
        )
