"""The stored releases; one past its lifetime is read as expired, whether or not that is recorded yet."""

import re
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, insert, select, update

from secure_platform.control.database import as_utc
from secure_platform.control.tables import release as release_table
from secure_platform.errors import GateRefusedError, IntegrityError, UsageError
from secure_platform.gate.states import OPEN, OVERTAKEN, TRANSITIONS, ReleaseState

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class ReleaseRecord:
    """A release as the gate knows it.

    Attributes:
        digest: SHA-256 of its manifest.
        base: Digest of the release that was in production when this one was built, None for the first one.
        classification: Label of the highest classification in its tables.
        requested_by: Name of the principal it was built for.
        input_key: What it was made from; the same key means that nothing changed.
        approver_groups: Who may approve it, as its contracts say; empty for every steward.
        second_approver_groups: Of whom one must approve it besides; empty if one level is enough.
        expires_at: When it can no longer be approved or deployed.
        decided_at: When it was approved, None if it never was.
    """

    digest: str
    product: str
    number: int
    environment: str
    state: ReleaseState
    base: str | None
    classification: str
    requested_by: str
    run_id: str
    input_key: str
    approver_groups: tuple[str, ...]
    created_at: datetime
    expires_at: datetime
    decided_at: datetime | None
    second_approver_groups: tuple[str, ...] = ()

    @property
    def levels(self) -> tuple[frozenset[str], ...]:
        """The levels of approvers that its contracts name."""
        return tuple(frozenset(g) for g in (self.approver_groups, self.second_approver_groups) if g)

    @property
    def title(self) -> str:
        """How messages call it."""
        return f"Release {self.number} of {self.product}"


def load(connection: Connection, digest: str, now: datetime) -> ReleaseRecord:
    """The release with this digest.

    Raises:
        GateRefusedError: If none is registered.
    """
    found = select_records(connection, now, release_table.c.digest == digest)
    if not found:
        raise GateRefusedError(
            f"No release with the digest {digest} is registered", "See: secure-platform release list"
        )
    return found[0]


def select_records(connection: Connection, now: datetime, *where: Any) -> list[ReleaseRecord]:
    """The releases that fit, oldest first."""
    query = select(release_table).where(*where).order_by(release_table.c.product, release_table.c.number)
    return [_record(row, now) for row in connection.execute(query)]


def add(connection: Connection, record: ReleaseRecord) -> None:
    """Store a new release."""
    values = {field.name: getattr(record, field.name) for field in fields(record)}
    connection.execute(insert(release_table).values(**values))


def move(
    connection: Connection, record: ReleaseRecord, state: ReleaseState, *, decided_at: datetime | None = None
) -> ReleaseRecord:
    """Write the release's new state, which `require_transition` has allowed, and return it."""
    moved = replace(record, state=state, decided_at=decided_at or record.decided_at)
    connection.execute(
        update(release_table)
        .where(release_table.c.digest == record.digest)
        .values(state=moved.state, decided_at=moved.decided_at)
    )
    return moved


def require_transition(record: ReleaseRecord, state: ReleaseState) -> None:
    """Refuse what the table of transitions does not have.

    Raises:
        GateRefusedError: Naming the release and the state it is in.
    """
    never_approved = record.state in OVERTAKEN and record.decided_at is None
    if state not in TRANSITIONS[record.state] or never_approved:
        raise GateRefusedError(
            f"{record.title} is {record.state} and cannot become {state}",
            f"See its state: secure-platform release show {record.product} {record.number}",
        )


def require_digest(digest: str) -> None:
    """Refuse what is not a SHA-256 digest before it goes anywhere.

    Raises:
        UsageError: If it is not `sha256:<64 hex digits>`.
    """
    if not _DIGEST.fullmatch(digest):
        raise UsageError("A release is named by `sha256:<64 hex digits>`", "Copy it from the release list.")


def _record(row: Any, now: datetime) -> ReleaseRecord:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's documented access to a row by name
    for name in ("created_at", "expires_at", "decided_at"):
        values[name] = None if values[name] is None else as_utc(values[name])
    for name in ("approver_groups", "second_approver_groups"):
        values[name] = tuple(values[name])
    try:
        values["state"] = ReleaseState(values["state"])
    except ValueError:
        raise IntegrityError(
            "A release has a state that does not exist", "Restore the control database from a copy."
        ) from None
    if values["state"] in OPEN and values["expires_at"] <= now:
        values["state"] = ReleaseState.EXPIRED
    return ReleaseRecord(**values)
