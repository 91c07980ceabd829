"""A session is one login of one person in one browser; it ends when idle, when old, or when revoked.

The cookie holds a random secret of 256 bits; only its SHA-256 is kept. A login always makes a new session, so
that nobody can be made to use one that somebody else knows (fixation), and a second factor is proven per
session. Timeouts: NIST SP 800-63B §7.2 (AAL2: 30 minutes idle, 12 hours in all).
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import update

from secure_platform.access.circumstances import Circumstances, Method
from secure_platform.access.principals import Principal, Principals
from secure_platform.access.seals import Change, Row, SealedRows
from secure_platform.audit.log import AuditLog
from secure_platform.control.database import ControlDatabase, as_utc, utc_now
from secure_platform.control.tables import session as session_table
from secure_platform.errors import UsageError
from secure_platform.keys.material import NotPickled

IDLE: Final = timedelta(minutes=30)
ABSOLUTE: Final = timedelta(hours=12)
SEEN_EVERY: Final = timedelta(minutes=1)
_SECRET: Final = re.compile(r"sps_([0-9a-f]{32})_[A-Za-z0-9_-]{43}")
_CLIENT_CHARACTERS: Final = 255


@dataclass(frozen=True)
class Session:
    """A login.

    Attributes:
        session_id: Names it, e.g. to revoke it; not secret.
        principal: Name of who logged in.
        method: How they proved who they are.
        address: IP address they logged in from.
        client: What their browser calls itself.
        mfa_at: When a second factor was last proven, None if never.
        seen_at: About when it was last used, to the minute.
    """

    session_id: str
    principal: str
    method: Method
    address: str | None
    client: str
    created_at: datetime
    expires_at: datetime
    mfa_at: datetime | None
    seen_at: datetime


@dataclass(frozen=True)
class OpenedSession(NotPickled):
    """A new session with the secret for its cookie, which exists nowhere else."""

    session: Session
    secret: str = field(repr=False)


class Sessions:
    """The sessions of one home.

    Args:
        database: Holds them.
        audit: Where they are recorded.
        rows: Reads and writes them.
        principals: Who they belong to.
        idle: How long a session lives without being used.
        absolute: How long it lives in all.
        clock: The present moment, aware.
    """

    def __init__(
        self,
        database: ControlDatabase,
        audit: AuditLog,
        rows: SealedRows,
        principals: Principals,
        *,
        idle: timedelta = IDLE,
        absolute: timedelta = ABSOLUTE,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._audit = audit
        self._rows = rows
        self._principals = principals
        self._idle = idle
        self._absolute = absolute
        self._clock = clock

    def open(
        self,
        principal: Principal,
        *,
        method: Method,
        address: str | None,
        client: str = "",
        mfa_at: datetime | None = None,
    ) -> OpenedSession:
        """Log a principal in, who has just proven who they are.

        Args:
            principal: Who.
            method: How they proved it.
            address: IP address they come from.
            client: What their browser calls itself.
            mfa_at: When they proved a second factor, if they did.
        """
        session_id, now = secrets.token_hex(16), self._clock()
        secret = _new_secret(session_id)
        row = {
            "session_id": session_id,
            "principal": principal.name,
            "secret_hash": _hash(secret),
            "method": method,
            "address": address,
            "client": client[:_CLIENT_CHARACTERS],
            "created_at": now,
            "expires_at": now + self._absolute,
            "mfa_at": mfa_at,
            "seen_at": now,
            "revoked_at": None,
        }
        self._rows.write(
            "session.open",
            [Change(session_table, None, row)],
            actor=principal.name,
            subject=f"session:{session_id}",
            detail={"method": method, "mfa": mfa_at is not None},
        )
        return OpenedSession(_session(row), secret)

    def authenticate(self, secret: str) -> tuple[Principal, Session] | None:
        """The active principal whose session this is, as they come; None if it is no session that lives.

        Raises:
            IntegrityError: If its row or its principal's is not the one that was recorded last.
        """
        parsed = _SECRET.fullmatch(secret)
        row = None if parsed is None else self._row(parsed[1])
        stored = bytes(32) if row is None else row["secret_hash"]
        if not hmac.compare_digest(_hash(secret), stored) or row is None or not self._lives(row):
            return None
        principal = self._principals.get(row["principal"])
        if principal is None or not principal.active:
            return None
        session = self._touched(row)
        how = Circumstances("web", session.method, session.mfa_at, session.address)
        return replace(principal, circumstances=how), session

    def lives(self, session_id: str) -> bool:
        """Whether the session and its principal are still good; asked again while a socket is open."""
        row = self._row(session_id)
        if row is None or not self._lives(row):
            return False
        principal = self._principals.get(row["principal"])
        return principal is not None and principal.active

    def prove_mfa(self, session_id: str) -> OpenedSession:
        """Note that the session's principal has just proven a second factor.

        The secret is another one from now on: whoever copied the one before has no part in the proof.
        """
        row, secret = self._require(session_id), _new_secret(session_id)
        change = Change.of(session_table, row, mfa_at=self._clock(), secret_hash=_hash(secret))
        self._rows.write(
            "session.mfa",
            [change],
            actor=row["principal"],
            subject=f"session:{session_id}",
        )
        return OpenedSession(_session(change.after), secret)

    def revoke(self, session_id: str, *, actor: str) -> None:
        """End a session at once.

        Raises:
            UsageError: If there is none with this id.
        """
        row = self._require(session_id)
        if row["revoked_at"] is None:
            self._rows.write(
                "session.revoke",
                [Change.of(session_table, row, revoked_at=self._clock())],
                actor=actor,
                subject=f"session:{session_id}",
            )

    def list(self, principal: str | None = None) -> list[Session]:
        """The sessions that live, of one principal or of all."""
        where = [] if principal is None else [session_table.c.principal == principal]
        with self._database.read() as connection:
            rows = self._rows.read(connection, session_table, *where)
        return [_session(row) for row in rows if self._lives(row)]

    def _lives(self, row: Row) -> bool:
        now = self._clock()
        idle_since = as_utc(row["seen_at"])
        return row["revoked_at"] is None and now < as_utc(row["expires_at"]) and now - idle_since < self._idle

    def _touched(self, row: Row) -> Session:
        now = self._clock()
        if now - as_utc(row["seen_at"]) < SEEN_EVERY:
            return _session(row)
        with self._database.write() as connection:
            where = session_table.c.session_id == row["session_id"]
            connection.execute(update(session_table).where(where).values(seen_at=now))
        return _session({**row, "seen_at": now})

    def _row(self, session_id: str) -> Row | None:
        return self._rows.one(session_table, session_id)

    def _require(self, session_id: str) -> Row:
        row = self._row(session_id)
        if row is None:
            raise UsageError("There is no session with this id", "Copy it from the list of sessions.")
        return row


def _session(row: Row) -> Session:
    said: dict[str, Any] = {
        name: as_utc(value) if isinstance(value, datetime) else value for name, value in row.items()
    }
    return Session(**{name: said[name] for name in Session.__dataclass_fields__})


def _new_secret(session_id: str) -> str:
    return f"sps_{session_id}_{secrets.token_urlsafe(32)}"


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
