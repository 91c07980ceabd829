"""`make bench`: runs the subjects one after the other, prints their figures and writes them as JSON."""

import importlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table

from benchmarks.bench import TINY, Bench, Figure, Scale
from benchmarks.data import BYTES_PER_ROW

SUBJECTS: Final = (
    *("secure_copy", "steps", "definitions", "audit", "overhead", "keys", "web", "scan", "secret_scan"),
    *("text_scan", "protect", "monitor", "months", "dirty_pairs", "demo"),
)
RESULTS: Final = Path(__file__).parent / "results"
LIBRARIES: Final = ("polars", "polars-hash", "dagster", "dagster-dbt", "dbt-core", "duckdb", "cryptography")
COPIES: Final = 10
"""How many times the orders are on the disk at once, at most, in any form."""


@click.command()
@click.option("--only", type=click.Choice(SUBJECTS), multiple=True, help="Subjects to run; all if not given.")
@click.option("--rows", type=click.IntRange(min=1), help="Rows of the secure copy.")
@click.option("--tiny", is_flag=True, help="The smallest size, to see that everything runs.")
@click.option("--strict", is_flag=True, help="Fail when a target is missed.")
@click.option("--output", type=click.Path(path_type=Path), help="The JSON file; default benchmarks/results/.")
def main(only: tuple[str, ...], rows: int | None, *, tiny: bool, strict: bool, output: Path | None) -> None:
    """Measure the product beside its peers, on this machine, in one run."""
    scale = TINY if tiny else Scale()
    scale = scale if rows is None else replace(scale, rows=rows)
    console = Console()
    facts = _machine()
    results = {name: _run(name, scale, console) for name in only or SUBJECTS}
    path = output or RESULTS / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    body = {"machine": facts, "scale": asdict(scale), "subjects": results}
    path.write_text(json.dumps(body, indent=1), encoding="utf-8")
    console.print(f"Written: {path}")
    missed = [figure for result in results.values() for figure in result["figures"] if figure["met"] is False]
    console.print(_verdict(results))
    sys.exit(1 if strict and missed else 0)


def _verdict(results: Mapping[str, Mapping[str, Any]]) -> str:
    judged = [figure["met"] for result in results.values() for figure in result["figures"]]
    met, missed = judged.count(True), judged.count(False)
    return f"Targets: {met} met, {missed} missed." if met or missed else "No target applies."


def _run(name: str, scale: Scale, console: Console) -> dict[str, Any]:
    subject = importlib.import_module(f"benchmarks.{name}")
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        _require_space(Path(folder), scale)
        bench = Bench(Path(folder), scale, lambda text: console.print(f"[dim]{name}: {text} …[/dim]"))
        figures: list[Figure] = subject.run(bench)
    _show(name, subject.__doc__ or "", figures, console)
    return {
        "measurements": [asdict(measurement) for measurement in bench.measurements],
        "figures": [{**asdict(figure), "met": figure.met} for figure in figures],
    }


def _require_space(folder: Path, scale: Scale) -> None:
    needed = COPIES * BYTES_PER_ROW * max(scale.rows, scale.step_rows)
    if shutil.disk_usage(folder).free < needed:
        raise click.ClickException(f"{folder} has less than {needed >> 20} MiB free. Name another TMPDIR.")


def _show(name: str, document: str, figures: list[Figure], console: Console) -> None:
    table = Table(title=f"{name}: {document.strip().splitlines()[0]}", title_justify="left")
    for heading in ("figure", "value", "", "against", "target", "met"):
        table.add_column(heading, justify="right" if heading in {"value", "target"} else "left")
    for figure in figures:
        bound = "" if figure.target is None else f"{'≥' if figure.at_least else '≤'} {figure.target:g}"
        met = {None: "", True: "[green]yes[/green]", False: "[red]no[/red]"}[figure.met]
        table.add_row(figure.name, f"{figure.value:,.2f}", figure.unit, figure.of, bound, met)
    console.print(table)


def _machine() -> dict[str, Any]:
    """What the seconds depend on."""
    revision = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"],  # noqa: S607 - the user's git
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "revision": revision.stdout.strip(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "load_before": os.getloadavg(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "versions": {name: version(name) for name in LIBRARIES},
    }


if __name__ == "__main__":
    main()
