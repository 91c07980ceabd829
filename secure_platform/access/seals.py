"""A row of the control database counts only while it is the one that the audit log recorded last.

Each row that says who somebody is or what they may do carries a MAC over all that it says: who can write to
the database cannot make one up. An older row, put back, still has its MAC: so every change announces the MAC
of the new row in the audit log before it is written, and a row with another one is refused. After a crash
between the two, the announced row and the one before it both count until the next change.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self, TypeAlias

from sqlalchemy import Connection, Table, insert, select, update

from secure_platform import canonical
from secure_platform.audit.log import JSON, SEALED, AuditLog
from secure_platform.audit.seals import SealWitness
from secure_platform.control.database import ControlDatabase, as_utc
from secure_platform.control.tables import session as session_table
from secure_platform.control.witness import Kept
from secure_platform.errors import GateRefusedError, IntegrityError
from secure_platform.keys.ring import KeyRing

Row: TypeAlias = Mapping[str, Any]

_PURPOSE: Final = "control-row"
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

    @classmethod
    def of(cls, table: Table, row: Row, **values: object) -> Self:
        """The same row with other values in these columns."""
        return cls(table, row, {**{name: row[name] for name in row if name != "seal"}, **values})


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
        self._witness = SealWitness(audit, audit.sealed)
        self._whole: dict[str, tuple[int, list[Row]]] = {}
        self._kept = Kept[tuple[str, str], tuple[str, Row] | None](database.state)

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
        self._witness.seen()
        names: dict[str, JSON] = {
            self._name(change.table, row): row["seal"] for change, row in zip(changes, rows, strict=True)
        }
        with (
            self._audit.effect(
                action, actor=actor, subject=subject, detail={**detail, SEALED: names}
            ) as outcome,
            self._database.write() as connection,
        ):
            check(connection)
            for change, row in zip(changes, rows, strict=True):
                _write(connection, change, row)
                known = self._witness.was_known(self._name(change.table, row), self._witness.seen())
                if change.before is None and known:
                    raise _tampered(change.table)
            outcome[SEALED] = names

    def read(self, connection: Connection, table: Table, *where: Any) -> list[Row]:
        """The rows that fit, each verified, by their primary key.

        Raises:
            IntegrityError: If one was edited, made up, or put back.
        """
        since = self._witness.seen()
        query = select(table).where(*where).order_by(*table.primary_key.columns)
        rows: list[Row] = [dict(row._mapping) for row in connection.execute(query)]  # noqa: SLF001 - SQLAlchemy's documented access to a row by name
        for row in rows:
            genuine = self._keys.verify_mac(_PURPOSE, _message(table, row), str(row["seal"]))
            if not genuine or not self._witness.counts(self._name(table, row), row["seal"], since):
                raise _tampered(table)
        return rows

    def one(self, table: Table, key: str) -> Row | None:
        """The row of this key, verified; None if there never was one.

        It is read and its seal computed again when anything in the database has changed; whether the log
        still knows it as the newest is asked always.

        Raises:
            IntegrityError: If it was edited, made up, put back, or deleted: none of these rows ever is.
        """
        since = self._witness.seen()
        found = self._kept.get((table.name, key), lambda: self._found(table, key))
        if found is None:
            if self._witness.was_known(self._name_of(table, key), since):
                raise _tampered(table)
            return None
        name, row = found
        if not self._witness.counts(name, row["seal"], since):
            raise _tampered(table)
        return row

    def whole(self, connection: Connection, table: Table) -> list[Row]:
        """Every row of a table as it is now, each verified and none missing.

        Raises:
            IntegrityError: If one was edited, made up, put back, or deleted: none of these rows ever is.
        """
        # What the log knows is looked up first: a row that is added meanwhile is not missed.
        known = self._witness.known(table.name)
        rows = self.read(connection, table)
        if known - {self._name(table, row) for row in rows}:
            raise _tampered(table)
        return rows

    def all(self, table: Table) -> Sequence[Row]:
        """Every row of a table, each verified and none missing; read again only when one was changed.

        Raises:
            IntegrityError: If one was edited, made up, put back, or deleted: none of these rows ever is.
        """
        changes, kept = self._witness.changes(table.name), self._whole.get(table.name)
        if kept is not None and kept[0] == changes:
            return kept[1]
        with self._database.read() as connection:
            rows = self.whole(connection, table)
        if not self._witness.is_changing(table.name):
            self._whole[table.name] = changes, rows
        return rows

    def require_genuine(self, table: Table) -> None:
        """Look at every row of a table as it is now, whatever was read before.

        Raises:
            IntegrityError: As `all`.
        """
        with self._database.read() as connection:
            self.whole(connection, table)

    def pseudonym(self, name: str) -> str:
        """How the log calls a principal."""
        return self._audit.identify(name)

    def _found(self, table: Table, key: str) -> tuple[str, Row] | None:
        """The row of this key, verified, with its name in the log."""
        (column,) = table.primary_key.columns
        with self._database.read() as connection:
            rows = self.read(connection, table, column == key)
        return (self._name_of(table, key), rows[0]) if rows else None

    def _sealed(self, change: Change) -> Row:
        message = _message(change.table, change.after)
        return {**change.after, "seal": self._keys.mac(_PURPOSE, message)}

    def _name(self, table: Table, row: Row) -> str:
        (key,) = table.primary_key.columns
        return self._name_of(table, str(row[key.name]))

    def _name_of(self, table: Table, key: str) -> str:
        """How the log names a row: a person's name is there as its keyed hash only, of when it was new."""
        return self._witness.name_in_use([f"{table.name}:{each}" for each in self._keys.identifiers(key)])


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
