"""`keys backup`, `restore`, `rewrap`, `passphrase`: the files and providers that hold keys."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console

from secure_platform.cli.access import command, open_services
from secure_platform.cli.group import Group
from secure_platform.cli.output import example, json_option, line, require_new, show
from secure_platform.cli.passphrase import passphrase_options, read_passphrase
from secure_platform.errors import UsageError
from secure_platform.keys.backup import MOST_BYTES, open_backup
from secure_platform.keys.provider import KeyProvider
from secure_platform.keys.providers.choice import prepare_provider
from secure_platform.orchestration.restore import restore_keys
from secure_platform.services import Services
from secure_platform.settings import load_settings

BACKUP: Final = "the backup"
ROOT_KEY: Final = "the root key"


@click.command(
    epilog=example(
        "--token-file admin.token keys backup /mnt/safe/keys.backup",
        "--token-file admin.token keys backup keys.backup --passphrase-file /run/secrets/backup",
    )
)
@click.argument("file", type=click.Path(path_type=Path))
@passphrase_options
@json_option
def backup(file: Path, passphrase_file: Path | None, passphrase_fd: int | None, *, as_json: bool) -> None:
    """Write all keys into the new FILE, encrypted under a passphrase.

    File and passphrase together open everything: keep them apart, and both away from this machine. The file
    holds the keys, not the data.
    """
    require_new(file)
    services = open_services()
    passphrase = read_passphrase(passphrase_file, passphrase_fd, what=BACKUP, new=True)
    made = services.key_backups.make(services.caller(), file.absolute(), passphrase)

    def render(out: Console) -> None:
        line(out, f"{file} holds {len(made.covers)} keys. Try it: {command(f'keys restore {file} --check')}")
        line(out, "Keep it and its passphrase apart, and both away from this machine.")

    show({**asdict(made), "file": str(file)}, as_json=as_json, render=render)


@click.command(
    epilog=example("keys restore /mnt/safe/keys.backup", "keys restore /mnt/safe/keys.backup --check --json")
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Only open it and say what it holds.")
@passphrase_options
@json_option
def restore(
    file: Path, passphrase_file: Path | None, passphrase_fd: int | None, *, check: bool, as_json: bool
) -> None:
    """Restore the keys of the backup FILE.

    They go into an empty home, or into their own home if its root key was lost; never over other keys. What
    is disabled or destroyed in the home stays so, whatever the backup says.
    """
    if not file.is_file():
        raise UsageError(f"There is no file {file}", "Name the file that keys backup wrote.")
    passphrase = read_passphrase(passphrase_file, passphrase_fd, what=BACKUP)
    with file.open("rb") as opened:
        content = opened.read(MOST_BYTES)
    held = open_backup(content, passphrase, name=str(file))
    data: dict[str, Any] = {
        "made_at": held.made_at,
        "environment": held.environment,
        "log": held.log,
        "keys": held.newest(),
        "restored": None if check else restore_keys(load_settings(), held),
    }

    def render(out: Console) -> None:
        line(out, f"{file}: {len(held.keys)} versions of {len(data['keys'])} keys of {held.environment},")
        line(out, f"made {held.made_at:%Y-%m-%d %H:%M} UTC.")
        if not check:
            line(out, f"{data['restored']}.")
            line(out, f"Look at what was disabled since then: {command('keys list')}")

    show(data, as_json=as_json, render=render)


@click.command(
    epilog=example("--token-file admin.token keys rewrap", "--token-file admin.token keys rewrap --to vault")
)
@click.option(
    "--to",
    "provider",
    help="Another provider, which the settings describe; name it in keys.provider afterwards.",
)
@json_option
def rewrap(provider: str | None, *, as_json: bool) -> None:
    """Wrap all keys again, under the newest version of the provider's own key.

    No data are rewritten. The root key of this home is renewed for this; rotate Vault's and AWS's keys there
    first. With --to the keys move to another provider: whoever holds that one can read everything, so this
    needs the same right as a backup.
    """
    services = open_services()
    present = services.settings.keys.provider
    if provider in {None, present}:
        count = services.custody.rewrap(services.caller())
        told = [f"{count} versions are wrapped anew by {present}."]
    else:
        count = services.custody.move(services.caller(), lambda: _other(services, provider))
        told = [
            f"{count} versions are wrapped by {provider}. Say so in platform.yaml before anything else opens",
            f"this home, and restart what runs: keys.provider: {provider}",
            f"Copies of the control database that were made before still open with {present}.",
        ]

    def render(out: Console) -> None:
        for text in told:
            line(out, text)

    show({"versions": count, "provider": provider or present}, as_json=as_json, render=render)


def _other(services: Services, provider: str | None) -> KeyProvider:
    prepare_provider(services.settings.keys, services.settings.home / "keys", name=provider)
    return services.provider(provider)


@click.group(
    cls=Group, epilog=example("--token-file admin.token keys passphrase set --passphrase-file new.txt")
)
def passphrase() -> None:
    """The passphrase of this home's root key: set, change, remove."""


@passphrase.command("set", epilog=example("--token-file admin.token keys passphrase set"))
@passphrase_options
@json_option
def set_passphrase(passphrase_file: Path | None, passphrase_fd: int | None, *, as_json: bool) -> None:
    """Protect this home's root key with a passphrase.

    The settings must then say where the passphrase is.
    """
    new = read_passphrase(passphrase_file, passphrase_fd, what=ROOT_KEY, new=True)
    _protect(new, protected=False, as_json=as_json)


@passphrase.command("change", epilog=example("--token-file admin.token keys passphrase change"))
@passphrase_options
@json_option
def change_passphrase(passphrase_file: Path | None, passphrase_fd: int | None, *, as_json: bool) -> None:
    """Change the passphrase of this home's root key.

    Put the new one where the settings expect it.
    """
    new = read_passphrase(passphrase_file, passphrase_fd, what=ROOT_KEY, new=True)
    _protect(new, protected=True, as_json=as_json)


@passphrase.command("remove", epilog=example("--token-file admin.token keys passphrase remove"))
@json_option
def remove_passphrase(*, as_json: bool) -> None:
    """Keep the root key in a private file without a passphrase."""
    _protect(None, protected=True, as_json=as_json)


def _protect(new: bytes | None, *, protected: bool, as_json: bool) -> None:
    services = open_services()
    services.custody.protect(services.caller(), new, protected=protected)
    text = "has no passphrase any more" if new is None else "opens with the new passphrase only"
    fix = "Take keys.local.passphrase out of" if new is None else "Let keys.local.passphrase name it in"

    def render(out: Console) -> None:
        line(out, f"{ROOT_KEY.capitalize()} {text}.")
        line(out, f"{fix} platform.yaml before anything else opens this home, and restart what runs.")

    show({"passphrase": new is not None}, as_json=as_json, render=render)


KEY_FILES: Final = (rewrap, backup, restore, passphrase)
