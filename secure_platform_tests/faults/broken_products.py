"""Deliberately wrong products: the harness must see that they break their promises."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from secure_platform.audit.log import JSON, AuditLog
from secure_platform.deploy import shelf


def _in_place(path: Path, data: bytes) -> None:
    """Like `files.replace_private`, but without the file beside and the rename."""
    with path.open("wb") as file:
        file.write(data[: len(data) // 2])
        file.flush()
        os.fsync(file.fileno())
        file.write(data[len(data) // 2 :])


@contextmanager
def _afterwards(
    log: AuditLog, action: str, *, actor: str, subject: str, detail: Mapping[str, JSON] = {}
) -> Iterator[dict[str, JSON]]:
    """Like `AuditLog.effect`, but the intent is written when the effect has happened."""
    outcome: dict[str, JSON] = {}
    yield outcome
    intent = log._append(action, actor, subject, "intent", {"detail": dict(detail)}).seq
    log._append(action, actor, subject, "done", {"intent": intent, "detail": outcome})


def write_in_place() -> None:
    """The pointer of production is overwritten where it lies."""
    vars(shelf)["replace_private"] = _in_place


def announce_afterwards() -> None:
    """Effects come before their intent."""
    setattr(AuditLog, AuditLog.effect.__name__, _afterwards)


SABOTAGE: Mapping[str, Callable[[], None]] = {
    "write_in_place": write_in_place,
    "announce_afterwards": announce_afterwards,
}
