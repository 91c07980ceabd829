"""The pull and protect steps, whole, beside what Polars alone does with the same file.

Pull splits records, checks the encoding, validates the contract, scans every cell, encrypts and digests.
Protect applies the plan, encrypts and digests, and then proves the output: rows, references, a second scan,
and a search for every original value.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import polars as pl

from benchmarks.bench import Bench, Figure
from benchmarks.data import write_orders
from benchmarks.measure import Stopwatch
from benchmarks.shop import DATASET, shop
from secure_platform.orchestration.steps.context import CheckOutcome, StepContext
from secure_platform.orchestration.steps.protect import protect
from secure_platform.orchestration.steps.pull import pull

CSV: Final = "Polars reads the CSV and writes Parquet"
COPY: Final = "plain copy"


def run(bench: Bench) -> list[Figure]:
    """Pull and protect one after the other on a home of their own."""
    bench.say("generating orders")
    rows, folder = bench.scale.step_rows, str(bench.folder)
    size = _write_source(bench.folder, rows)
    csv = bench.measure(CSV, "steps:csv", repeats=bench.scale.repeats, folder=folder)
    copy = bench.measure(COPY, "secure_copy:plain", repeats=bench.scale.repeats, folder=folder)
    pulled = bench.measure("pull", "steps:pulled", folder=folder)
    protected = bench.measure("protect", "steps:protected", folder=folder)
    again = bench.measure("protect, nothing changed", "steps:protected", folder=folder)
    return [
        Figure("pull", pulled.wall / csv.wall, "x wall", CSV),
        Figure("pull", pulled.cpu / csv.cpu, "x CPU", CSV),
        Figure("pull", size / 1e6 / pulled.wall, "MB per second"),
        Figure("pull", rows / pulled.wall, "rows per second"),
        Figure("protect", protected.wall / copy.wall, "x wall", COPY),
        Figure("protect", protected.cpu / copy.cpu, "x CPU", COPY),
        Figure("protect", rows / protected.wall, "rows per second"),
        Figure("protect, nothing changed", again.wall / protected.wall, "x wall", "protect"),
    ]


def _write_source(folder: Path, rows: int) -> int:
    write_orders(folder / "orders.parquet", rows)
    source = folder / "source" / "orders.csv"
    source.parent.mkdir()
    sent = pl.col("sent_at").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    pl.scan_parquet(folder / "orders.parquet").with_columns(sent).sink_csv(source)
    return source.stat().st_size


def csv(watch: Stopwatch, folder: str) -> dict[str, Any]:
    """Polars reads the source, every column as text, and writes it as Parquet."""
    target = Path(folder) / "copy.parquet"
    with watch:
        pl.scan_csv(Path(folder) / "source" / "orders.csv", infer_schema=False).sink_parquet(target)
    target.unlink()
    return {}


def pulled(watch: Stopwatch, folder: str) -> dict[str, Any]:
    """Pull the source into a home."""
    context = _context(Path(folder))
    with watch:
        outcome = pull(context, DATASET)
    _require_passed(outcome.checks)
    return {"rows": outcome.snapshot.rows, "bytes": outcome.snapshot.bytes}


def protected(watch: Stopwatch, folder: str) -> dict[str, Any]:
    """Protect what was pulled."""
    context = _context(Path(folder))
    with watch:
        outcome = protect(context, DATASET)
    _require_passed(outcome.checks)
    return {"rows": outcome.snapshot.rows, "reused": outcome.snapshot.reused}


def _context(folder: Path) -> StepContext:
    services, product = shop(folder)
    return StepContext(services, product, "benchmark", "service:scheduler", folder / "source")


def _require_passed(checks: Iterable[CheckOutcome]) -> None:
    failed = [check.name for check in checks if not check.passed]
    assert not failed, failed
