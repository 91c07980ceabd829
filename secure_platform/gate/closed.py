"""A closed release stays closed, because the audit log, which is kept apart and only grows, says so.

Signatures prove that a stored decision was made, but not that none was made after it. If somebody deletes a
rejection from the control database, or sets a withdrawn release back to approved, the log contradicts them;
if they change the log too, its checkpoints do.
"""

from typing import Final

from secure_platform.audit.log import AuditLog
from secure_platform.audit.reader import Entry
from secure_platform.errors import IntegrityError
from secure_platform.gate.records import ReleaseRecord
from secure_platform.gate.states import OPEN, ReleaseState

REGISTERED: Final = "release.register"
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


class Closings:
    """What the log says that closed one release; made before the write lock, so that only news is read in it.

    Args:
        audit: The log.
        digest: The release.
    """

    def __init__(self, audit: AuditLog, digest: str) -> None:
        self._audit = audit
        self._digest = digest
        self._size = audit.size()
        self._known = self._newest(0)

    def require_none(self, record: ReleaseRecord) -> None:
        """Refuse a release that is stored as open although it was closed before.

        Call it in a transaction that holds the write lock, or a decision may be made between record and log.

        Raises:
            IntegrityError: Naming what closed it.
        """
        closing = self._newest(self._size) or self._known
        if closing is None or record.state not in OPEN:
            return
        action = closing.body["action"]
        raise IntegrityError(
            f"{record.title} is stored as {record.state}, but audit entry {closing.seq} records"
            f" {action}{' of a newer one' if action == REGISTERED else ''}, which closed it",
            "Treat the control database as tampered with: restore it from a copy.",
        )

    def _newest(self, start: int) -> Entry | None:
        """The newest entry from `start` on that closed the release, not before its registration."""
        registration = -1
        for entry in self._audit.backwards(self._digest, start):
            if entry.seq <= registration:
                break
            body = entry.body
            if body["phase"] != "done":
                continue
            own = body["subject"] == release_subject(self._digest)
            registered = body["action"] == REGISTERED
            overtaken = registered and self._digest in body["detail"]["superseded"]
            if overtaken or (own and body["action"] in CLOSING):
                return entry
            if own and registered:
                registration = body["intent"]
        return None
