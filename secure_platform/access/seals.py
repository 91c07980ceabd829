"""A row of the control database counts only while it is the one that the audit log recorded last.

Each row that says who somebody is or what they may do carries a MAC over all that it says: who can write to
the database cannot make one up. An older row, put back, still has its MAC: so every change announces the MAC
of the new row in the audit log before it is written, and a row with another one is refused. After a crash
between the two, the announced row and the one before it both count until the next change.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Any, Final, TypeAlias

from sqlalchemy import Connection, Table, insert, select, update

from secure_platform import canonical
from secure_platform.audit.log import JSON, AuditLog
from secure_platform.control.database import ControlDatabase, as_utc
from secure_platform.control.tables import session as session_table
from secure_platform.errors import GateRefusedError, IntegrityError
from secure_platform.keys.ring import KeyRing

Row: TypeAlias = Mapping[str, Any]

_PURPOSE: Final = "control-row"
_MARK: Final = '"sealed":'
_SETTLED: Final = -1
# What changes with every request is neither sealed nor recorded.
_UNSEALED: Final = {session_table.c.seen_at}


@dataclass(frozen=True)
class Change:
    """A new row, or a row in place of another.

    Attributes:
        before: The row as it was read; None for a new one.
        after: Every column of the new row but its seal.
    """

    table: Table
    before: Row | None
    after: Row


class SealedRows:
    """Reads and writes rows that count; usable from several threads and processes at once.

    Args:
        database: Holds the rows.
        keys: Authenticate them.
        audit: Witness of which row is the newest.
    """

    def __init__(self, database: ControlDatabase, keys: KeyRing, audit: AuditLog) -> None:
        self._database = database
        self._keys = keys
        self._audit = audit
        self._read_up_to = 0
        self._recorded: dict[str, dict[str, int]] = {}
        self._lock = Lock()

    def write(
        self,
        action: str,
        changes: Sequence[Change],
        *,
        actor: str,
        subject: str,
        detail: Mapping[str, JSON] = {},
        check: Callable[[Connection], None] = lambda _: None,
    ) -> None:
        """Announce, write and record the changes: all of them or none.

        Args:
            action: Of the audit entries.
            changes: The rows.
            actor: Who changes them.
            subject: Of the audit entries.
            detail: Of the audit entries.
            check: Called in the transaction before anything is written; what it raises stops the change.

        Raises:
            GateRefusedError: If a row was changed by somebody else since it was read.
        """
        rows = [self._sealed(change) for change in changes]
        names: dict[str, JSON] = {
            self._name(change.table, row): row["seal"] for change, row in zip(changes, rows, strict=True)
        }
        with (
            self._audit.effect(
                action, actor=actor, subject=subject, detail={**detail, "sealed": names}
            ) as outcome,
            self._database.write() as connection,
        ):
            check(connection)
            for change, row in zip(changes, rows, strict=True):
                _write(connection, change, row)
            outcome["sealed"] = names

    def read(self, connection: Connection, table: Table, *where: Any) -> list[Row]:
        """The rows that fit, each verified, by their primary key.

        Raises:
            IntegrityError: If one was edited, made up, or put back.
        """
        query = select(table).where(*where).order_by(*table.primary_key.columns)
        rows: list[Row] = [dict(row._mapping) for row in connection.execute(query)]  # noqa: SLF001 - SQLAlchemy's documented access to a row by name
        for row in rows:
            self._require(table, row)
        return rows

    def require_all(self, table: Table, rows: Sequence[Row]) -> None:
        """Refuse to go on when the log knows rows of this table that are not among these.

        Raises:
            IntegrityError: If a row was deleted: none of these tables' rows ever is.
        """
        present = {self._name(table, row) for row in rows}
        with self._lock:
            self._catch_up()
            known = {
                name
                for name, seals in self._recorded.items()
                if name.startswith(f"{table.name}:") and _SETTLED in seals.values()
            }
        if known - present:
            raise _tampered(table)

    def _require(self, table: Table, row: Row) -> None:
        genuine = self._keys.verify_mac(_PURPOSE, _message(table, row), row["seal"])
        if not genuine or not self._is_newest(self._name(table, row), row["seal"]):
            raise _tampered(table)

    def _is_newest(self, name: str, seal: str) -> bool:
        with self._lock:
            self._catch_up()
            intent = self._recorded.get(name, {}).get(seal)
        return intent is not None and (intent == _SETTLED or not self._failed(intent))

    def _catch_up(self) -> None:
        """Read what was recorded since the last look: an outcome settles a row, an intent adds to it."""
        size = self._audit.size()
        if size == self._read_up_to:
            return
        for entry in reversed(list(self._audit.backwards(_MARK, self._read_up_to))):
            for name, seal in entry.body["detail"].get("sealed", {}).items():
                if entry.body["phase"] == "intent":
                    self._recorded.setdefault(name, {})[seal] = entry.seq
                else:
                    self._recorded[name] = {seal: _SETTLED}
        self._read_up_to = size

    def _failed(self, intent: int) -> bool:
        return any(
            entry.body["phase"] == "failed" and entry.body["intent"] == intent
            for entry in self._audit.backwards(f'"intent":{intent},', intent)
        )

    def _sealed(self, change: Change) -> Row:
        message = _message(change.table, change.after)
        return {**change.after, "seal": self._keys.mac(_PURPOSE, message)}

    def _name(self, table: Table, row: Row) -> str:
        """How the log names a row: a person's name is there as its keyed hash only."""
        (key,) = table.primary_key.columns
        return f"{table.name}:{self._audit.identify(str(row[key.name]))}"


def _write(connection: Connection, change: Change, row: Row) -> None:
    if change.before is None:
        connection.execute(insert(change.table).values(**row))
        return
    (key,) = change.table.primary_key.columns
    where = (key == row[key.name], change.table.c.seal == change.before["seal"])
    if connection.execute(update(change.table).where(*where).values(**row)).rowcount != 1:
        raise GateRefusedError(
            f"A row of {change.table.name} was changed by somebody else at the same time", "Do it again."
        )


def _message(table: Table, row: Row) -> bytes:
    said = {
        column.name: _plain(row[column.name])
        for column in table.columns
        if column.name != "seal" and column not in _UNSEALED
    }
    return canonical.dumps([table.name, said])


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return as_utc(value).isoformat()
    return value.hex() if isinstance(value, bytes) else value


def _tampered(table: Table) -> IntegrityError:
    return IntegrityError(
        f"A row of {table.name} in the control database is not the one that was recorded last",
        "Treat the control database as tampered with: restore it from a copy, and look who can write to it.",
    )
