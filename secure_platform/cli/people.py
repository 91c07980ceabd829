"""`principal`, `token` and `session`: who may be asked, and how they prove who they are."""

from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console

from secure_platform.access.principals import ROLES
from secure_platform.access.resources import Action, PlatformResource
from secure_platform.cli.access import command, open_services
from secure_platform.cli.group import Group
from secure_platform.cli.output import cannot_write, example, json_option, line, require_new, show, table
from secure_platform.errors import StorageError
from secure_platform.files import write_private
from secure_platform.services import Services


def _managing() -> tuple[Services, str]:
    """The rooms and the caller's name, if the caller may manage principals."""
    services = open_services()
    caller = services.caller()
    services.policy.require(caller, Action.PRINCIPAL_MANAGE, PlatformResource())
    return services, caller.name


@click.group(cls=Group, epilog=example("--token-file admin.token principal add alice --role data_steward"))
def principal() -> None:
    """Add, list and disable principals."""


@principal.command("add", epilog=example("--token-file admin.token principal add alice --role data_steward"))
@click.argument("name")
@click.option(
    "--role", "roles", multiple=True, required=True, type=click.Choice(sorted(ROLES)), help="Repeatable."
)
@click.option("--service", is_flag=True, help="A program, not a person.")
@json_option
def principal_add(name: str, roles: tuple[str, ...], *, service: bool, as_json: bool) -> None:
    """Add a principal NAME with roles; it can do nothing before it has a token."""
    services, caller = _managing()
    added = services.principals.add(name, kind="service" if service else "user", roles=roles, actor=caller)
    data = {"name": added.name, "kind": added.kind, "roles": sorted(added.roles), "active": added.active}

    def render(out: Console) -> None:
        line(out, f"Added {added.name}: {', '.join(sorted(added.roles))}. It needs a token:")
        line(out, f"  {command(f'token issue {name} --out {name}.token', same_caller=True)}")

    show(data, as_json=as_json, render=render)


@principal.command("list", epilog=example("--token-file admin.token principal list"))
@json_option
def principal_list(*, as_json: bool) -> None:
    """List principals, their roles and whether they are active."""
    services, _ = _managing()
    rows: list[dict[str, Any]] = [
        {"name": p.name, "kind": p.kind, "roles": sorted(p.roles), "active": p.active}
        for p in services.principals.list()
    ]

    def render(out: Console) -> None:
        cells = [
            (row["name"], row["kind"], ", ".join(row["roles"]), "yes" if row["active"] else "no")
            for row in rows
        ]
        table(out, ("name", "kind", "roles", "active"), cells)

    show(rows, as_json=as_json, render=render)


@principal.command(
    "change",
    epilog=example("--token-file admin.token principal change alice --role data_steward"),
)
@click.argument("name")
@click.option("--role", "roles", multiple=True, type=click.Choice(sorted(ROLES)), help="Repeatable.")
@click.option("--group", "groups", multiple=True, help="Approver group, as contracts name it; repeatable.")
@click.option("--no-roles", is_flag=True, help="Take all roles away.")
@click.option("--no-groups", is_flag=True, help="Take all approver groups away.")
@json_option
def principal_change(
    name: str,
    roles: tuple[str, ...],
    groups: tuple[str, ...],
    *,
    no_roles: bool,
    no_groups: bool,
    as_json: bool,
) -> None:
    """Replace the roles or approver groups of the principal NAME."""
    services, caller = _managing()
    changed = services.principals.change(
        name,
        roles=roles if roles or no_roles else None,
        groups=groups if groups or no_groups else None,
        actor=caller,
    )
    data = {"name": name, "roles": sorted(changed.roles), "groups": sorted(changed.groups)}
    has = {kind: ", ".join(data[kind]) or "none" for kind in ("roles", "groups")}
    text = f"{name} has the roles {has['roles']}, the groups {has['groups']}."
    show(data, as_json=as_json, render=lambda out: line(out, text))


@principal.command("disable", epilog=example("--token-file admin.token principal disable alice"))
@click.argument("name")
@json_option
def principal_disable(name: str, *, as_json: bool) -> None:
    """Disable the principal NAME for good.

    Its tokens are revoked, and its approvals stop counting.
    """
    services, caller = _managing()
    services.principals.disable(name, actor=caller)
    show(
        {"name": name, "active": False},
        as_json=as_json,
        render=lambda out: line(out, f"Disabled {name} and revoked its tokens."),
    )


@principal.command("invite", epilog=example("--token-file admin.token principal invite alice"))
@click.argument("name")
@json_option
def principal_invite(name: str, *, as_json: bool) -> None:
    """Create a one-time link with which the person NAME sets a password and a second factor.

    Give it to nobody else. It works once, within 24 hours. An earlier link stops working. The person's
    present password and second factor keep working until the new link is used.
    """
    services, caller = _managing()
    invitation = services.credentials.invite(name, actor=caller)
    link = f"{services.settings.server.address}{invitation.path}"
    data = {"name": name, "link": link, "expires_at": invitation.expires_at.isoformat()}

    def render(out: Console) -> None:
        line(out, f"For {name} alone, once, until {invitation.expires_at:%Y-%m-%d %H:%M} UTC:")
        line(out, link)

    show(data, as_json=as_json, render=render)


@click.group(cls=Group, epilog=example("--token-file admin.token token issue alice --out alice.token"))
def token() -> None:
    """Issue, list and revoke tokens."""


@token.command(
    "issue", epilog=example("--token-file admin.token token issue alice --days 30 --out alice.token")
)
@click.argument("name")
@click.option(
    "--days", default=90, show_default=True, type=click.IntRange(1, 366), help="How long it is valid."
)
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    help="All that it may be used for, as <action> or <action>:<product>; repeatable.",
)
@click.option("--label", default="", help="What it is for, as the list shows it.")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="New 0600 file that gets the token."
)
@json_option
def token_issue(
    name: str, days: int, scopes: tuple[str, ...], label: str, out: Path, *, as_json: bool
) -> None:
    """Issue a token for the principal NAME into a private file.

    It cannot be shown again.
    """
    services, caller = _managing()
    require_new(out)
    issued = services.tokens.issue(name, actor=caller, days=days, label=label, scopes=scopes or None)
    try:
        write_private(out, issued.secret.encode() + b"\n")
    except OSError as error:
        services.tokens.revoke(issued.token_id, actor=caller)
        raise StorageError.behind(f"Writing {out}", error) or cannot_write(out, error.strerror) from None
    data = {"token_id": issued.token_id, "expires_at": issued.expires_at.isoformat(), "file": str(out)}
    text = f"Token {issued.token_id} of {name}, valid until {issued.expires_at:%Y-%m-%d}, is in {out}."
    show(data, as_json=as_json, render=lambda con: line(con, text))


@token.command("list", epilog=example("--token-file admin.token token list", "token list alice --json"))
@click.argument("name", required=False)
@json_option
def token_list(name: str | None, *, as_json: bool) -> None:
    """List the tokens that are not revoked, of the principal NAME or of all.

    The tokens themselves are never shown.
    """
    services, _ = _managing()
    rows: list[dict[str, Any]] = [
        {
            "token_id": each.token_id,
            "principal": each.principal,
            "label": each.label,
            "scopes": None if each.scopes is None else sorted(each.scopes),
            "expires_at": each.expires_at.isoformat(),
        }
        for each in services.tokens.list(name)
    ]

    def render(out: Console) -> None:
        cells = [
            (
                row["token_id"],
                row["principal"],
                row["label"],
                "all" if row["scopes"] is None else ", ".join(row["scopes"]),
                row["expires_at"][:10],
            )
            for row in rows
        ]
        table(out, ("token", "principal", "label", "scopes", "expires"), cells)

    show(rows, as_json=as_json, render=render)


@token.command("revoke", epilog=example("--token-file admin.token token revoke bc585f45f7e2c745"))
@click.argument("token_id")
@json_option
def token_revoke(token_id: str, *, as_json: bool) -> None:
    """Revoke a token at once.

    TOKEN_ID is the part between `spt_` and the next `_`.
    """
    services, caller = _managing()
    services.tokens.revoke(token_id, actor=caller)
    show(
        {"token_id": token_id, "revoked": True},
        as_json=as_json,
        render=lambda out: line(out, f"Revoked {token_id}."),
    )


@click.group(cls=Group, epilog=example("--token-file admin.token session list"))
def session() -> None:
    """List and end the sessions of people who are logged in."""


@session.command("list", epilog=example("--token-file admin.token session list alice --json"))
@click.argument("name", required=False)
@json_option
def session_list(name: str | None, *, as_json: bool) -> None:
    """List the active sessions, of the person NAME or of all."""
    services, _ = _managing()
    rows: list[dict[str, Any]] = [
        {
            "session_id": each.session_id,
            "principal": each.principal,
            "method": each.method,
            "address": each.address,
            "client": each.client,
            "seen_at": each.seen_at.isoformat(),
            "expires_at": each.expires_at.isoformat(),
        }
        for each in services.sessions.list(name)
    ]

    def render(out: Console) -> None:
        shown = ("session_id", "principal", "method", "address", "seen_at")
        cells = [tuple(str(row[column] or "") for column in shown) for row in rows]
        table(out, ("session", "principal", "method", "address", "last seen"), cells)

    show(rows, as_json=as_json, render=render)


@session.command("revoke", epilog=example("--token-file admin.token session revoke 1f0c…"))
@click.argument("session_id")
@json_option
def session_revoke(session_id: str, *, as_json: bool) -> None:
    """End a session at once; `session list` shows its SESSION_ID."""
    services, caller = _managing()
    services.sessions.revoke(session_id, actor=caller)
    show(
        {"session_id": session_id, "revoked": True},
        as_json=as_json,
        render=lambda out: line(out, f"Ended the session {session_id}."),
    )


COMMANDS: Final = {"principal": principal, "token": token, "session": session}
