"""Secure copy: the write of the protect step, beside the plain Parquet copy that Polars makes.

The scan here is the first look at every cell; the second, at columns with candidates, is in `steps`.

Each stage adds one thing, so that what costs what can be seen. Five times the rows are the same file read
five times: memory must not grow.
"""

import secrets
from pathlib import Path
from typing import Any, Final

import polars as pl

from benchmarks.bench import Bench, Figure
from benchmarks.data import write_orders
from benchmarks.measure import Stopwatch
from benchmarks.shop import DATASET, PRODUCT, commit, orders_plan, shop
from secure_platform.protect.execute import apply
from secure_platform.store.parquet import ZSTD_LEVEL
from secure_platform.store.snapshot import Zone

PLAIN: Final = "plain copy"
WHOLE: Final = "tokenized, scanned and committed"
MORE: Final = 5
LIMIT: Final = 2.5
SAME: Final = 1.1
GIB: Final = 1 << 30


def run(bench: Bench) -> list[Figure]:
    """All stages, then both ends with five times the rows."""
    bench.say("generating orders")
    write_orders(bench.folder / "orders.parquet", bench.scale.rows)
    folder, repeats = str(bench.folder), bench.scale.repeats
    stages = {
        name: bench.measure(name, function, repeats=repeats, folder=folder, **parameters)
        for name, (function, parameters) in STAGES.items()
    }
    plain, whole = stages[PLAIN], stages[WHOLE]
    long = bench.measure(f"{WHOLE}, {MORE}x rows", "secure_copy:snapshot", folder=folder, times=MORE)
    return [
        *(Figure(name, stage.wall / plain.wall, "x wall", PLAIN) for name, stage in stages.items()),
        Figure("secure copy", whole.wall / plain.wall, "x wall", PLAIN, target=2.2),
        Figure("secure copy", whole.cpu / plain.cpu, "x CPU", PLAIN),
        Figure("secure copy, peak memory", whole.peak_bytes / GIB, "GiB", target=LIMIT),
        Figure(f"peak memory, {MORE}x rows", long.peak_bytes / GIB, "GiB", target=LIMIT),
        Figure(f"peak memory, {MORE}x rows", long.peak_bytes / whole.peak_bytes, "x", WHOLE, target=SAME),
        Figure("rows", bench.scale.rows / whole.wall, "per second"),
    ]


def plain(
    watch: Stopwatch, folder: str, level: int | None = None, *, encrypt: bool = False
) -> dict[str, Any]:
    """Copy the orders as Polars does."""
    target = Path(folder) / "copy.parquet"
    secret = pl.ParquetEncryptionProperties(footer_key=secrets.token_bytes(32), aad_prefix=b"benchmark")
    with watch:
        _orders(folder).sink_parquet(
            target, compression_level=level, encryption=secret if encrypt else None, maintain_order=True
        )
    size = target.stat().st_size
    target.unlink()
    return {"bytes": size}


def snapshot(
    watch: Stopwatch, folder: str, times: int = 1, *, tokens: bool = True, scan: bool = True
) -> dict[str, Any]:
    """Write the orders as the protect step does, and commit them."""
    services, product = shop(Path(folder))
    plan, orders = orders_plan(services, product), _orders(folder, times)
    with services.store.draft(PRODUCT, DATASET, Zone.PROTECTED, actor="benchmark") as draft:
        with watch:
            frame = apply(plan, orders, services.keys) if tokens else orders
            draft.write(frame)
            if scan:
                services.scanner.observe(draft.scan()).collect(engine="streaming")
            written = commit(draft)
        return {"bytes": written.bytes, "rows": written.rows}


def _orders(folder: str, times: int = 1) -> pl.LazyFrame:
    return pl.scan_parquet([Path(folder) / "orders.parquet"] * times)


STAGES: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    PLAIN: ("secure_copy:plain", {}),
    f"plain copy at zstd level {ZSTD_LEVEL}": ("secure_copy:plain", {"level": ZSTD_LEVEL}),
    "the same, encrypted": ("secure_copy:plain", {"level": ZSTD_LEVEL, "encrypt": True}),
    "digested and committed": ("secure_copy:snapshot", {"tokens": False, "scan": False}),
    "tokenized and committed": ("secure_copy:snapshot", {"scan": False}),
    WHOLE: ("secure_copy:snapshot", {}),
}
