"""Local users log in with a password and a code; both are chosen by the person alone, with a one-time link.

The link is the only way in and the only way back: whoever gives it out never learns the password, and using
it replaces both factors. Of the link only the hash is kept; the secret of the codes is encrypted by the key
ring. For whom somebody else vouches (LDAP, OIDC) has codes here at most, never a password.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from secure_platform.access import passwords, totp
from secure_platform.access.principals import Principal, Principals
from secure_platform.access.seals import Change, Row, SealedRows
from secure_platform.audit.log import AuditLog
from secure_platform.control.database import ControlDatabase, as_utc, utc_now
from secure_platform.control.tables import credential as credential_table
from secure_platform.errors import GateRefusedError, UsageError
from secure_platform.keys.material import NotPickled
from secure_platform.keys.ring import KeyRing

LINK_LIVES: Final = timedelta(hours=24)
_LINK: Final = re.compile(r"spl_[A-Za-z0-9_-]{43}")
_PURPOSE: Final = "totp"


@dataclass(frozen=True)
class Invitation(NotPickled):
    """A new one-time link; it exists nowhere else.

    Attributes:
        link: Secret part of it.
        expires_at: When it stops working if it was not used.
    """

    link: str = field(repr=False)
    expires_at: datetime

    @property
    def path(self) -> str:
        """What follows the server's address; the secret is in the query, which no log holds."""
        return f"/setup?link={self.link}"


class Credentials:
    """Passwords, codes and one-time links of one home.

    Args:
        database: Holds them.
        audit: Where they are recorded.
        rows: Reads and writes them.
        keys: Encrypt the secrets of the codes.
        principals: Who they belong to.
        clock: The present moment, aware.
    """

    def __init__(
        self,
        database: ControlDatabase,
        audit: AuditLog,
        rows: SealedRows,
        keys: KeyRing,
        principals: Principals,
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._audit = audit
        self._rows = rows
        self._keys = keys
        self._principals = principals
        self._clock = clock

    def invite(self, name: str, *, actor: str) -> Invitation:
        """Make a link with which a person sets their password and code; an earlier one stops working.

        Args:
            name: Of the person.
            actor: Name of the principal that the policy allowed it.

        Raises:
            UsageError: If there is no such active person.
        """
        principal = self._principals.get(name)
        if principal is None or not principal.active or principal.kind != "user":
            raise UsageError(f"There is no active person {name}", "See: secure-platform principal list")
        invitation = Invitation(f"spl_{secrets.token_urlsafe(32)}", self._clock() + LINK_LIVES)
        link = {"link_hash": _hash(invitation.link), "link_expires_at": invitation.expires_at}
        self._write("credential.invite", name, self._row(name), link, actor=actor)
        return invitation

    def invited(self, link: str) -> Principal | None:
        """The active person whose link this is, while it works."""
        row = self._linked(link)
        return None if row is None else self._active(row["principal"])

    def secret_for(self, link: str, browser: str = "") -> bytes:
        """The secret of the codes that setting up with this link will use: the same on every look.

        Another browser has another one, so that who looks at somebody's link before them learns nothing.

        Args:
            link: The link's secret.
            browser: What only the browser that it was opened in knows; empty for none.
        """
        derived = self._keys.mac("totp-enrolment", f"{link}\n{browser}".encode()).encode()
        return hashlib.sha256(derived).digest()[: totp.SECRET_BYTES]

    def set_up(self, link: str, code: str, password: str, browser: str = "") -> Principal | None:
        """Use the link up: from now on this password and these codes are the person's.

        Args:
            link: The link's secret.
            code: Of the app that the secret was put into.
            password: Left out for whom somebody else vouches.
            browser: As for `secret_for`.

        Returns:
            The person; None if the link or the code is wrong.

        Raises:
            UsageError: If the password is not good enough, or the settings allow none (`keys.fips`).
        """
        row, secret = self._linked(link), self.secret_for(link, browser)
        principal = None if row is None else self._active(row["principal"])
        step = totp.step_of(secret, code, now=self._clock(), last=None)
        if row is None or principal is None or step is None:
            return None
        changes = {
            "password_hash": self._new_hash(principal.name, password),
            "totp_secret": self._keys.seal_secret(_PURPOSE, _context(principal.name), secret),
            "totp_step": step,
            "link_hash": None,
            "link_expires_at": None,
        }
        self._write("credential.set", principal.name, row, changes, actor=principal.name)
        return principal

    def _new_hash(self, name: str, password: str) -> str | None:
        if self._principals.is_vouched(name):
            return None
        self._keys.require(passwords.ALGORITHM)
        passwords.require_good(password, name)
        return passwords.hash_password(password)

    def verify(self, name: str, password: str, code: str) -> Principal | None:
        """The active person who has this password and shows this code, which is then used up."""
        row = self._row(name)
        stored = None if row is None else row["password_hash"]
        right = passwords.is_password(stored, password)
        principal = self._active(name)
        step = self._step(row, code)
        if not right or row is None or principal is None or step is None:
            return None
        renewed = passwords.hash_password(password) if passwords.is_outdated(row["password_hash"]) else stored
        return self._used(row, principal, {"totp_step": step, "password_hash": renewed})

    def prove(self, name: str, code: str) -> Principal | None:
        """The active person, if this is their code, which is then used up."""
        row, principal = self._row(name), self._active(name)
        step = self._step(row, code)
        return (
            None
            if row is None or principal is None or step is None
            else self._used(row, principal, {"totp_step": step})
        )

    def has_code(self, name: str) -> bool:
        """Whether the person has set up codes."""
        row = self._row(name)
        return row is not None and row["totp_secret"] is not None

    def _step(self, row: Row | None, code: str) -> int | None:
        if row is None or row["totp_secret"] is None:
            return None
        secret = self._keys.open_secret(_PURPOSE, _context(row["principal"]), row["totp_secret"])
        return totp.step_of(secret, code, now=self._clock(), last=row["totp_step"])

    def _used(self, row: Row, principal: Principal, changes: dict[str, Any]) -> Principal | None:
        try:
            self._write("credential.use", principal.name, row, changes, actor=principal.name)
        except GateRefusedError:
            # Somebody used the same code at the same moment: it counts once.
            return None
        return principal

    def _write(self, action: str, name: str, row: Row | None, changes: dict[str, Any], *, actor: str) -> None:
        before = dict.fromkeys(credential_table.columns.keys()) | {"principal": name} if row is None else row
        after = {column: value for column, value in before.items() if column != "seal"}
        after |= {**changes, "changed_at": self._clock()}
        self._rows.write(
            action,
            [Change(credential_table, row, after)],
            actor=actor,
            subject="credential",
            detail={"principal": self._audit.identify(name)},
        )

    def _active(self, name: str) -> Principal | None:
        principal = self._principals.get(name)
        return principal if principal is not None and principal.active and principal.kind == "user" else None

    def _linked(self, link: str) -> Row | None:
        if not _LINK.fullmatch(link):
            return None
        with self._database.read() as connection:
            mine = credential_table.c.link_hash == _hash(link)
            row = next(iter(self._rows.read(connection, credential_table, mine)), None)
        if row is None or not hmac.compare_digest(row["link_hash"], _hash(link)):
            return None
        return row if self._clock() < as_utc(row["link_expires_at"]) else None

    def _row(self, name: str) -> Row | None:
        return self._rows.one(credential_table, name)


def _context(name: str) -> dict[str, str]:
    return {"principal": name}


def _hash(link: str) -> bytes:
    return hashlib.sha256(link.encode()).digest()
