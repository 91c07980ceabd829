"""Every error names the culprit and the fix, never contains a data value, and carries its exit code.

Exit codes: 2 usage, 3 data or contract refused, 4 gate refused, 5 integrity.
An error that wraps a library's error is raised `from None` when the library's text may hold data values.
"""

import traceback
from pathlib import Path
from typing import ClassVar, Self


class SecurePlatformError(Exception):
    """Base of all errors a user can meet.

    Args:
        culprit: What is wrong and where (dataset, column, file, release), without any data value.
        fix: What the reader can do about it, as an imperative sentence.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, culprit: str, fix: str) -> None:
        super().__init__(culprit, fix)
        self.culprit = culprit
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.culprit.rstrip('.')}. {self.fix}"


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


class AccessDeniedError(SecurePlatformError):
    """The policy does not allow this principal this action."""

    exit_code: ClassVar[int] = 4


class IntegrityError(SecurePlatformError):
    """Something stored is not what was written: a digest, MAC, signature or proof does not match."""

    exit_code: ClassVar[int] = 5


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
