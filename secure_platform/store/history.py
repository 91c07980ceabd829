"""HEAD is believed only while the audit log knows of no later one.

HEAD's MAC proves that we wrote it, not that it is the newest. Every change of HEAD is announced in the log
before it happens and recorded after, so HEAD cannot be what it was before a change that began when its own
was over. A change without an outcome was killed or is under way: it counts until one that began after it is
done. Both questions are answered by the newest entries.
"""

from collections.abc import Iterator
from typing import Final

from secure_platform.audit.log import AuditLog
from secure_platform.audit.reader import Entry
from secure_platform.store.location import Location

WRITTEN: Final = "snapshot.write"
CHOSEN: Final = "snapshot.head"


def newest(audit: AuditLog, location: Location, snapshot_id: str | None) -> bool:
    """Whether this may be what HEAD names; None stands for no HEAD at all.

    Read HEAD again when it may not: a change that ends between the two looks as if an older one was put back.
    """
    latest = -1
    for entry in _changes(audit, location):
        if entry.seq <= latest:
            return False
        if entry.body["phase"] == "done":
            latest = max(latest, entry.body["intent"])
        # A change without an outcome may have moved HEAD, and so may one that failed.
        if entry.body["subject"] == f"{location}/{snapshot_id}":
            return True
    return snapshot_id is None and latest < 0


def settled(audit: AuditLog, location: Location, snapshot_id: str) -> bool:
    """Whether the last word of the log is that HEAD names this snapshot."""
    last = next(_changes(audit, location), None)
    return (
        last is not None
        and last.body["phase"] == "done"
        and last.body["subject"] == f"{location}/{snapshot_id}"
    )


def _changes(audit: AuditLog, location: Location) -> Iterator[Entry]:
    """Intents and outcomes of changes of this HEAD, newest first."""
    for entry in audit.backwards(f'"subject":"{location}/'):
        place = entry.body["subject"].rpartition("/")[0]
        if entry.body["action"] in {WRITTEN, CHOSEN} and place == str(location):
            yield entry
