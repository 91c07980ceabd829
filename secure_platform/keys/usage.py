"""How long and how often a key may make new things: at its limit it makes nothing any more.

A random 96-bit nonce may be drawn 2^32 times under one key (NIST SP 800-38D §8.3). Uses are reserved in
blocks ahead, so that a use costs no commit: what a process that died had reserved counts as used. The count
is sealed by the key itself and made with it: it can be neither made up nor deleted; only an older count that
is put back would not be noticed.
"""

import hmac
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from types import MappingProxyType
from typing import Final

from sqlalchemy import ColumnElement, Connection, insert, select, update

from secure_platform.control.database import ControlDatabase
from secure_platform.control.tables import key_usage
from secure_platform.errors import IntegrityError, UsageError
from secure_platform.keys.catalog import DATA, DIGEST, LOG, MAC, SIGN, SUBJECT, KeyState, StoredKey
from secure_platform.keys.material import NotPickled, hmac_sha256
from secure_platform.keys.opened import OpenedKeys

LIMITS: Final[Mapping[str, int]] = MappingProxyType({DATA: 2**32, SUBJECT: 2**32})
# NIST SP 800-57 part 1 rev. 5 §5.3.6: one to two years to protect, one to three to sign.
# Token and cell keys are rotated when a person decides: it changes values that others have.
ROTATE_AFTER_DAYS: Final[Mapping[str, int]] = MappingProxyType(
    {DATA: 365, SUBJECT: 365, MAC: 730, SIGN: 365, LOG: 730, DIGEST: 730}
)
BLOCK: Final = 256
_DUE_AT: Final = 0.75


@dataclass(frozen=True)
class Due:
    """A key that is to be rotated.

    Attributes:
        version: Its newest version.
        reason: `age` or `use`.
    """

    name: str
    version: int
    reason: str


class KeyUses(NotPickled):
    """Counts what is sealed under each version; usable from several threads and processes at once.

    Args:
        database: Holds the counts.
        opened: Opens the keys, which seal their own counts.
    """

    def __init__(self, database: ControlDatabase, opened: OpenedKeys) -> None:
        self._database = database
        self._opened = opened
        self._left: dict[tuple[int, str, int], int] = {}
        self._lock = Lock()

    def take(self, stored: StoredKey, count: int = 1) -> None:
        """Use a key this often.

        Raises:
            UsageError: If that would be more often than it may be used.
            IntegrityError: If its count was changed or deleted.
        """
        about = stored.about
        # A child of fork must not use again what its parent reserved.
        place = os.getpid(), about.name, about.version
        with self._lock:
            left = self._left.get(place, 0)
            if left < count:
                left += self._reserve(stored, count - left)
            self._left[place] = left - count

    def reserved(self, connection: Connection, stored: StoredKey) -> int:
        """How often it was used at most.

        Raises:
            IntegrityError: If its count was changed or deleted.
        """
        if not _is_counted(stored):
            return 0
        row = connection.execute(select(key_usage).where(_here(stored))).first()
        if row is None or not self._is_sealed(stored, row.reserved, row.seal):
            raise IntegrityError(
                f"The count of uses of {stored.about.title} was changed or deleted",
                "Restore the control database from a copy, or rotate the key.",
            )
        return int(row.reserved)

    def counts(self, keys: Sequence[StoredKey]) -> dict[tuple[str, int], int]:
        """How often each of these versions was used at most, if its uses are limited and it has any left."""
        with self._database.read() as connection:
            return {
                (key.about.name, key.about.version): self.reserved(connection, key)
                for key in keys
                if _is_counted(key) and key.about.state == KeyState.ACTIVE
            }

    def due(
        self, keys: Sequence[StoredKey], now: datetime, rotate_after_days: Mapping[str, int]
    ) -> list[Due]:
        """Those keys that are to be rotated.

        Args:
            keys: All their versions, oldest first.
            now: The present moment.
            rotate_after_days: Kind of key → days, in place of the built-in ones.
        """
        newest = {key.about.name: key for key in keys}
        used = self.counts(list(newest.values()))
        found = []
        for name, key in newest.items():
            old = _is_old(key, now, {**ROTATE_AFTER_DAYS, **rotate_after_days})
            if old or used.get((name, key.about.version), 0) >= LIMITS.get(key.about.kind, 1) * _DUE_AT:
                found.append(Due(name, key.about.version, "age" if old else "use"))
        return found

    def prepare(self, stored: StoredKey) -> None:
        """Open a new version whose uses are counted, before the database is locked."""
        if _is_counted(stored):
            self._opened.derived(stored, "usage")

    def begin(self, connection: Connection, stored: StoredKey) -> None:
        """Start to count the uses of a new version."""
        if _is_counted(stored):
            place = {"name": stored.about.name, "version": stored.about.version}
            seal = self._seal(stored, 0)
            connection.execute(insert(key_usage).values(**place, reserved=0, seal=seal))

    def _reserve(self, stored: StoredKey, count: int) -> int:
        limit = LIMITS[stored.about.kind]
        with self._database.write() as connection:
            reserved = self.reserved(connection, stored)
            taken = min(max(count, BLOCK), limit - reserved)
            if taken < count:
                raise UsageError(
                    f"{stored.about.title} was used {reserved} times, and may be used {limit} times",
                    f"Make a new version: secure-platform keys rotate {stored.about.name}",
                )
            values = {"reserved": reserved + taken, "seal": self._seal(stored, reserved + taken)}
            connection.execute(update(key_usage).where(_here(stored)).values(values))
        return taken

    def _is_sealed(self, stored: StoredKey, reserved: int, seal: object) -> bool:
        # SQLite keeps whatever type was written.
        return hmac.compare_digest(str(seal).encode(), self._seal(stored, reserved).encode())

    def _seal(self, stored: StoredKey, reserved: int) -> str:
        message = f"{stored.about.name}\n{stored.about.version}\n{reserved}".encode()
        return hmac_sha256(self._opened.derived(stored, "usage"), message).hex()


def _is_old(stored: StoredKey, now: datetime, days: Mapping[str, int]) -> bool:
    """Whether the newest version of a key has made new things for long enough."""
    after = days.get(stored.about.kind)
    return after is not None and now - stored.about.created_at >= timedelta(days=after)


def _is_counted(stored: StoredKey) -> bool:
    return stored.about.kind in LIMITS and stored.wrapped is not None


def _here(stored: StoredKey) -> ColumnElement[bool]:
    return (key_usage.c.name == stored.about.name) & (key_usage.c.version == stored.about.version)
