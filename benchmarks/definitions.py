"""Definitions of many datasets: what a code server does before it answers, in a process that just started.

The dbt project was parsed before, as in every home that built something; how long that takes is said apart.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks.bench import Bench, Figure
from benchmarks.measure import Stopwatch
from benchmarks.projects import write_project

SECONDS: Final = 5.0
TARGETED: Final = 1_000
GRPC_BYTES: Final = 100 << 20
MIB: Final = 1 << 20


def run(bench: Bench) -> list[Figure]:
    """One size after the other; the target is for one of them."""
    figures: list[Figure] = []
    for datasets in bench.scale.datasets:
        folder = bench.folder / str(datasets)
        write_project(folder, datasets)
        parsed = bench.measure(f"dbt parse of {datasets} datasets", "definitions:parse", folder=str(folder))
        loaded = bench.measure(f"load {datasets} datasets", "definitions:load", folder=str(folder))
        target = SECONDS if datasets == TARGETED else None
        size = loaded.detail["snapshot_bytes"]
        figures += [
            Figure(f"{datasets} datasets load", loaded.wall, "s", target=target),
            *(
                Figure(f"{datasets} datasets: {part}", seconds, "s")
                for part, seconds in loaded.detail["parts"].items()
            ),
            Figure(f"{datasets} datasets, peak memory", loaded.peak_bytes / MIB, "MiB"),
            Figure(f"{datasets} datasets, snapshot", size / GRPC_BYTES, "x", "gRPC's 100 MB", target=1.0),
            Figure(f"{datasets} datasets, first dbt parse", parsed.wall, "s"),
        ]
    return figures


def parse(watch: Stopwatch, folder: str) -> dict[str, Any]:
    """Initialise the home and let dbt parse the project."""
    _use(folder)
    from secure_platform.orchestration.dbt import load_manifest  # noqa: PLC0415 - the environment comes first
    from secure_platform.orchestration.home import prepare  # noqa: PLC0415
    from secure_platform.settings import load_settings  # noqa: PLC0415

    settings = load_settings()
    prepare(settings)
    with watch:
        load_manifest(settings)
    return {}


def load(watch: Stopwatch, folder: str) -> dict[str, Any]:
    """Import, load and resolve everything, as the code server does."""
    _use(folder)
    parts: dict[str, float] = {}
    with watch:
        with _part(parts, "imports"):
            import dagster as dg  # noqa: PLC0415 - importing is measured

            from secure_platform.contract.product import load_products as read_products  # noqa: PLC0415
            from secure_platform.orchestration.component import product_definitions  # noqa: PLC0415
            from secure_platform.orchestration.governance import govern  # noqa: PLC0415
            from secure_platform.orchestration.project import load_products  # noqa: PLC0415
            from secure_platform.orchestration.resources import platform_resources  # noqa: PLC0415
        with _part(parts, "Dagster finds and builds the components"):
            products = load_products(Path(folder) / "many")
        with _part(parts, "assets, owners, classifications"):
            shared = dg.Definitions(resources=platform_resources(), executor=dg.in_process_executor)
            repository = govern(dg.Definitions.merge(products, shared)).get_repository_def()
        with _part(parts, "jobs, schedules, sensors"):
            repository.load_all_definitions()
    with _part(parts, "of the components: contracts alone"):
        read = read_products(Path(folder) / "many" / "defs")
    with _part(parts, "of the components: plans and assets alone"):
        for product in read.values():
            product_definitions(product)
    return {"parts": parts, "snapshot_bytes": _snapshot_bytes(repository)}


def _snapshot_bytes(repository: Any) -> int:
    import dagster as dg  # noqa: PLC0415
    from dagster._core.remote_representation.external_data import RepositorySnap  # noqa: PLC0415

    return len(dg.serialize_value(RepositorySnap.from_def(repository, defer_snapshots=True)))


@contextmanager
def _part(parts: dict[str, float], name: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    parts[name] = time.perf_counter() - started


def _use(folder: str) -> None:
    os.environ["SECURE_PLATFORM_PROJECT"] = folder
    sys.path.insert(0, folder)
