"""Only our own errors keep their text in Dagster's event log; any other error keeps its class and code lines.

Our errors never contain a data value (see `secure_platform.errors`); a library's message may.
"""

from typing import Any, Final

from dagster import EventLogEntry
from dagster_shared.error import SerializableErrorInfo

from secure_platform import errors

# Dagster stores a message with the full name of its class in front: another library's UsageError is not ours.
OWN_ERRORS: Final = tuple(
    f"{value.__module__}.{name}: "
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, errors.SecurePlatformError)
)
# Their text is a template of step keys and class names; the cause they wrap is redacted on its own.
FRAMEWORK_ERRORS: Final = tuple(
    f"dagster._core.errors.{name}: "
    for name in ("DagsterExecutionStepExecutionError", "DagsterAssetCheckFailedError")
)
REDACTED: Final = "(message withheld: only errors of this platform are known to contain no data)"


def is_own(error: SerializableErrorInfo) -> bool:
    """Whether it is one of this platform's errors, by the full name of its class."""
    return error.message.startswith(OWN_ERRORS)


def redact_entry(entry: EventLogEntry) -> EventLogEntry:
    """The entry with every foreign error message withheld, at any depth."""
    redacted: EventLogEntry = _redacted(entry)
    return redacted


def redact_error(error: SerializableErrorInfo) -> SerializableErrorInfo:
    """The error with its message withheld unless it is ours; its causes likewise."""
    keeps_text = is_own(error) or error.message.startswith(FRAMEWORK_ERRORS)
    return SerializableErrorInfo(
        message=error.message if keeps_text else f"{error.cls_name}: {REDACTED}\n",
        stack=list(error.stack),
        cls_name=error.cls_name,
        cause=redact_error(error.cause) if error.cause else None,
        context=redact_error(error.context) if error.context else None,
    )


def _redacted(value: Any) -> Any:
    """Errors lie in fields of named tuples, which nest: a run's failure carries its step's failure."""
    if isinstance(value, SerializableErrorInfo):
        return redact_error(value)
    names = getattr(value, "_fields", None)
    if names is None:
        return value
    fields = {name: getattr(value, name) for name in names}
    changed = {name: new for name, old in fields.items() if (new := _redacted(old)) is not old}
    return value._replace(**changed) if changed else value
