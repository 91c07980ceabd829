"""A group lists its commands with the whole first sentence of each, however narrow the terminal is."""

from typing import Final

import click

_LONGEST: Final = 200
"""Longer than any first sentence: click cuts off what does not fit into one line."""


class Group(click.Group):
    """A group of commands."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in `--help`."""
        commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        with formatter.section("Commands"):
            formatter.write_dl(
                [
                    (name, command.get_short_help_str(_LONGEST))
                    for name, command in commands.items()
                    if command is not None and not command.hidden
                ]
            )
