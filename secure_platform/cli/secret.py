"""`secret`: the secrets that this home keeps, and rotating any; no command shows one.

A value comes from standard input or a prompt. What stands in a command line is seen by other processes and
kept in histories: it is refused, and not repeated.
"""

import sys
from typing import Any, Final

import click
from rich.console import Console

from secure_platform.access.principals import Principal
from secure_platform.access.secret_custody import SecretCustody
from secure_platform.cli.access import open_services
from secure_platform.cli.group import Group
from secure_platform.cli.output import example, json_option, line, show, table
from secure_platform.errors import UsageError
from secure_platform.keys.secrets.secret import LARGEST

# What click does not know, it repeats in its error: here that may be the secret.
_KEPT: Final = {"ignore_unknown_options": True, "allow_extra_args": True}


def _custody() -> tuple[SecretCustody, Principal]:
    services = open_services()
    return services.secret_custody, services.caller()


@click.group(cls=Group, epilog=example("--token-file admin.token secret set mail < password.txt"))
def secret() -> None:
    """Keep secrets in this home, and rotate secrets wherever they are kept."""


@secret.command(
    "set", context_settings=_KEPT, epilog=example("--token-file admin.token secret set mail < password.txt")
)
@click.argument("name")
@json_option
@click.pass_context
def secret_set(context: click.Context, name: str, *, as_json: bool) -> None:
    """Keep a secret as secret://local/NAME.

    Its value is read from standard input, or asked for.
    """
    if context.args:
        raise UsageError(
            "The value of a secret is not given in the command line",
            "Give it on standard input; change it if it was genuine, for it may be in a history by now.",
        )
    custody, caller = _custody()
    custody.set(caller, name, _value())
    _say({"secret": f"secret://local/{name}"}, "is set", as_json=as_json)


@secret.command("list", epilog=example("--token-file admin.token secret list"))
@json_option
def secret_list(*, as_json: bool) -> None:
    """List the secrets that this home keeps: their names, and when each was changed."""
    custody, caller = _custody()
    kept = custody.list(caller)
    data = [{"secret": each.name, "changed_at": each.changed_at} for each in kept]

    def render(out: Console) -> None:
        if not kept:
            line(out, "No secret.")
            return
        rows = [(each.name, f"{each.changed_at:%Y-%m-%d %H:%M}") for each in kept]
        table(out, ("secret", "changed (UTC)"), rows)

    show(data, as_json=as_json, render=render)


@secret.command("remove", epilog=example("--token-file admin.token secret remove mail"))
@click.argument("name")
@json_option
def secret_remove(name: str, *, as_json: bool) -> None:
    """Delete secret://local/NAME."""
    custody, caller = _custody()
    custody.remove(caller, name)
    _say({"secret": f"secret://local/{name}"}, "is removed", as_json=as_json)


@secret.command(
    "rotate",
    context_settings=_KEPT,
    epilog=example(
        "--token-file admin.token secret rotate secret://local/mail",
        "--token-file admin.token secret rotate secret://vault-database/database/static-creds/reports",
    ),
)
@click.argument("reference")
@json_option
@click.pass_context
def secret_rotate(context: click.Context, reference: str, *, as_json: bool) -> None:
    """Replace the secret behind REFERENCE by a new one.

    Here and in Vault's KV store the new one is random; Vault's databases and AWS make their own.
    """
    if context.args:
        raise UsageError("One reference is rotated at a time", "Write: secret rotate secret://…")
    custody, caller = _custody()
    custody.rotate(caller, reference)
    _say({"secret": reference}, "is rotated", as_json=as_json)


def _value() -> bytes:
    if not sys.stdin.isatty():
        return sys.stdin.buffer.read(LARGEST + 1)
    asked: str = click.prompt("Secret", hide_input=True, confirmation_prompt=True, err=True)
    return asked.encode()


def _say(data: dict[str, Any], done: str, *, as_json: bool) -> None:
    show(data, as_json=as_json, render=lambda out: line(out, f"{data['secret']} {done}."))


COMMANDS: Final = {"secret": secret}
