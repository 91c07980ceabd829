"""Who is calling, and on what: the same for every command."""

import shlex
import shutil
import sys
from pathlib import Path
from typing import Final

import click

from secure_platform.errors import StorageError, UsageError
from secure_platform.orchestration.home import prepare
from secure_platform.services import Services
from secure_platform.settings import Settings, load_settings

PROGRAM: Final = "secure-platform"


def open_services() -> Services:
    """The rooms of the home the environment names; the home is initialised first."""
    settings = load_settings()
    prepare_home(settings)
    return Services(settings)


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
    return " ".join([_program(), *(f"{name} {near(path)}" for name, path in options if path), words])


def near(path: Path) -> str:
    """The path as a word of a command line, from the current directory if it is below that."""
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))


def _program() -> str:
    """How this command is called here: `make` sets it up in an environment that may not be on PATH."""
    installed = Path(sys.executable).with_name(PROGRAM)
    return PROGRAM if shutil.which(PROGRAM) or not installed.exists() else near(installed)
