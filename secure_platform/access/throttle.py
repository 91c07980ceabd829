"""Guessing gets slower with every wrong guess: per person and address, per address, and per person.

An attempt is counted before it is judged, so that many at once gain nothing, and taken back when it was
right. Guesses from elsewhere never hold up a person at an address where they were logged in before, so that
nobody can lock somebody else out. Names that do not exist are treated like those that do.
"""

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar

from sqlalchemy import Connection, delete, insert, select, update

from secure_platform.audit.log import AuditLog
from secure_platform.control.database import ControlDatabase, as_utc, utc_now
from secure_platform.control.tables import login_attempt
from secure_platform.control.tables import session as session_table
from secure_platform.errors import AccessDeniedError

FORGOTTEN_AFTER: Final = timedelta(days=1)
_NETWORK_BITS: Final = 64
_FASTEST: Final = 30
Proven = TypeVar("Proven")


class LoginRefusedError(AccessDeniedError):
    """Who wanted to log in did not prove who they are; it never says what was wrong."""


class TooManyAttemptsError(LoginRefusedError):
    """Too many wrong attempts.

    Args:
        wait: Until when the next one is judged.
    """

    def __init__(self, wait: timedelta) -> None:
        self.seconds = max(1, int(wait.total_seconds()) + 1)
        super().__init__("Too many attempts failed", f"Try again in {self.seconds} seconds.")


@dataclass(frozen=True)
class Limit:
    """How many wrong attempts are free, and how long the wait after the next ones doubles up to."""

    free: int
    longest: timedelta

    def wait(self, failures: int) -> timedelta:
        """How long after so many wrong attempts the next one is judged."""
        beyond = min(failures - self.free, _FASTEST)
        return min(timedelta(seconds=2**beyond), self.longest) if beyond > 0 else timedelta()


PERSON_AT_ADDRESS: Final = Limit(5, timedelta(minutes=15))
ADDRESS: Final = Limit(100, timedelta(minutes=5))
PERSON: Final = Limit(30, timedelta(minutes=15))


@dataclass(frozen=True)
class _Counter:
    key: str
    limit: Limit
    is_personal: bool


class Throttle:
    """Counts the wrong attempts of one home.

    Args:
        database: Holds the counts, under keyed hashes of names and addresses.
        audit: Where refusals are recorded, and what hashes names.
        clock: The present moment, aware.
    """

    def __init__(
        self, database: ControlDatabase, audit: AuditLog, *, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock

    def guard(
        self, kind: str, name: str | None, address: str | None, prove: Callable[[], Proven | None]
    ) -> Proven:
        """What `prove` finds out, if the next attempt may be judged and is right.

        Args:
            kind: What is attempted, for the record, such as `login`.
            name: Who they say they are; None if that is not known.
            address: IP address they come from.
            prove: Judges; None means wrong.

        Raises:
            TooManyAttemptsError: If too many failed before; it is not judged then.
            LoginRefusedError: If it was wrong.
        """
        counters = self._counters(name, address)
        self._count(counters)
        proven = prove()
        if proven is None:
            self._audit.append(
                "login.refuse",
                actor=name or "anonymous",
                subject=kind,
                detail={"address": self._audit.identify(address or "")},
            )
            raise LoginRefusedError("This login is not right", "Check what you typed, and try again.")
        self._take_back(counters)
        return proven

    def require_free(self, kind: str, address: str | None) -> None:
        """Judge nothing more from an address that was wrong too often; for what cannot be guessed anyhow.

        Raises:
            TooManyAttemptsError: If it was.
        """
        with self._database.read() as connection:
            wait = self._wait(connection, self._key(kind, _network(address)), self._clock())
        if wait > timedelta():
            raise TooManyAttemptsError(wait)

    def note_wrong(self, kind: str, address: str | None) -> None:
        """Count a wrong attempt from an address."""
        counter = _Counter(self._key(kind, _network(address)), ADDRESS, is_personal=False)
        with self._database.write() as connection:
            _add(connection, counter, self._clock())

    def _counters(self, name: str | None, address: str | None) -> Sequence[_Counter]:
        network = _network(address)
        counters = [_Counter(self._key("address", network), ADDRESS, is_personal=False)]
        if name is not None:
            both = self._key("person at address", f"{name} {network}")
            counters.append(_Counter(both, PERSON_AT_ADDRESS, is_personal=True))
            if not self._was_logged_in(name, address):
                counters.append(_Counter(self._key("person", name), PERSON, is_personal=True))
        return counters

    def _was_logged_in(self, name: str, address: str | None) -> bool:
        here = (session_table.c.principal == name, session_table.c.address == address)
        with self._database.read() as connection:
            return (
                connection.execute(select(session_table.c.session_id).where(*here).limit(1)).first()
                is not None
            )

    def _key(self, kind: str, value: str) -> str:
        return self._audit.identify(f"{kind} {value}")

    def _count(self, counters: Sequence[_Counter]) -> None:
        now = self._clock()
        with self._database.write() as connection:
            connection.execute(delete(login_attempt).where(login_attempt.c.since < now - FORGOTTEN_AFTER))
            waits = [self._wait(connection, counter.key, now) for counter in counters]
            if max(waits) > timedelta():
                raise TooManyAttemptsError(max(waits))
            for counter in counters:
                _add(connection, counter, now)

    def _wait(self, connection: Connection, key: str, now: datetime) -> timedelta:
        locked = connection.execute(
            select(login_attempt.c.locked_until).where(login_attempt.c.key == key)
        ).scalar()
        return timedelta() if locked is None else as_utc(locked) - now

    def _take_back(self, counters: Sequence[_Counter]) -> None:
        """What was counted for the person is forgotten; of the address only this attempt."""
        with self._database.write() as connection:
            for counter in counters:
                mine = login_attempt.c.key == counter.key
                if counter.is_personal:
                    connection.execute(delete(login_attempt).where(mine))
                else:
                    fewer = {"failures": login_attempt.c.failures - 1, "locked_until": None}
                    connection.execute(update(login_attempt).where(mine).values(fewer))


def _add(connection: Connection, counter: _Counter, now: datetime) -> None:
    mine = login_attempt.c.key == counter.key
    failures = connection.execute(select(login_attempt.c.failures).where(mine)).scalar()
    if failures is None:
        connection.execute(insert(login_attempt).values(key=counter.key, failures=0, since=now))
    counted = (failures or 0) + 1
    wait = counter.limit.wait(counted)
    values = {"failures": counted, "since": now, "locked_until": now + wait if wait else None}
    connection.execute(update(login_attempt).where(mine).values(values))


def _network(address: str | None) -> str:
    """The address, or the network of an IPv6 one: a person has a whole network of those."""
    try:
        known = ipaddress.ip_address(address or "")
    except ValueError:
        return "unknown"
    if isinstance(known, ipaddress.IPv6Address):
        mapped = known.ipv4_mapped
        return str(mapped or ipaddress.ip_network((known, _NETWORK_BITS), strict=False))
    return str(known)
