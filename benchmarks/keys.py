"""What keys cost: requests to Vault in a run, and the envelope of a snapshot beside writing it plainly.

A step logs in, opens each key that it needs once, and asks no more, however many rows there are. The envelope
does not depend on who wraps the keys: it asks nobody.
"""

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import polars as pl

from benchmarks.bench import Bench, Figure
from benchmarks.data import write_orders
from benchmarks.measure import Stopwatch
from benchmarks.projects import FIRST_PRODUCT, dataset_names, write_project, write_visits
from benchmarks.shop import shop
from benchmarks.vault import Vault, requests, vault
from secure_platform.contract.product import load_product
from secure_platform.homes import initialise
from secure_platform.services import Services
from secure_platform.settings import Settings, load_settings
from secure_platform.store.parquet import ZSTD_LEVEL

PLAIN: Final = "plain Parquet files"
ENCRYPTED: Final = "encrypted, keys at hand"
ENVELOPE: Final = "with an envelope each"
MORE_ROWS: Final = 20
DATASETS: Final = 4
VISITS: Final = 500


def run(bench: Bench) -> list[Figure]:
    """Requests counted by the server itself, then files written in three ways."""
    with vault(bench.folder / "vault") as server:
        figures = _requests(bench, server)
    for rows in bench.scale.file_rows:
        figures += _envelopes(bench, rows)
    return figures


def _requests(bench: Bench, server: Vault) -> list[Figure]:
    measured = bench.measure(
        "requests of pull and protect",
        "keys:counted",
        folder=str(bench.folder),
        vault=server.settings,
        audit=str(server.audit),
    )
    once, more_rows, more_datasets = measured.detail["per_dataset"]
    name = "requests to Vault, pull and protect"
    return [
        Figure(name, once, "per dataset"),
        Figure(f"{name}, {MORE_ROWS}x rows", more_rows / once, "x", f"{VISITS} rows", target=1),
        Figure(f"{name}, {DATASETS} datasets", more_datasets / once, "x per dataset", "1 dataset", target=1),
    ]


def _envelopes(bench: Bench, rows: int) -> list[Figure]:
    bench.say(f"generating {rows:,} orders")
    folder = bench.folder / f"orders{rows}"
    folder.mkdir()
    write_orders(folder / "orders.parquet", rows)
    more: dict[str, Any] = {"folder": str(folder), "files": bench.scale.files}
    files = f"{bench.scale.files} x {rows:,} rows"
    plain, encrypted, envelope = (
        bench.measure(f"{what}, {files}", f"keys:{how}", repeats=bench.scale.repeats, **more)
        for what, how in ((PLAIN, "plain"), (ENCRYPTED, "encrypted"), (ENVELOPE, "enveloped"))
    )
    each = envelope.detail["alone"] / bench.scale.files
    return [
        Figure(f"{ENCRYPTED}, {rows:,} rows", encrypted.cpu / plain.cpu, "x CPU", PLAIN),
        Figure(f"{ENVELOPE}, {rows:,} rows", envelope.cpu / plain.cpu, "x CPU", PLAIN),
        Figure(f"an envelope, {rows:,} rows", envelope.detail["alone"] / plain.wall, "x wall", PLAIN),
        Figure("an envelope", each * 1_000, "ms"),
    ]


def counted(watch: Stopwatch, folder: str, vault: dict[str, Any], audit: str) -> dict[str, Any]:
    """Requests per dataset: of one, of one with more rows, of several."""
    found = []
    for datasets, rows in ((1, VISITS), (1, VISITS * MORE_ROWS), (DATASETS, VISITS)):
        root = Path(folder) / f"{datasets}x{rows}"
        write_project(root, datasets)
        write_visits(root / "source", datasets, rows)
        settings = load_settings(home=root / "home", keys={"provider": "vault"}, vault=vault)
        initialise(settings)
        before = requests(Path(audit))
        with watch:
            _steps(settings, root, datasets)
        found.append((requests(Path(audit)) - before) / datasets)
    return {"per_dataset": found}


def _steps(settings: Settings, root: Path, datasets: int) -> None:
    """Pull and protect every dataset; each step opens the home for itself, as its own process would."""
    from secure_platform.orchestration.steps.context import StepContext  # noqa: PLC0415 - here only
    from secure_platform.orchestration.steps.protect import protect  # noqa: PLC0415
    from secure_platform.orchestration.steps.pull import pull  # noqa: PLC0415

    product = load_product(root / "many" / "defs" / FIRST_PRODUCT)
    for step in (pull, protect):
        for dataset in dataset_names(datasets):
            services = Services(settings)
            context = StepContext(services, product, "benchmark", "service:scheduler", root / "source")
            assert all(check.passed for check in step(context, dataset).checks), dataset


def plain(watch: Stopwatch, folder: str, files: int) -> dict[str, Any]:
    """Write the orders as Polars does."""
    return _written(watch, folder, files, lambda: None)


def encrypted(watch: Stopwatch, folder: str, files: int) -> dict[str, Any]:
    """Encrypt each file under a key that is there already."""
    return _written(watch, folder, files, lambda: secrets.token_bytes(32))


def enveloped(watch: Stopwatch, folder: str, files: int) -> dict[str, Any]:
    """Make a data key for each file, wrap it, and open what was wrapped, as a snapshot's next reader does."""
    services, _ = shop(Path(folder))
    alone = Stopwatch()
    seconds: list[float] = []

    def envelope() -> bytes:
        context = {"snapshot_id": secrets.token_hex(16)}
        with alone:
            made = services.keys.new_data_key(context)
            key = services.keys.open_data_key(made.wrapped, context)
        seconds.append(alone.wall)
        return key

    envelope()  # The ring opens its key here, once.
    seconds.clear()
    return {**_written(watch, folder, files, envelope), "alone": sum(seconds)}


def _written(watch: Stopwatch, folder: str, files: int, key: Callable[[], bytes | None]) -> dict[str, Any]:
    orders = pl.read_parquet(Path(folder) / "orders.parquet").lazy()
    target = Path(folder) / "copy.parquet"

    def write(secret: bytes | None) -> None:
        encryption = secret and pl.ParquetEncryptionProperties(footer_key=secret, aad_prefix=b"benchmark")
        orders.sink_parquet(target, compression_level=ZSTD_LEVEL, encryption=encryption or None)

    write(secrets.token_bytes(32))
    with watch:
        for _ in range(files):
            write(key())
    return {"bytes": target.stat().st_size}
