"""Decisions whose signing key is no longer trusted are signed again, if the audit log knows them.

Whoever has a leaked key could have signed decisions that nobody made. The log recorded the digest of each
decision when it was made. A decision that it does not know is removed; if somebody did make it, they can make
it again.
"""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, select, update

from secure_platform import canonical
from secure_platform.audit.log import JSON, AuditLog
from secure_platform.control.database import ControlDatabase
from secure_platform.control.tables import approval as approval_table
from secure_platform.errors import GateRefusedError
from secure_platform.gate.approvals import stored
from secure_platform.gate.closed import release_subject
from secure_platform.gate.records import ReleaseRecord
from secure_platform.keys.ring import KeyRing
from secure_platform.release.bundle import sign_again, signer_of

RESIGN: Final = "release.decision.resign"


@dataclass(frozen=True)
class Resigned:
    """How many decisions were signed again, and how many were removed."""

    kept: int
    removed: int


def resign(
    database: ControlDatabase,
    keys: KeyRing,
    audit: AuditLog,
    record: ReleaseRecord,
    *,
    leaked: str,
    actor: str,
) -> Resigned:
    """Sign the decisions on one release again.

    Args:
        database: Holds them.
        keys: The key that made them is still readable, another one signs.
        audit: Knows them.
        record: The release.
        leaked: Name of the key that is not believed any more.
        actor: For whom.

    Raises:
        IntegrityError: If a decision is not what was signed, or does not fit the release.
        GateRefusedError: If somebody decides at the same time.
    """
    with database.read() as connection:
        decisions = stored(connection, keys, record, "approve", "reject", "withdraw", "rollback")
    old = [each.bundle for each in decisions if signer_of(each.bundle) == leaked]
    if not old:
        return Resigned(0, 0)
    known = _known(audit, record)
    made = {bundle: sign_again(keys, bundle) for bundle in old if canonical.sha256(bundle) in known}
    unknown = [bundle for bundle in old if bundle not in made]
    digests: list[JSON] = [canonical.sha256(bundle) for bundle in made.values()]
    subject = release_subject(record.digest)
    detail: dict[str, JSON] = {"bundles": digests, "removed": len(unknown)}
    with audit.effect(RESIGN, actor=actor, subject=subject, detail=detail), database.write() as connection:
        present: set[str] = set(connection.execute(select(approval_table.c.bundle)).scalars())
        if not {bundle.decode() for bundle in old} <= present:
            raise GateRefusedError("Somebody decided on a release at the same time", "Do it again.")
        for before, after in made.items():
            row = approval_table.c.bundle == before.decode()
            connection.execute(update(approval_table).where(row).values(bundle=after.decode()))
        for bundle in unknown:
            connection.execute(delete(approval_table).where(approval_table.c.bundle == bundle.decode()))
    return Resigned(len(made), len(unknown))


def _known(audit: AuditLog, record: ReleaseRecord) -> set[str]:
    """Digests of the decisions on a release that the log recorded, also of those that were signed again."""
    found: set[str] = set()
    for entry in audit.backwards(record.digest):
        body = entry.body
        if body["subject"] == release_subject(record.digest):
            detail = body["detail"]
            found |= {detail["bundle"]} if "bundle" in detail and body["phase"] == "done" else set()
            found |= set(detail["bundles"]) if body["action"] == RESIGN and "bundles" in detail else set()
    return found
