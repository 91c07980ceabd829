"""A version of a key counts only as the audit log recorded it last: who writes to the database changes none.

Every row of `key_version` is sealed by the MAC key, and its seal is announced in the log before it is
written. The MAC key's own rows are sealed by it too: its material is wrapped by the provider, so none can be
made up. Until the log names a first key, the seal alone counts: the keys that open the log come before it.
"""

import hmac
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Any, Final, Protocol

from sqlalchemy import Connection, insert, update

from secure_platform import canonical
from secure_platform.audit.log import JSON, SEALED
from secure_platform.audit.reader import Entry
from secure_platform.audit.seals import SealWitness
from secure_platform.control.database import ControlDatabase
from secure_platform.control.tables import key_version
from secure_platform.control.witness import Kept
from secure_platform.errors import GateRefusedError, IntegrityError
from secure_platform.keys.catalog import MAC, StoredKey, newest, stored_keys
from secure_platform.keys.material import MAC_TEXT, NotPickled, hmac_sha256
from secure_platform.keys.opened import OpenedKeys
from secure_platform.keys.usage import KeyUses

TABLE: Final = "key_version"
_PURPOSE: Final = "mac|key-row"
# An entry of the log has room for a few hundred seals.
_ANNOUNCED_AT_ONCE: Final = 200


class KeyLog(Protocol):
    """What the ring needs of the audit log."""

    def size(self) -> int:
        """Number of entries."""
        ...

    def sealed_keys(self, start: int, end: int) -> Iterator[Entry]:
        """The entries that tell of keys."""
        ...

    def backwards(self, text: str, start: int = 0, stop: int | None = None) -> Iterator[Entry]:
        """The entries in which this text occurs, newest first."""
        ...

    def effect(
        self, action: str, *, actor: str, subject: str, detail: Mapping[str, JSON] = {}
    ) -> AbstractContextManager[dict[str, JSON]]:
        """Record the intent, run the block, record its outcome."""
        ...


class KeyRows(NotPickled):
    """Reads and writes the versions of keys; usable from several threads and processes at once.

    Args:
        database: Holds them.
        log: Witness of which row is the newest.
        opened: Opens the MAC key.
        uses: Begins to count what new versions are used for.
    """

    def __init__(self, database: ControlDatabase, log: KeyLog, opened: OpenedKeys, uses: KeyUses) -> None:
        self._database = database
        self.log = log
        self._opened = opened
        self._uses = uses
        self.witness = SealWitness(log, log.sealed_keys)
        self._kept = Kept[str, Sequence[StoredKey]](database.state)
        self._genuine: dict[tuple[str, int], StoredKey] = {}

    def of(self, name: str) -> Sequence[StoredKey]:
        """Every version of one key, oldest first, each verified and none missing.

        Raises:
            IntegrityError: If one was edited, made up, put back, or deleted.
        """
        return self._kept.get(name, lambda: [row for row in self._read(name) if row.about.name == name])

    def all(self) -> list[StoredKey]:
        """Every version of every key, by name and oldest first, each verified and none missing.

        Raises:
            IntegrityError: If one was edited, made up, put back, or deleted.
        """
        return self._read()

    def write(
        self,
        action: str,
        rows: Sequence[StoredKey],
        *,
        seen: Sequence[StoredKey],
        actor: str,
        subject: str,
        whole: bool = False,
    ) -> None:
        """Announce, write and record new versions and changed ones: all of them or none.

        Args:
            action: Of the audit entries.
            rows: New and changed rows, without their seals.
            seen: Every version of the keys they belong to, as it was read.
            actor: Who changes them.
            subject: Of the audit entries.
            whole: Whether `seen` are all keys there are.

        Raises:
            GateRefusedError: If a key was changed by somebody else since it was read.
        """
        sealing = newest(self.of(MAC), MAC)
        sealed = [self.seal(row, sealing) for row in rows]
        for row in sealed:
            if not _is_among(row, seen):
                self._uses.prepare(row)
        with ExitStack() as effects:
            announced: list[tuple[dict[str, JSON], JSON]] = []
            for part in _parts(sealed):
                names: JSON = {_name(row): row.seal for row in part}
                effect = self.log.effect(action, actor=actor, subject=subject, detail={SEALED: names})
                announced.append((effects.enter_context(effect), names))
            with self._database.write() as connection:
                names_seen = () if whole else {row.about.name for row in [*seen, *sealed]}
                if stored_keys(connection, *names_seen) != list(seen) or (
                    sealing not in stored_keys(connection, MAC)
                ):
                    raise GateRefusedError(
                        "A key was changed by somebody else at the same time",
                        "Look at the keys, and do it again if it is still to be done.",
                    )
                self._write(connection, sealed, seen)
                for outcome, names in announced:
                    outcome[SEALED] = names

    def write_first(self, rows: Sequence[StoredKey]) -> bool:
        """Write the keys that a home begins with, sealed by the MAC key among them; False if it has keys.

        Raises:
            IntegrityError: If no MAC key among them is active.
        """
        sealing = newest([row for row in rows if row.about.name == MAC], MAC)
        sealed = [self.seal(row, sealing) for row in rows]
        for row in sealed:
            self._uses.prepare(row)
        with self._database.write() as connection:
            if stored_keys(connection):
                return False
            self._write(connection, sealed, [])
        return True

    def announce(self, rows: Sequence[StoredKey], *, actor: str) -> None:
        """Record the rows of a fresh home, which were written before the log could be opened."""
        names: JSON = {_name(row): row.seal for row in rows}
        with self.log.effect("key.create", actor=actor, subject="keys", detail={SEALED: names}) as outcome:
            outcome[SEALED] = names

    def is_silent(self) -> bool:
        """Whether the log has never named a key."""
        return self.witness.is_silent(TABLE)

    def seal(self, row: StoredKey, sealing: StoredKey) -> StoredKey:
        """The row with its seal.

        Args:
            row: Any seal in it is replaced.
            sealing: The version of the MAC key that authenticates it.
        """
        tag = hmac_sha256(self._opened.derived(sealing, _PURPOSE), _message(row)).hex()
        return replace(row, seal=f"m{sealing.about.version}:{tag}")

    def _write(self, connection: Connection, rows: Sequence[StoredKey], seen: Sequence[StoredKey]) -> None:
        """Insert the versions that were not seen, and update the others."""
        for row in rows:
            about = row.about
            if _is_among(row, seen):
                here = (key_version.c.name == about.name) & (key_version.c.version == about.version)
                connection.execute(update(key_version).where(here).values(row.row))
            else:
                connection.execute(insert(key_version).values(row.row))
                self._uses.begin(connection, row)

    def _read(self, *names: str) -> list[StoredKey]:
        since = self.witness.seen()
        known = {found for found in self.witness.known(TABLE) if not names or _key_of(found) in names}
        with self._database.read() as connection:
            rows = stored_keys(connection, *({*names, MAC} if names else ()))
        macs = {row.about.version: row for row in rows if row.about.name == MAC}
        for row in rows:
            if not self._is_sealed(row, macs) or not self._counts(row, since):
                raise _tampered(row.about.title)
        if missing := known - {_name(row) for row in rows}:
            raise _tampered(f"The key version {min(missing).partition(':')[2]}")
        for row in rows:
            if not row.about.readable:
                self._opened.forget(row.about.name, row.about.version)
        return rows

    def _is_sealed(self, row: StoredKey, macs: Mapping[int, StoredKey]) -> bool:
        parsed = MAC_TEXT.fullmatch(row.seal)
        sealing = macs.get(int(parsed[1])) if parsed else None
        if sealing is None or not sealing.about.readable:
            return False
        place = row.about.name, row.about.version
        if self._genuine.get(place) != row:
            if not hmac.compare_digest(self.seal(row, sealing).seal, row.seal):
                return False
            self._genuine[place] = row
        return True

    def _counts(self, row: StoredKey, since: int) -> bool:
        return self.witness.counts(_name(row), row.seal, since) or self.is_silent()


def _is_among(row: StoredKey, rows: Sequence[StoredKey]) -> bool:
    return any(
        (row.about.name, row.about.version) == (other.about.name, other.about.version) for other in rows
    )


def _parts(rows: Sequence[StoredKey]) -> Iterator[list[StoredKey]]:
    remaining = iter(rows)
    while part := list(islice(remaining, _ANNOUNCED_AT_ONCE)):
        yield part


def _name(row: StoredKey) -> str:
    """How the log names it."""
    return f"{TABLE}:{row.about.name}/{row.about.version}"


def _key_of(name: str) -> str:
    """The key whose version the log names so."""
    return name.removeprefix(f"{TABLE}:").rpartition("/")[0]


def _message(row: StoredKey) -> bytes:
    said = {name: _plain(value) for name, value in row.row.items() if name != "seal"}
    return canonical.dumps([TABLE, said])


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return value.hex() if isinstance(value, bytes) else value


def _tampered(title: str) -> IntegrityError:
    return IntegrityError(
        f"{title} is not in the control database as the audit log recorded it last",
        "Treat the control database as tampered with: restore it from a copy, and look who can write to it.",
    )
