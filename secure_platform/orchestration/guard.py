"""What leaves a step, sensor or schedule as an exception is one of our errors, without a cause or context.

Dagster stores the text of exceptions and of everything they were raised from, and prints sensor errors;
a library's message may hold a data value, ours never does.
"""

from collections.abc import Callable
from typing import TypeVar

from secure_platform.errors import SecurePlatformError, StepFailedError, StorageError

Result = TypeVar("Result")


def value_free(step: str, action: Callable[[], Result]) -> Result:
    """Do something and let only our own errors out.

    Args:
        step: What is being done, for the error.
        action: Does it.

    Raises:
        StorageError: In place of a foreign exception that the disk is the reason of.
        StepFailedError: In place of any other; it names the exception's class and code lines.
    """
    failure: SecurePlatformError
    try:
        return action()
    except SecurePlatformError as error:
        failure = error
    except Exception as error:  # noqa: BLE001 - see the module's rule
        failure = StorageError.behind(step, error) or StepFailedError.withheld(step, error)
    # Raised outside the handlers: inside, Python would attach the foreign exception as context.
    failure.__cause__ = None
    failure.__context__ = None
    raise failure.with_traceback(None)
