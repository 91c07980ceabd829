"""Results go to standard output: tables for people, or one JSON document for programs; errors to stderr.

Whoever reads the output may stop reading: the work goes on all the same. Nothing that is shown can steer the
terminal, whatever the data holds. Without a terminal, a row is one line: tools read it.
"""

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, TextIO

import click
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from secure_platform.errors import SecurePlatformError, UsageError
from secure_platform.plain import plain, visible

UNBROKEN: Final = 10_000
GAP: Final = 3
NARROWEST: Final = 16
LONG_HEX: Final = re.compile(r"[0-9a-f]{8}-?[0-9a-f-]{8,}")

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


def example(*lines: str) -> str:
    """The epilog of a command's help: command lines that can be copied."""
    return "\b\nExample:\n" + "\n".join(f"  secure-platform {line}" for line in lines)


class Output(Console):
    """Standard output for people."""

    def __init__(self) -> None:
        fixed = sys.stdout.isatty() or "COLUMNS" in os.environ
        super().__init__(highlight=False, soft_wrap=True, width=None if fixed else UNBROKEN)

    def on_broken_pipe(self) -> None:
        """Be quiet from now on."""
        self.quiet = True
        _discard(sys.stdout)


def show(data: Any, *, as_json: bool, render: Callable[[Console], None]) -> None:
    """Print a result: the data itself for programs, or what `render` draws for people."""
    if as_json:
        print_json(data)
    else:
        render(Output())


def print_json(data: Any) -> None:
    """Print one JSON document; what JSON has no type for becomes text."""
    _write(sys.stdout, json.dumps(plain(data), indent=2, allow_nan=False))


def print_lines(lines: Iterable[str]) -> None:
    """Print text for programs as it is; a terminal gets it without anything that it would obey."""
    for text in lines:
        _write(sys.stdout, printable(text) if sys.stdout.isatty() else text)


def require_new(path: Path) -> None:
    """Refuse a file that is to be written before the work is done for it.

    Raises:
        UsageError: If it exists, or its folder does not.
    """
    if os.path.lexists(path):
        raise cannot_write(path, "it exists")
    if not path.parent.is_dir():
        raise cannot_write(path, "its folder does not exist")


def cannot_write(path: Path, why: str | None) -> UsageError:
    """An error about a file that a command was to write."""
    return UsageError(f"{path} cannot be written: {why}", "Name a new file that can be written.")


def heading(out: Console, text: str) -> None:
    """A line above what belongs together."""
    out.print(Text(f"\n{printable(text)}", style="bold"))


def line(out: Console, text: str) -> None:
    """A line of text, without markup."""
    out.print(Text(printable(text)))


def table(out: Console, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table whose cells are text; columns of numbers are aligned to the right.

    Where it is too narrow, the last column gives way; only if that does not help, all do.
    """
    cells = [tuple(row) for row in rows]
    drawn = _table(columns, cells, last_gives_way=True)
    *firm, last = [_width([name, *(row[place] for row in cells)]) for place, name in enumerate(columns)]
    needed = sum(firm) + GAP * len(firm) + min(last, NARROWEST)
    out.print(drawn if needed <= out.width else _table(columns, cells, last_gives_way=False))


def records(out: Console, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table if it fits, else one block per row with a line per column."""
    widths = [_width([name, *(row[place] for row in rows)]) for place, name in enumerate(columns)]
    if sum(widths) + GAP * (len(widths) - 1) <= out.width:
        table(out, columns, rows)
        return
    for number, row in enumerate(rows, start=1):
        heading(out, f"row {number}")
        block = Table(box=None, show_header=False, pad_edge=False)
        for name, cell in zip(columns, row, strict=True):
            block.add_row(Text(printable(name), style="dim"), Text(printable(cell)))
        out.print(block)


def printable(value: Any) -> str:
    """The value as text without anything that a terminal would obey; nothing for None."""
    return "" if value is None else visible(str(value))


def brief(text: str) -> str:
    """The text with its digests, keyed hashes and run ids cut to their beginning."""
    return LONG_HEX.sub(lambda found: f"{found[0][:12]}…", text)


def report_error(error: SecurePlatformError, *, as_json: bool) -> int:
    """Print an error and return its exit code."""
    return report(type(error).__name__, error.culprit, error.fix, code=error.exit_code, as_json=as_json)


def report(name: str, culprit: str, fix: str, *, code: int, as_json: bool) -> int:
    """Print what is wrong and what to do about it, and return the exit code."""
    if as_json:
        print_json({"error": name, "culprit": culprit, "fix": fix, "exit_code": code})
    else:
        _write(sys.stderr, f"error: {printable(culprit.rstrip('.'))}.\n  fix: {printable(fix)}")
    return code


def finish() -> None:
    """Flush what was printed; a reader that is gone is no error."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            _discard(stream)


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(f"{text}\n")
        stream.flush()
    except BrokenPipeError:
        _discard(stream)


def _discard(stream: TextIO) -> None:
    """Send what is left in the stream's buffer, and all that follows, nowhere."""
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - os.devnull is a name, not a path of ours
        os.dup2(nowhere.fileno(), stream.fileno())


def _table(columns: Sequence[str], rows: Sequence[tuple[Any, ...]], *, last_gives_way: bool) -> Table:
    drawn = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for place, name in enumerate(columns):
        numbers = all(row[place] is None or _is_number(row[place]) for row in rows)
        drawn.add_column(
            Text(printable(name)),
            overflow="fold",
            justify="right" if numbers else "left",
            no_wrap=last_gives_way and place < len(columns) - 1,
        )
    for row in rows:
        drawn.add_row(*(Text(printable(cell)) for cell in row))
    return drawn


def _width(cells: Iterable[Any]) -> int:
    return max(cell_len(printable(cell)) for cell in cells)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)
