"""How a scan is shown in a terminal: what is done while it runs, and what was found."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from secure_platform.cli.output import line, printable, table
from secure_platform.scan.report import Reported, Section, is_secret
from secure_platform.scan.secrets.baseline import Sifted

_LINES: Final = 5


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Tell on a terminal what is scanned now; nothing elsewhere."""
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TimeElapsedColumn(), TextColumn("{task.completed} done, now"), _Name())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task("", total=None, completed=-1)
        yield lambda name: shown.update(task, advance=1, description=name)


class _Name(TextColumn):
    """A name as it is, not as markup."""

    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: Any) -> Text:
        return Text(printable(task.description))


def render(out: Console, section: Section, sifted: Sifted[Reported]) -> None:
    """Draw the report."""
    if sifted.open:
        columns = ("source", "column or line", "info type", "rule", "cells", "ratio", "confidence", "because")
        table(out, columns, map(_row, sifted.open))
    for excuse in sifted.expired:
        line(out, f"The excuse for {excuse.rule} ({excuse.fingerprint[:8]}) ended on {excuse.expires}.")
    for excuse in sifted.unused:
        line(out, f"The excuse for {excuse.rule} ({excuse.fingerprint[:8]}) excuses nothing: remove it.")
    if section.skipped:
        table(out, ("skipped", "because"), [(each.source, each.reason) for each in section.skipped])
    secret = sum(is_secret(each.info_type) for each in sifted.open)
    line(
        out,
        f"{len(sifted.open)} findings ({secret} secrets) in {len(section.scanned)} sources; "
        f"{len(sifted.excused)} excused, {len(section.skipped)} skipped.",
    )


def _row(finding: Reported) -> tuple[Any, ...]:
    place = finding.column if finding.column is not None else ", ".join(map(str, _lines(finding)))
    ratio = f"{finding.ratio:.0%}" if finding.ratio is not None else None
    confidence, because = f"{finding.confidence:.2f}", "; ".join(finding.reasons)
    return finding.source, place, finding.info_type, finding.rule, finding.rows, ratio, confidence, because


def _lines(finding: Reported) -> list[Any]:
    """The first lines in which it is."""
    lines: list[Any] = list(dict.fromkeys(span.line for span in finding.spans))
    return lines if len(lines) <= _LINES else [*lines[:_LINES], "…"]
