"""Audit appends, beside plain SQLite commits of rows of the same size under the same pragmas."""

import sqlite3
from pathlib import Path
from typing import Any, Final

from benchmarks.bench import Bench, Figure
from benchmarks.measure import Stopwatch
from benchmarks.shop import shop
from secure_platform.audit.log import JSON

PLAIN: Final = "plain SQLite commits"
BODY_BYTES: Final = 300


def run(bench: Bench) -> list[Figure]:
    """Commits, appends, effects (an intent and an outcome), then verification of what they wrote."""
    folder, entries, repeats = str(bench.folder), bench.scale.entries, bench.scale.repeats
    more: dict[str, Any] = {"repeats": repeats, "folder": folder, "entries": entries}
    plain = bench.measure(PLAIN, "audit:commits", **more)
    appended = bench.measure("append", "audit:appends", **more)
    effects = bench.measure("effect", "audit:effects", **more)
    verified = bench.measure("verify", "audit:verifies", folder=folder)
    return [
        Figure(PLAIN, entries / plain.wall, "per second"),
        Figure("append", entries / appended.wall, "entries per second"),
        Figure("append", appended.wall / plain.wall, "x wall", PLAIN),
        Figure("effect", entries / effects.wall, "effects per second"),
        Figure("effect", effects.wall / 2 / plain.wall, "x wall per entry", PLAIN),
        Figure("verify", verified.detail["entries"] / verified.wall, "entries per second"),
    ]


def commits(watch: Stopwatch, folder: str, entries: int) -> dict[str, Any]:
    """One row, one transaction, durable."""
    path = Path(folder) / "plain.db"
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE entry(seq INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT")
    body = bytes(BODY_BYTES)
    with watch:
        for seq in range(entries):
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO entry VALUES (?, ?)", (seq, body))
            connection.execute("COMMIT")
    connection.close()
    return {"bytes": BODY_BYTES}


def appends(watch: Stopwatch, folder: str, entries: int) -> dict[str, Any]:
    """Events with the detail that a check has."""
    services, _ = shop(Path(folder))
    detail: dict[str, JSON] = {"run": "b" * 36, "check": "residual", "passed": True}
    with watch:
        for _ in range(entries):
            services.audit.append("asset.check", actor="dagster", subject="shop/raw/orders", detail=detail)
    return {}


def effects(watch: Stopwatch, folder: str, entries: int) -> dict[str, Any]:
    """Effects that do nothing."""
    services, _ = shop(Path(folder))
    with watch:
        for _ in range(entries):
            with services.audit.effect("snapshot.write", actor="benchmark", subject="shop/raw/orders"):
                pass
    return {}


def verifies(watch: Stopwatch, folder: str) -> dict[str, Any]:
    """Derive the whole log again."""
    services, _ = shop(Path(folder))
    with watch:
        report = services.audit.verify()
    return {"entries": report.size}
