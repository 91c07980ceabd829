"""A principal is who a random token proves; the token is shown once and only its hash is kept.

Tokens have 256 random bits, so a plain SHA-256 of them cannot be guessed. Every change and every refused
token is in the audit log, without the token, and with the principal's name only as a keyed hash.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal, NoReturn

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError as DuplicateError

from secure_platform.access.circumstances import LOCAL, Circumstances
from secure_platform.access.seals import Change, Row, SealedRows
from secure_platform.audit.log import AuditLog
from secure_platform.control.database import ControlDatabase, as_utc, utc_now
from secure_platform.control.tables import principal as principal_table
from secure_platform.control.tables import token as token_table
from secure_platform.errors import AccessDeniedError, UsageError
from secure_platform.keys.material import NotPickled
from secure_platform.keys.secret_file import read_secret

ROLES: Final = frozenset(
    {
        *("analyst", "data_engineer", "ml_engineer", "data_steward", "privacy_officer", "auditor", "admin"),
        *("pipeline", "scheduler"),
    }
)
LONGEST_DAYS: Final = 365
# Who is recorded for what an identity provider says.
IDENTITY: Final = "service:identity"
_KINDS: Final = frozenset({"user", "service"})
_NAME: Final = re.compile(r"[a-z][a-z0-9._:@-]{1,127}")
_TOKEN: Final = re.compile(r"spt_([0-9a-f]{16})_[A-Za-z0-9_-]{43}")
_SCOPE: Final = re.compile(r"[a-z][a-z_]{0,62}(:[a-z][a-z0-9_]{0,62})?")
LONGEST_LABEL: Final = 128
_TOKEN_FILE_BYTES: Final = 256


@dataclass(frozen=True)
class Principal:
    """A user or service with roles.

    Attributes:
        groups: Approver groups, as contracts name them.
        circumstances: How they come this time; who they are does not depend on it.
    """

    name: str
    kind: Literal["user", "service"]
    roles: frozenset[str]
    active: bool
    groups: frozenset[str] = frozenset()
    circumstances: Circumstances = field(default=LOCAL, compare=False)


ANONYMOUS: Final = Principal("anonymous", "service", frozenset(), active=True)


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


class Principals:
    """The principals of one home and their tokens.

    Callers ask the policy first; `actor` is the name of the principal that it allowed.
    """

    def __init__(self, database: ControlDatabase, audit: AuditLog, rows: SealedRows) -> None:
        self._database = database
        self._audit = audit
        self._rows = rows

    def add(
        self,
        name: str,
        *,
        kind: Literal["user", "service"] = "user",
        roles: Iterable[str],
        groups: Iterable[str] = (),
        email: str | None = None,
        actor: str,
    ) -> Principal:
        """Add a principal, which has no token yet.

        Args:
            name: Of the principal; never given to another one.
            kind: A person or a program.
            roles: What they may do.
            groups: Approver groups, as contracts name them.
            email: Where notices for them go.
            actor: Who adds them.

        Raises:
            UsageError: If the name is not one, is taken, or a role is unknown.
        """
        added = Principal(name, kind, frozenset(roles), active=True, groups=frozenset(groups))
        try:
            self._add("principal.add", added, _new_row(added, email, None, None), actor=actor)
        except DuplicateError:
            raise UsageError(f"The principal {name} exists already", "Choose another name.") from None
        return added

    def provision(
        self,
        issuer: str,
        subject: str,
        *,
        name: str,
        roles: Iterable[str],
        groups: Iterable[str],
        email: str | None,
    ) -> Principal:
        """The principal of somebody whom an identity provider has just authenticated, as the provider says.

        Args:
            issuer: The provider.
            subject: How it names them, now and for ever.
            name: Of a principal that is new; an existing one keeps its own.
            roles: What they may do.
            groups: Approver groups, as contracts name them.
            email: Where notices for them go.

        Returns:
            The principal, which an administrator may have disabled.

        Raises:
            AccessDeniedError: If the name belongs to somebody else.
            UsageError: If the name is not one, or a role is unknown.
        """
        if name.startswith("service:"):
            raise UsageError(f"{name[:64]!r} is the name of a service", "Give the person another name.")
        said = Principal(name, "user", frozenset(roles), active=True, groups=frozenset(groups))
        found = [row for row in self._rows.all(principal_table) if _identity(row) == (issuer, subject)]
        if found:
            return self._change("principal.provision", found[0], said, email, actor=IDENTITY)
        try:
            row = _new_row(said, email, issuer, subject)
            self._add("principal.provision", said, row, actor=IDENTITY)
        except DuplicateError:
            raise AccessDeniedError(
                f"The name {name} belongs to another principal than the one who logged in",
                "Have an administrator see which of the two is to have it.",
            ) from None
        return said

    def change(
        self,
        name: str,
        *,
        roles: Iterable[str] | None = None,
        groups: Iterable[str] | None = None,
        actor: str,
    ) -> Principal:
        """Give a principal other roles or groups from now on; None leaves them as they are.

        Raises:
            UsageError: If there is no such principal, a role is unknown, it is the actor, or nobody would be
                left to manage principals.
        """
        if name == actor:
            raise UsageError("Nobody changes their own roles", "Ask another administrator.")
        row = self._require(name)
        before = _principal(row)
        said = replace(
            before,
            roles=before.roles if roles is None else frozenset(roles),
            groups=before.groups if groups is None else frozenset(groups),
        )
        return self._change("principal.change", row, said, row["email"], actor=actor)

    def _change(self, action: str, row: Row, said: Principal, email: str | None, *, actor: str) -> Principal:
        after = {"roles": sorted(said.roles), "groups": sorted(said.groups), "email": email}
        changed = _changed(row, **after)
        _check(_principal(changed))
        if any(row[name] != value for name, value in after.items()):
            loses = "admin" in row["roles"] and "admin" not in said.roles and action == "principal.change"
            self._rows.write(
                action,
                [Change(principal_table, row, changed)],
                actor=actor,
                subject="principal",
                detail={"principal": self._pseudonym(row["name"]), "roles": after["roles"]},
                check=lambda connection: (
                    self._keep_an_administrator(connection, row["name"]) if loses else None
                ),
            )
        return _principal(changed)

    def get(self, name: str) -> Principal | None:
        """The principal of this name, active or not.

        Raises:
            IntegrityError: If its row is not the one that was recorded last.
        """
        row = self._find(name)
        return None if row is None else _principal(row)

    def is_vouched(self, name: str) -> bool:
        """Whether an identity provider or a directory says who the principal is, not this home."""
        row = self._find(name)
        return row is not None and row["issuer"] is not None

    def disable(self, name: str, *, actor: str) -> None:
        """Make a principal inactive for good and revoke all its tokens.

        Raises:
            UsageError: If there is no such principal, or nobody would be left to manage principals.
        """
        row = self._require(name)
        with self._database.read() as connection:
            own = (token_table.c.principal == name, token_table.c.revoked_at.is_(None))
            tokens = self._rows.read(connection, token_table, *own)
        self._rows.write(
            "principal.disable",
            [Change(principal_table, row, _changed(row, active=False)), *map(_revoked, tokens)],
            actor=actor,
            subject="principal",
            detail={"principal": self._pseudonym(name)},
            check=lambda connection: self._keep_an_administrator(connection, name),
        )

    def issue_token(
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
        if not _principal(self._require(name)).active:
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
            detail={"principal": self._pseudonym(name), "expires_at": issued.expires_at.isoformat()},
        )
        return issued

    def issue_own_token(
        self, principal: Principal, *, days: int = 90, label: str = "", scopes: Iterable[str] | None = None
    ) -> IssuedToken:
        """Make a token for oneself; a token does not make others, or one that was stolen would never end.

        Raises:
            AccessDeniedError: If the caller came with a token, or as nobody.
            UsageError: As for `issue_token`.
        """
        if principal.circumstances.channel != "web":
            raise AccessDeniedError(
                "Only who is logged in on the web page makes a token for themselves",
                "Log in there, or have an administrator issue one.",
            )
        return self.issue_token(principal.name, actor=principal.name, days=days, label=label, scopes=scopes)

    def tokens(self, principal: str | None = None) -> list[Token]:
        """The tokens that were not revoked, of one principal or of all, expired ones included."""
        where = [] if principal is None else [token_table.c.principal == principal]
        with self._database.read() as connection:
            rows = self._rows.read(connection, token_table, token_table.c.revoked_at.is_(None), *where)
        return [_token(row) for row in rows]

    def revoke_token(self, token_id: str, *, actor: str) -> None:
        """Make a token worthless.

        Raises:
            UsageError: If there is no such token.
        """
        row = self._token(token_id)
        if row is None:
            raise UsageError(
                "There is no token with this id", "Give the 16 characters between `spt_` and the next `_`."
            )
        if row["revoked_at"] is None:
            self._rows.write("token.revoke", [_revoked(row)], actor=actor, subject=f"token:{token_id}")

    def authenticate(self, token: str) -> Principal:
        """The active principal whose token this is.

        Raises:
            AccessDeniedError: If it is malformed, unknown, expired or revoked, or its principal disabled.
            IntegrityError: If its row or its principal's is not the one that was recorded last.
        """
        parsed = _TOKEN.fullmatch(token)
        if parsed is None:
            self._refuse("malformed", "token", "What was presented is not a token")
        row = self._token(parsed[1])
        stored = bytes(32) if row is None else row["secret_hash"]
        genuine = hmac.compare_digest(_hash(token), stored)
        if row is None or not genuine:
            self._refuse("unknown", "token", "The token is not one of this home")
        subject, title = f"token:{row['token_id']}", f"The token {row['token_id']}"
        if row["revoked_at"] is not None:
            self._refuse("revoked", subject, f"{title} was revoked")
        if as_utc(row["expires_at"]) <= utc_now():
            self._refuse("expired", subject, f"{title} has expired")
        owner = self.get(row["principal"])
        if owner is None or not owner.active:
            self._refuse("disabled", subject, f"The principal of token {row['token_id']} is disabled")
        scopes = None if row["scopes"] is None else frozenset(row["scopes"])
        return replace(owner, circumstances=Circumstances(method="token", scopes=scopes))

    def list(self) -> list[Principal]:
        """All principals, active or not, by name."""
        return [_principal(row) for row in self._rows.all(principal_table)]

    def _add(self, action: str, added: Principal, row: Row, *, actor: str) -> None:
        _check(added)
        detail = {
            "principal": self._pseudonym(added.name),
            "kind": added.kind,
            "roles": sorted(added.roles),
        }
        self._rows.write(
            action, [Change(principal_table, None, row)], actor=actor, subject="principal", detail=detail
        )

    def _find(self, name: str) -> Row | None:
        return self._rows.one(principal_table, name)

    def _require(self, name: str) -> Row:
        found = self._find(name)
        if found is None:
            raise UsageError(f"There is no principal {name}", "See: secure-platform principal list")
        return found

    def _token(self, token_id: str) -> Row | None:
        return self._rows.one(token_table, token_id)

    def _keep_an_administrator(self, connection: Connection, leaving: str) -> None:
        rows = self._rows.read(connection, principal_table, principal_table.c.active)
        if {row["name"] for row in rows if "admin" in row["roles"]} == {leaving}:
            raise UsageError(
                f"{leaving} is the only administrator, and nobody could add another",
                "Add another principal with the role admin first.",
            )

    def _refuse(self, reason: str, subject: str, culprit: str) -> NoReturn:
        self._audit.append("token.refuse", actor=ANONYMOUS.name, subject=subject, detail={"reason": reason})
        raise AccessDeniedError(culprit, "Ask an administrator to issue a token to you.")

    def _pseudonym(self, name: str) -> str:
        return self._audit.identify(name)


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


def is_persons_name(text: str) -> bool:
    """Whether a person can be named so."""
    return bool(_NAME.fullmatch(text)) and text != ANONYMOUS.name and not text.startswith("service:")


def require_roles(roles: Iterable[str]) -> None:
    """Refuse what is no role.

    Raises:
        UsageError: Naming the first one.
    """
    unknown = sorted(set(roles) - ROLES)
    if unknown:
        raise UsageError(f"There is no role {unknown[0]!r}", f"Use some of: {', '.join(sorted(ROLES))}.")


def _check(added: Principal) -> None:
    if not _NAME.fullmatch(added.name) or added.name == ANONYMOUS.name:
        raise UsageError(
            f"{added.name[:64]!r} cannot be a principal's name",
            "Use 2 to 128 lower-case letters, digits and . _ : @ -, beginning with a letter.",
        )
    if added.kind not in _KINDS:
        raise UsageError(f"{added.kind!r} is not a kind of principal", "Use user or service.")
    require_roles(added.roles)


def _new_row(added: Principal, email: str | None, issuer: str | None, subject: str | None) -> Row:
    return {
        "name": added.name,
        "kind": added.kind,
        "roles": sorted(added.roles),
        "active": True,
        "groups": sorted(added.groups),
        "email": email,
        "issuer": issuer,
        "subject": subject,
        "revision": 1,
        "created_at": utc_now(),
    }


def _identity(row: Row) -> tuple[str | None, str | None]:
    return row["issuer"], row["subject"]


def _principal(row: Row) -> Principal:
    return Principal(
        row["name"],
        row["kind"],
        frozenset(row["roles"]),
        active=row["active"],
        groups=frozenset(row["groups"]),
    )


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


def _changed(row: Row, **changes: Any) -> Row:
    after = {name: value for name, value in row.items() if name != "seal"}
    return {**after, "revision": row["revision"] + 1, **changes}


def _revoked(row: Row) -> Change:
    after = {name: value for name, value in row.items() if name != "seal"}
    return Change(token_table, row, {**after, "revoked_at": utc_now()})


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
