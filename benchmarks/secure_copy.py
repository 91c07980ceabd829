"""Secure copy: the write of the protect step, beside the plain Parquet copy that Polars makes of the same rows.

Each stage adds one thing, so that what costs what can be seen.
"""

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import polars as pl

from benchmarks.measure import Stopwatch
from benchmarks.shop import DATASET, PRODUCT, orders_plan, shop
from secure_platform.protect.execute import apply
from secure_platform.store.snapshots import Zone

def copy(watch: Stopwatch, folder: str, stage: str, times: int = 1) -> dict[str, Any]:
    """Copy the orders once."""
    return STAGES[stage](watch, Path(folder), _orders(Path(folder), times))


def _orders(folder: Path, times: int) -> pl.LazyFrame:
    return pl.scan_parquet([folder / "orders.parquet"] * times)


def _plain(watch: Stopwatch, folder: Path, orders: pl.LazyFrame) -> dict[str, Any]:
    target = folder / "copy.parquet"
    with watch:
        orders.sink_parquet(target)
    return _written(target)


def _encrypted(watch: Stopwatch, folder: Path, orders: pl.LazyFrame) -> dict[str, Any]:
    target = folder / "copy.parquet"
    secret = pl.ParquetEncryptionProperties(footer_key=secrets.token_bytes(32), aad_prefix=b"benchmark")
    with watch:
        orders.sink_parquet(target, encryption=secret)
    return _written(target)


def _written(target: Path) -> dict[str, Any]:
    size = target.stat().st_size
    target.unlink()
    return {"bytes": size}


def _snapshot(*, tokens: bool, scan: bool) -> Callable[[Stopwatch, Path, pl.LazyFrame], dict[str, Any]]:
    def write(watch: Stopwatch, folder: Path, orders: pl.LazyFrame) -> dict[str, Any]:
        services, product = shop(folder)
        plan = orders_plan(services, product)
        with services.store.draft(PRODUCT, DATASET, Zone.PROTECTED, actor="benchmark") as draft:
            with watch:
                frame = apply(plan, orders, services.keys) if tokens else orders
                draft.write(frame, observe=[services.scanner.observe(frame)] if scan else [])
            return {}
    return write

STAGES: Final = {
    "plain copy": _plain,
    "encrypted": _encrypted,
    "and digested": _snapshot(tokens=False, scan=False),
    "and tokenized": _snapshot(tokens=True, scan=False),
    "and scanned": _snapshot(tokens=True, scan=True),
}
