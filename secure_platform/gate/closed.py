"""What closed a release stays closed: the audit log tells, which lies elsewhere and only grows.

Signatures prove that a stored decision was made, not that none was made after it. Whoever deletes a rejection
from the control database, or sets a withdrawn release back to approved, is contradicted by the log; whoever
changes the log too, by its checkpoints.
"""

from typing import Final

from secure_platform.audit.log import AuditLog
from secure_platform.errors import IntegrityError
from secure_platform.gate.records import ReleaseRecord
from secure_platform.gate.states import OPEN, ReleaseState

SUPERSEDED_BY: Final = "release.register"
CLOSING: Final = frozenset(
    {
        "release.reject",
        "release.withdraw",
        "release.expire",
        f"release.{ReleaseState.DEPLOYED}",
        f"release.{ReleaseState.ROLLED_BACK}",
    }
)


def release_subject(digest: str) -> str:
    """What the audit log calls a release."""
    return f"release:{digest}"


def require_never_closed(audit: AuditLog, record: ReleaseRecord) -> None:
    """Refuse a release that is stored as open although it was closed before.

    Call it in a transaction that holds the write lock, or a decision may be made between record and log.

    Raises:
        IntegrityError: Naming what closed it.
    """
    if record.state not in OPEN:
        return
    for entry in audit.mentioning(record.digest):
        body = entry.body
        if body["phase"] != "done":
            continue
        closed = body["action"] in CLOSING and body["subject"] == release_subject(record.digest)
        overtaken = body["action"] == SUPERSEDED_BY and record.digest in body["detail"]["superseded"]
        if closed or overtaken:
            raise IntegrityError(
                f"{record.title} is stored as {record.state}, but audit entry {entry.seq} records"
                f" {body['action']}{' of a newer one' if overtaken else ''}, which closed it",
                "Treat the control database as tampered with: restore it from a copy.",
            )
