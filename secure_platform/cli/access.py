"""Who is calling, and on what: the same for every command."""

import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from rich.console import Console

from secure_platform.cli.output import line
from secure_platform.errors import StorageError, UsageError
from secure_platform.orchestration.home import prepare
from secure_platform.services import Services
from secure_platform.settings import PREFIX, Settings, load_settings

if TYPE_CHECKING:
    from secure_platform.cli.local import Platform

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
PROGRAM: Final = "secure-platform"
_SERVER: Final = "secure_platform.server"
_CA: Final = "secure_platform.ca"


def open_services() -> Services:
    """The rooms of the home the environment names; the home is initialised first."""
    settings = load_settings()
    prepare_home(settings)
    return Services(settings)


def server_option(decorated: Decorated) -> Decorated:
    """`--server` and `--ca`: the command is done there, and touches no home of this machine."""
    server = click.option(
        "--server",
        envvar=f"{PREFIX}SERVER_URL",
        metavar="URL",
        expose_value=False,
        callback=_remember(_SERVER),
        help="Do it on this server, through its API; needs a token. [env: SECURE_PLATFORM_SERVER_URL]",
    )
    ca = click.option(
        "--ca",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        expose_value=False,
        callback=_remember(_CA),
        help="PEM file of a certificate authority to trust besides the system's.",
    )
    return server(ca(decorated))


def open_platform() -> "Platform":
    """The server that was named, else the home that the environment names."""
    meta = click.get_current_context().meta
    if meta.get(_SERVER) is None:
        from secure_platform.cli.local import Local  # noqa: PLC0415 - a command needs one of the two

        return Local(open_services())
    from secure_platform.cli.remote import Remote, open_server  # noqa: PLC0415

    server = open_server(meta[_SERVER], load_settings().token_file, meta.get(_CA))
    click.get_current_context().call_on_close(server.close)
    return Remote(server)


def require_home(instead: str) -> None:
    """Refuse a command that is only done on a home when a server was named.

    Raises:
        UsageError: Saying what to do instead.
    """
    if click.get_current_context().meta.get(_SERVER) is not None:
        raise UsageError("That is not done through a server", instead)


def next_deployment(product: str, number: int) -> str:
    """The command line that an approved release needs next: on a server, its daemon deploys it."""
    there = click.get_current_context().meta.get(_SERVER) is not None
    return command(f"release wait {product} {number} --until deployed" if there else f"deploy {product}")


def _remember(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def keep(context: click.Context, _: click.Parameter, value: Any) -> None:
        context.meta[name] = value

    return keep


def prepare_home(settings: Settings) -> bool:
    """Initialise the home if it is not there yet; returns whether this call did it.

    Raises:
        UsageError: If the folder cannot be created or written to.
        StorageError: If its disk is full or failing.
    """
    if settings.home.exists() and not settings.home.is_dir():
        raise UsageError(f"The home {settings.home} is not a folder", "Name a folder with --home.")
    try:
        return prepare(settings)
    except OSError as error:
        disk = StorageError.behind(f"The home {settings.home}", error)
        if disk is not None:
            raise disk from None
        raise UsageError(
            f"The home {settings.home} cannot be used: {error.strerror or type(error).__name__}",
            "Name a folder that you may write to: secure-platform --home DIR …",
        ) from None


def command(words: str, *, home: Path | None = None, same_caller: bool = False) -> str:
    """A command line that can be copied: it works from here, on the same home as the one that is running.

    Args:
        words: The command with its arguments.
        home: The home, when it was not named by `--home`.
        same_caller: Whether it is for the same principal.
    """
    given = click.get_current_context().find_root().params
    named = home or given.get("home")
    token = given.get("token_file") if same_caller else None
    options = [("--home", named), ("--token-file", token)]
    server = click.get_current_context().meta.get(_SERVER)
    there = [] if server is None else [f"--server {shlex.quote(server)}"]
    return " ".join([_program(), *(f"{name} {near(path)}" for name, path in options if path), words, *there])


def tell_unsaved(out: Console, unsaved: Sequence[str]) -> None:
    """Say that keys are in no backup, if so."""
    if unsaved:
        line(out, f"In no backup, and lost with this home: the keys {', '.join(unsaved)}. Back them up:")
        token = load_settings().home / "keys" / "admin.token"
        given = near(token) if token.exists() else "admin.token"
        line(out, f"  {command(f'--token-file {given} keys backup FILE')}")


def near(path: Path) -> str:
    """The path as a word of a command line, from the current directory if it is below that."""
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))


def _program() -> str:
    """How this command is called here: `make` sets it up in an environment that may not be on PATH."""
    installed = Path(sys.executable).with_name(PROGRAM)
    return PROGRAM if shutil.which(PROGRAM) or not installed.exists() else near(installed)
