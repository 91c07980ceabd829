"""A random token proves who a principal is; it is shown once and only its hash is kept.

Tokens have 256 random bits, so a plain SHA-256 of them cannot be guessed. Every change and every refused
token is in the audit log, without the token.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, NoReturn

from secure_platform.access.circumstances import Circumstances
from secure_platform.access.principals import ANONYMOUS, Principal, Principals, revoked
from secure_platform.access.seals import Change, Row, SealedRows
from secure_platform.audit.log import AuditLog
from secure_platform.control.database import ControlDatabase, as_utc, utc_now
from secure_platform.control.tables import token as token_table
from secure_platform.errors import AccessDeniedError, UsageError
from secure_platform.keys.material import NotPickled
from secure_platform.keys.secret_file import read_secret

LONGEST_DAYS: Final = 365
LONGEST_LABEL: Final = 128
_TOKEN: Final = re.compile(r"spt_([0-9a-f]{16})_[A-Za-z0-9_-]{43}")
_SCOPE: Final = re.compile(r"[a-z][a-z_]{0,62}(:[a-z][a-z0-9_]{0,62})?")
_TOKEN_FILE_BYTES: Final = 256


@dataclass(frozen=True)
class IssuedToken(NotPickled):
    """A new token; this is the only time that its secret exists outside its owner's file.

    Attributes:
        token_id: Names it, e.g. to revoke it; not secret.
        secret: The whole token, `spt_<id>_<43 base64url characters>`.
    """

    token_id: str
    secret: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True)
class Token:
    """A token as its owner sees it in a list.

    Attributes:
        token_id: Names it, e.g. to revoke it; not secret.
        label: What it is for.
        scopes: What it is limited to; None for all that the principal may do.
    """

    token_id: str
    principal: str
    label: str
    scopes: tuple[str, ...] | None
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None

    def works(self, at: datetime) -> bool:
        """Whether it proves anything at this moment."""
        return self.revoked_at is None and at < self.expires_at


class Tokens:
    """The tokens of one home's principals.

    Callers ask the policy first; `actor` is the name of the principal that it allowed.
    """

    def __init__(
        self, database: ControlDatabase, audit: AuditLog, rows: SealedRows, principals: Principals
    ) -> None:
        self._database = database
        self._audit = audit
        self._rows = rows
        self._principals = principals

    def issue(
        self,
        name: str,
        *,
        actor: str,
        days: int = 90,
        label: str = "",
        scopes: Iterable[str] | None = None,
    ) -> IssuedToken:
        """Make a token for a principal.

        Args:
            name: The principal.
            actor: Who issues it.
            days: How long it is valid, 1 to 365.
            label: What it is for.
            scopes: What it is limited to; None for all that the principal may do.

        Raises:
            UsageError: If the principal is unknown or disabled, or the days are out of range.
        """
        if not 1 <= days <= LONGEST_DAYS:
            raise UsageError(f"A token cannot be valid for {days} days", f"Give 1 to {LONGEST_DAYS} days.")
        if not self._principals.require(name).active:
            raise UsageError(f"The principal {name} is disabled", "Add a new principal.")
        limits = None if scopes is None else sorted(set(scopes))
        _check_scopes(limits or (), label)
        token_id, now = secrets.token_hex(8), utc_now()
        issued = IssuedToken(
            token_id, f"spt_{token_id}_{secrets.token_urlsafe(32)}", now + timedelta(days=days)
        )
        row = {
            "token_id": token_id,
            "principal": name,
            "secret_hash": _hash(issued.secret),
            "label": label,
            "scopes": limits,
            "created_at": now,
            "expires_at": issued.expires_at,
            "revoked_at": None,
        }
        self._rows.write(
            "token.issue",
            [Change(token_table, None, row)],
            actor=actor,
            subject=f"token:{token_id}",
            detail={"principal": self._audit.identify(name), "expires_at": issued.expires_at.isoformat()},
        )
        return issued

    def issue_own(
        self, principal: Principal, *, days: int = 90, label: str = "", scopes: Iterable[str] | None = None
    ) -> IssuedToken:
        """Make a token for oneself; a token does not make others, or one that was stolen would never end.

        Raises:
            AccessDeniedError: If the caller came with a token, or as nobody.
            UsageError: As for `issue`.
        """
        if principal.circumstances.channel != "web":
            raise AccessDeniedError(
                "Only who is logged in on the web page makes a token for themselves",
                "Log in there, or have an administrator issue one.",
            )
        return self.issue(principal.name, actor=principal.name, days=days, label=label, scopes=scopes)

    def revoke(self, token_id: str, *, actor: str) -> None:
        """Make a token worthless.

        Raises:
            UsageError: If there is no such token.
        """
        row = self._find(token_id)
        if row is None:
            raise UsageError(
                "There is no token with this id", "Give the 16 characters between `spt_` and the next `_`."
            )
        if row["revoked_at"] is None:
            self._rows.write("token.revoke", [revoked(row)], actor=actor, subject=f"token:{token_id}")

    def authenticate(self, token: str) -> Principal:
        """The active principal whose token this is.

        Raises:
            AccessDeniedError: If it is malformed, unknown, expired or revoked, or its principal disabled.
            IntegrityError: If its row or its principal's is not the one that was recorded last.
        """
        parsed = _TOKEN.fullmatch(token)
        if parsed is None:
            self._refuse("malformed", "token", "What was presented is not a token")
        row = self._find(parsed[1])
        stored = bytes(32) if row is None else row["secret_hash"]
        genuine = hmac.compare_digest(_hash(token), stored)
        if row is None or not genuine:
            self._refuse("unknown", "token", "The token is not one of this home")
        subject, title = f"token:{row['token_id']}", f"The token {row['token_id']}"
        if row["revoked_at"] is not None:
            self._refuse("revoked", subject, f"{title} was revoked")
        if as_utc(row["expires_at"]) <= utc_now():
            self._refuse("expired", subject, f"{title} has expired")
        owner = self._principals.get(row["principal"])
        if owner is None or not owner.active:
            self._refuse("disabled", subject, f"The principal of token {row['token_id']} is disabled")
        scopes = None if row["scopes"] is None else frozenset(row["scopes"])
        return replace(owner, circumstances=Circumstances(method="token", scopes=scopes))

    def list(self, principal: str | None = None) -> list[Token]:
        """The tokens that were not revoked, of one principal or of all, expired ones included."""
        where = [] if principal is None else [token_table.c.principal == principal]
        with self._database.read() as connection:
            rows = self._rows.read(connection, token_table, token_table.c.revoked_at.is_(None), *where)
        return [_token(row) for row in rows]

    def _find(self, token_id: str) -> Row | None:
        return self._rows.one(token_table, token_id)

    def _refuse(self, reason: str, subject: str, culprit: str) -> NoReturn:
        self._audit.append("token.refuse", actor=ANONYMOUS.name, subject=subject, detail={"reason": reason})
        raise AccessDeniedError(culprit, "Ask an administrator to issue a token to you.")


def read_token(path: Path) -> str:
    """The token in a file that only its owner can read.

    Raises:
        UsageError: If the file is missing, not private, not ours, not regular, or holds no token.
    """
    try:
        content = read_secret(path, name="The token file", limit=_TOKEN_FILE_BYTES)
    except FileNotFoundError:
        raise UsageError(
            f"The token file {path} does not exist", "Name the file that holds your token."
        ) from None
    token = content.decode("ascii", "replace").strip()
    if not _TOKEN.fullmatch(token):
        raise UsageError(f"The token file {path} does not hold one token", "Put your token alone into it.")
    return token


def _token(row: Row) -> Token:
    said = {name: row[name] for name in Token.__dataclass_fields__}
    for name in ("created_at", "expires_at", "revoked_at"):
        said[name] = None if said[name] is None else as_utc(said[name])
    return Token(**{**said, "scopes": None if said["scopes"] is None else tuple(said["scopes"])})


def _check_scopes(scopes: Iterable[str], label: str) -> None:
    unknown = sorted(scope for scope in scopes if not _SCOPE.fullmatch(scope))
    if unknown:
        raise UsageError(
            f"{unknown[0][:64]!r} is not a scope",
            "Write `<action>` or `<action>:<product>`, e.g. build:sales.",
        )
    if len(label) > LONGEST_LABEL or not label.isprintable():
        raise UsageError(
            "The label of a token is not a short text", f"Use at most {LONGEST_LABEL} characters."
        )


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
