"""A principal is a user or a service with roles; a name is never given to another one.

Every change is in the audit log, with the principal's name only as a keyed hash.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError as DuplicateError

from secure_platform.access.circumstances import LOCAL, Circumstances
from secure_platform.access.seals import Change, Row, SealedRows
from secure_platform.audit.log import AuditLog
from secure_platform.control.database import ControlDatabase, utc_now
from secure_platform.control.tables import principal as principal_table
from secure_platform.control.tables import token as token_table
from secure_platform.errors import AccessDeniedError, UsageError

ROLES: Final = frozenset(
    {
        *("analyst", "data_engineer", "ml_engineer", "data_steward", "privacy_officer", "auditor", "admin"),
        *("pipeline", "scheduler", "monitor"),
    }
)
# Who is recorded for what an identity provider says.
IDENTITY: Final = "service:identity"
_KINDS: Final = frozenset({"user", "service"})
_NAME: Final = re.compile(r"[a-z][a-z0-9._:@-]{1,127}")


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


class Principals:
    """The principals of one home.

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
        actor: str,
    ) -> Principal:
        """Add a principal, which has no token yet.

        Args:
            name: Of the principal; never given to another one.
            kind: A person or a program.
            roles: What they may do.
            groups: Approver groups, as contracts name them.
            actor: Who adds them.

        Raises:
            UsageError: If the name is not one, is taken, or a role is unknown.
        """
        added = Principal(name, kind, frozenset(roles), active=True, groups=frozenset(groups))
        try:
            self._add("principal.add", added, _new_row(added, None, None, None), actor=actor)
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
        row = self._row(name)
        before = _principal(row)
        said = replace(
            before,
            roles=before.roles if roles is None else frozenset(roles),
            groups=before.groups if groups is None else frozenset(groups),
        )
        return self._change("principal.change", row, said, row["email"], actor=actor)

    def _change(self, action: str, row: Row, said: Principal, email: str | None, *, actor: str) -> Principal:
        after = {"roles": sorted(said.roles), "groups": sorted(said.groups), "email": email}
        change = _changed(row, **after)
        _check(_principal(change.after))
        if any(row[name] != value for name, value in after.items()):
            loses = "admin" in row["roles"] and "admin" not in said.roles and action == "principal.change"
            self._rows.write(
                action,
                [change],
                actor=actor,
                subject="principal",
                detail={"principal": self._pseudonym(row["name"]), "roles": after["roles"]},
                check=lambda connection: (
                    self._keep_an_administrator(connection, row["name"]) if loses else None
                ),
            )
        return _principal(change.after)

    def get(self, name: str) -> Principal | None:
        """The principal of this name, active or not.

        Raises:
            IntegrityError: If its row is not the one that was recorded last.
        """
        row = self._find(name)
        return None if row is None else _principal(row)

    def require(self, name: str) -> Principal:
        """The principal of this name, active or not.

        Raises:
            UsageError: If there is none.
        """
        return _principal(self._row(name))

    def is_vouched(self, name: str) -> bool:
        """Whether an identity provider or a directory says who the principal is, not this home."""
        row = self._find(name)
        return row is not None and row["issuer"] is not None

    def disable(self, name: str, *, actor: str) -> None:
        """Make a principal inactive for good and revoke all its tokens.

        Raises:
            UsageError: If there is no such principal, or nobody would be left to manage principals.
        """
        row = self._row(name)
        with self._database.read() as connection:
            own = (token_table.c.principal == name, token_table.c.revoked_at.is_(None))
            tokens = self._rows.read(connection, token_table, *own)
        self._rows.write(
            "principal.disable",
            [_changed(row, active=False), *(revoked(token) for token in tokens)],
            actor=actor,
            subject="principal",
            detail={"principal": self._pseudonym(name)},
            check=lambda connection: self._keep_an_administrator(connection, name),
        )

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

    def _row(self, name: str) -> Row:
        found = self._find(name)
        if found is None:
            raise UsageError(f"There is no principal {name}", "See: secure-platform principal list")
        return found

    def _keep_an_administrator(self, connection: Connection, leaving: str) -> None:
        rows = self._rows.read(connection, principal_table, principal_table.c.active)
        if {row["name"] for row in rows if "admin" in row["roles"]} == {leaving}:
            raise UsageError(
                f"{leaving} is the only administrator, and nobody could add another",
                "Add another principal with the role admin first.",
            )

    def _pseudonym(self, name: str) -> str:
        return self._audit.identify(name)


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


def revoked(token: Row) -> Change:
    """The row of a token that proves nothing any more."""
    return Change.of(token_table, token, revoked_at=utc_now())


def _check(added: Principal) -> None:
    if not _NAME.fullmatch(added.name) or added.name == ANONYMOUS.name:
        raise UsageError(
            f"{added.name[:64]!r} cannot be a principal's name",
            "Use 2 to 128 lower-case letters, digits and . _ : @ -, beginning with a letter.",
        )
    if added.kind not in _KINDS:
        raise UsageError(f"{added.kind!r} is not a kind of principal", "Use user or service.")
    if added.kind == "user" and not is_persons_name(added.name):
        raise UsageError(
            f"{added.name[:64]!r} names a program, not a person",
            "The audit log would tell people and the platform apart no more: leave out `service:`.",
        )
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


def _changed(row: Row, **changes: object) -> Change:
    return Change.of(principal_table, row, revision=row["revision"] + 1, **changes)
