"""One line per asset while a run goes on: how many rows, whether it was reused, which checks failed."""

import time

from rich.console import Console
from rich.markup import escape

from secure_platform.cli.output import printable
from secure_platform.orchestration.steps.exchange import AssetEvent, RunReport


class Progress:
    """Prints a run's events as they happen.

    Args:
        out: Where to.
        quiet: Print nothing.
    """

    def __init__(self, out: Console, *, quiet: bool = False) -> None:
        self._out = out
        self._quiet = quiet
        self._started = time.monotonic()

    def start(self, text: str) -> None:
        """Say what begins, before the first event comes."""
        self._print(f"{_safe(text)} …")

    def __call__(self, event: AssetEvent) -> None:
        """Print one event."""
        text = _line(event)
        if text is not None:
            self._print(text)

    def _print(self, text: str) -> None:
        if not self._quiet:
            self._out.print(f"[dim]{time.monotonic() - self._started:6.1f} s[/dim]  {text}")


def reused(report: RunReport) -> dict[str, bool]:
    """Asset → whether the run found it unchanged and wrote nothing."""
    return {
        event.asset: bool((event.metadata or {}).get("reused"))
        for event in report.events
        if event.kind == "materialized"
    }


def _line(event: AssetEvent) -> str | None:
    asset = _safe(event.asset)
    match event.kind:
        case "materialized":
            metadata = event.metadata or {}
            rows = f"{metadata['dagster/row_count']} rows" if "dagster/row_count" in metadata else ""
            note = "[cyan]reused[/cyan]" if metadata.get("reused") else "[green]new[/green]"
            if metadata.get("rows_left_out"):
                note += f"  [yellow]{metadata['rows_left_out']} quarantined[/yellow]"
            return f"{asset:<44} {rows:>14}  {note}"
        case "checked" if not event.passed:
            colour = "red" if event.blocking else "yellow"
            return f"{asset:<44} [{colour}]check {_safe(event.check or '')} failed[/{colour}]"
        case "failed":
            return f"{asset:<44} [red]refused[/red]"
        case _:
            return None


def _safe(text: str) -> str:
    return escape(printable(text))
