"""What is confidential comes from a file or standard input, never from the command line.

That is seen by other processes and kept in histories: what stands there is refused, and not repeated.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from secure_platform.errors import UsageError

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
STANDARD_INPUT: Final = Path("-")


def nothing_else(problem: str, fix: str) -> Callable[[Decorated], Decorated]:
    """Refuse every further word; the command needs `ignore_unknown_options`, or click repeats the word."""

    def refuse(_: click.Context, __: click.Parameter, given: Sequence[str]) -> None:
        if given:
            raise UsageError(problem, fix)

    return click.argument(
        "given", nargs=-1, metavar="", type=click.UNPROCESSED, expose_value=False, callback=refuse
    )


def read_text(path: Path, most: int, *, too_much: UsageError, name_one: str, give_text: str) -> str:
    """What is in a file, or comes on standard input.

    Args:
        path: The file; `-` for standard input.
        most: Bytes.
        too_much: What is raised if there are more.
        name_one: What to do if there is no such file.
        give_text: What to do if it is not text.

    Raises:
        UsageError: If it cannot be read, is too much, or is not UTF-8.
    """
    try:
        if path == STANDARD_INPUT:
            content = sys.stdin.buffer.read(most + 1)
        else:
            with path.open("rb") as file:
                content = file.read(most + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", name_one) from None
    if len(content) > most:
        raise too_much
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8", give_text) from None
