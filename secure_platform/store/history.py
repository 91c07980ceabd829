"""HEAD is believed only while the audit log knows of no later one.

HEAD's MAC proves that we wrote it, not that it is the newest. Every change of HEAD is announced in the log
before it happens and recorded after, so HEAD cannot be what it was before a change that began when its own
was over.
"""

from typing import Final

from secure_platform.audit.log import AuditLog
from secure_platform.store.location import Location

WRITTEN: Final = "snapshot.write"
CHOSEN: Final = "snapshot.head"


def newest(audit: AuditLog, location: Location, snapshot_id: str | None) -> bool:
    """Whether this may be what HEAD names; None stands for no HEAD at all.

    Read HEAD again when it may not: a change that ends between the two looks as if an older one was put back.
    """
    begun: dict[int, str] = {}
    over: dict[int, int] = {}
    done: set[int] = set()
    for entry in audit.mentioning(f'"subject":"{location}/'):
        body = entry.body
        if body["action"] not in {WRITTEN, CHOSEN}:
            continue
        if body["phase"] == "intent":
            begun[entry.seq] = body["subject"].rpartition("/")[2]
            continue
        over[body["intent"]] = entry.seq
        if body["phase"] == "done":
            done.add(body["intent"])
    # A change without an outcome may be under way, and one that failed may have moved HEAD.
    ours = [over.get(seq) for seq, name in begun.items() if name == snapshot_id]
    return None in ours or max(done, default=-1) <= max((end for end in ours if end is not None), default=-1)
