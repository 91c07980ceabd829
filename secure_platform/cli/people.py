"""`principal` and `token`: who may be asked, and how they prove who they are."""

from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console

from secure_platform.access.policy import Action, PlatformResource
from secure_platform.access.principals import ROLES
from secure_platform.cli.access import command, open_services
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


@click.group(epilog=example("--token-file admin.token principal add alice --role data_steward"))
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
    """Give the principal NAME other roles or approver groups from now on, in place of those it has."""
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
    """Disable the principal NAME for good and revoke its tokens; its approvals stop counting."""
    services, caller = _managing()
    services.principals.disable(name, actor=caller)
    show(
        {"name": name, "active": False},
        as_json=as_json,
        render=lambda out: line(out, f"Disabled {name} and revoked its tokens."),
    )


@click.group(epilog=example("--token-file admin.token token issue alice --out alice.token"))
def token() -> None:
    """Issue and revoke tokens."""


@token.command(
    "issue", epilog=example("--token-file admin.token token issue alice --days 30 --out alice.token")
)
@click.argument("name")
@click.option(
    "--days", default=90, show_default=True, type=click.IntRange(1, 366), help="How long it is valid."
)
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="New 0600 file that gets the token."
)
@json_option
def token_issue(name: str, days: int, out: Path, *, as_json: bool) -> None:
    """Issue a token of the principal NAME into a private file; it cannot be shown again."""
    services, caller = _managing()
    require_new(out)
    issued = services.principals.issue_token(name, actor=caller, days=days)
    try:
        write_private(out, issued.secret.encode() + b"\n")
    except OSError as error:
        services.principals.revoke_token(issued.token_id, actor=caller)
        raise StorageError.behind(f"Writing {out}", error) or cannot_write(out, error.strerror) from None
    data = {"token_id": issued.token_id, "expires_at": issued.expires_at.isoformat(), "file": str(out)}
    text = f"Token {issued.token_id} of {name}, valid until {issued.expires_at:%Y-%m-%d}, is in {out}."
    show(data, as_json=as_json, render=lambda con: line(con, text))


@token.command("revoke", epilog=example("--token-file admin.token token revoke bc585f45f7e2c745"))
@click.argument("token_id")
@json_option
def token_revoke(token_id: str, *, as_json: bool) -> None:
    """Revoke a token at once; TOKEN_ID is what stands between `spt_` and the next `_`."""
    services, caller = _managing()
    services.principals.revoke_token(token_id, actor=caller)
    show(
        {"token_id": token_id, "revoked": True},
        as_json=as_json,
        render=lambda out: line(out, f"Revoked {token_id}."),
    )


COMMANDS: Final = {"principal": principal, "token": token}
