"""The metrics history cannot be edited: each record is sealed, and names the one before it.

A record of a dataset in a zone contains its position in the chain, the seal of the record before, and a MAC
over everything it says. Editing, adding, moving or removing a record breaks the chain. Cutting off the end,
or putting back an earlier state, is noticed by means of the audit log: the last record that it mentions must
exist.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

from sqlalchemy import Connection, select

from secure_platform import canonical
from secure_platform.audit.log import AuditLog
from secure_platform.control.database import as_utc
from secure_platform.control.tables import profile
from secure_platform.errors import IntegrityError
from secure_platform.keys.ring import KeyRing

ACTION: Final = "metrics.record"
SEAL: Final = "seal"
_PURPOSE: Final = "metrics-record"
_UNSEALED: Final = frozenset({"sketches", "seal"})
"""Sketches are sealed by their digest: those of old records are not read."""
_SEALED: Final = tuple(column.name for column in profile.c if column.name not in _UNSEALED)

Place = tuple[str, str, str]
"""Product, dataset and zone."""
Row = Mapping[str, Any]


class Chain:
    """Seals and verifies records.

    Args:
        keys: Authenticate them.
        audit: Witness of which is the last.
    """

    def __init__(self, keys: KeyRing, audit: AuditLog) -> None:
        self._keys = keys
        self._audit = audit

    def sealed(self, connection: Connection, row: Row) -> Row:
        """A new record as the last of its place; the caller holds the write lock."""
        where = [profile.c[name] == row[name] for name in ("product", "dataset", "zone")]
        query = (
            select(profile.c.sequence, profile.c.seal)
            .where(*where, profile.c.seal.is_not(None))
            .order_by(profile.c.sequence.desc())
            .limit(1)
        )
        last = connection.execute(query).first()
        linked = {
            **row,
            "sequence": last.sequence + 1 if last else 1,
            "previous": last.seal if last else None,
            "content": digest(row["sketches"]),
        }
        return {**linked, SEAL: self._keys.mac(_PURPOSE, _message(linked))}

    def require(self, rows: Sequence[Row], *, whole: bool) -> None:
        """Refuse records of a place, newest first, that are not what was written.

        Args:
            rows: Without a gap.
            whole: Whether they begin with the newest, and go on to the first if they are few.

        Raises:
            IntegrityError: Naming the place.
        """
        for row in rows:
            genuine = row[SEAL] and self._keys.verify_mac(_PURPOSE, _message(row), row[SEAL])
            if not genuine or ("sketches" in row and digest(row["sketches"]) != row["content"]):
                raise _tampered(row)
        if not whole:
            return
        for newer, older in pairwise(rows):
            if newer["previous"] != older[SEAL]:
                raise _tampered(newer)

    def require_first(self, row: Row) -> None:
        """Refuse a record that has one before it as the first of its place."""
        if row["previous"] is not None:
            raise _tampered(row)

    def require_newest(self, place: Place, seals: Sequence[str]) -> None:
        """Refuse a history without the last record that the audit log says was written.

        Args:
            place: Whose history.
            seals: Of its newest records.

        Raises:
            IntegrityError: If it is not there.
        """
        subject = subject_of(place)
        for entry in self._audit.backwards(f'"subject":"{subject}"'):
            body = entry.body
            if (body["action"], body["phase"], body["subject"]) == (ACTION, "done", subject):
                if body["detail"][SEAL] not in seals:
                    raise _tampered(dict(zip(("product", "dataset", "zone"), place, strict=True)))
                return


def subject_of(place: Place) -> str:
    """What the audit log calls a place of the history."""
    return "metrics:" + "/".join(place)


def digest(sketches: Any) -> str:
    """Of the sketches of a record."""
    return canonical.sha256(_text(sketches))


def _message(row: Row) -> bytes:
    said = {name: row[name] for name in _SEALED}
    at: datetime = said["recorded_at"]
    return _text(["profile", {**said, "recorded_at": as_utc(at).isoformat()}])


def _text(value: Any) -> bytes:
    """One text for one value; only this code reads it, and 400 records in RFC 8785 take ten times as long."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _tampered(row: Row) -> IntegrityError:
    place = "/".join(row[name] for name in ("product", "zone", "dataset"))
    return IntegrityError(
        f"The metrics history of {place} is not the one that was written",
        "Treat the control database as tampered with: restore it from a copy, and look who can write to it.",
    )
