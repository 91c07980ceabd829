"""A passphrase comes from a prompt, a private file or an open descriptor.

Never from an argument or the environment: those are seen by other processes, and kept in histories and logs.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from secure_platform.access.passwords import require_good
from secure_platform.errors import UsageError
from secure_platform.keys.secret_file import read_secret

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
MOST_BYTES: Final = 1024


def passphrase_options(decorated: Decorated) -> Decorated:
    """`--passphrase-file` and `--passphrase-fd`; without them it is asked for."""
    file = click.option(
        "--passphrase-file", type=click.Path(path_type=Path), help="0600 file that holds it; default: ask."
    )
    descriptor = click.option(
        "--passphrase-fd", type=click.IntRange(0), help="Open file descriptor to read it from."
    )
    return file(descriptor(decorated))


def read_passphrase(file: Path | None, descriptor: int | None, *, what: str, new: bool = False) -> bytes:
    """The passphrase, without the end of its line.

    Args:
        file: Where it is, if somewhere.
        descriptor: Or there.
        what: It opens, for prompts and errors.
        new: Whether it is made now: then it is asked for twice, and must be hard to guess.

    Raises:
        UsageError: If there is none, it is too long or no text, or a new one could be guessed.
    """
    if file is not None and descriptor is not None:
        raise UsageError(f"Two passphrases of {what} were given", "Give a file or a descriptor.")
    text = _read(file, descriptor, what, new=new)
    if not text or len(text) > MOST_BYTES:
        raise UsageError(f"The passphrase of {what} is empty or too long", f"Give 1 to {MOST_BYTES} bytes.")
    try:
        decoded = text.decode()
    except UnicodeDecodeError:
        raise UsageError(f"The passphrase of {what} is no UTF-8 text", "Write it as text.") from None
    if new:
        require_good(decoded, what)
    return text


def _read(file: Path | None, descriptor: int | None, what: str, *, new: bool) -> bytes:
    if file is not None:
        try:
            return _line(read_secret(file, name=f"The passphrase of {what}", limit=MOST_BYTES + 3))
        except FileNotFoundError:
            raise UsageError(
                f"There is no file {file}", f"Name the file of the passphrase of {what}."
            ) from None
    if descriptor is not None:
        return _line(_from_descriptor(descriptor, what))
    if not sys.stdin.isatty():
        raise UsageError(
            f"There is no terminal to ask for the passphrase of {what}",
            "Give --passphrase-file or --passphrase-fd.",
        )
    asked: str = click.prompt(f"Passphrase of {what}", hide_input=True, confirmation_prompt=new, err=True)
    return asked.encode()


def _from_descriptor(descriptor: int, what: str) -> bytes:
    try:
        with os.fdopen(os.dup(descriptor), "rb") as opened:
            return opened.read(MOST_BYTES + 3)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise UsageError(
            f"The passphrase of {what} cannot be read from descriptor {descriptor}: {reason}",
            f"Open it for reading, such as: {descriptor}<passphrase.txt",
        ) from None


def _line(content: bytes) -> bytes:
    return content.removesuffix(b"\n").removesuffix(b"\r")
