"""Measures of the column classifier: accuracy on the labelled tables, speed on a generated one."""

import os
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any, Final

import polars as pl

from benchmarks import peers
from benchmarks.bench import Bench, Figure
from benchmarks.measure import Measurement, Stopwatch
from benchmarks.scan.confusion import publish
from benchmarks.scan.score import Outcome, exact, held_out, outcomes, score
from benchmarks.scan.tables import labels, read
from secure_platform.scan.columns import Scanner
from secure_platform.taxonomy.info_types import info_types

ROOT: Final = Path(__file__).resolve().parents[2]
OURS: Final = "all info types"
PLAIN: Final = "Polars searches every cell for one pattern"
STRUCTURED: Final = "presidio-structured, default recognizers, blank spaCy model"
PEER_ROWS: Final = 200
PARTS: Final = {"open folders": False, "held-out folders": True}


def run(bench: Bench) -> list[Figure]:
    """Accuracy first, then speed."""
    data = Path(os.environ.get("SECURE_PLATFORM_TEST_DATA", ROOT.parent / "shared" / "data"))
    accuracy = bench.measure(
        "the labelled tables",
        "scan.classify:accuracy",
        data=str(data),
        tables=list(labels())[: bench.scale.tables],
    )
    if bench.scale.tables is None:
        publish([Outcome(*each) for each in accuracy.detail["outcomes"]])
    folder, rows = str(bench.folder), bench.scale.scan_rows
    ours, plain = (
        bench.measure(name, f"scan.classify:{kind}", repeats=bench.scale.repeats, folder=folder, rows=rows)
        for name, kind in ((OURS, "classify"), (PLAIN, "plain"))
    )
    return [*_right(accuracy.detail["scores"]), *_fast(ours, plain), *_peer(bench, ours)]


def _peer(bench: Bench, ours: Measurement) -> list[Figure]:
    """presidio-structured over the first rows of the mixed table."""
    if not peers.installed():
        bench.say("presidio-structured is not installed (make peers): left out")
        return []
    bench.say(STRUCTURED)
    table = pl.read_parquet(_mixed(bench.folder, bench.scale.scan_rows)).head(PEER_ROWS)
    theirs = table.height * table.width / peers.ask("presidio_structured", table.to_dict(as_series=False)).cpu
    return [Figure("cells a CPU second", ours.detail["cells"] / ours.cpu / theirs, "x as fast", STRUCTURED)]


def _right(scores: Mapping[str, Mapping[str, float]]) -> list[Figure]:
    targets = {"all folders": {"precision": 0.90, "recall": 0.92}}
    return [
        Figure(
            f"{measure} of identifiers and secrets", value, "", part, targets.get(part, {}).get(measure), True
        )
        if measure != "exact"
        else Figure("columns with every label and no other", value, "", part)
        for part, measures in scores.items()
        for measure, value in measures.items()
    ]


def _fast(ours: Measurement, plain: Measurement) -> list[Figure]:
    cells = ours.detail["cells"]
    return [
        Figure("cells a second", cells / ours.wall / 1e6, "million", "", 1.0, at_least=True),
        Figure("classifying a mixed table", ours.wall / plain.wall, "x wall", PLAIN),
        Figure("peak memory", ours.peak_bytes / plain.peak_bytes, "x", PLAIN),
    ]


def accuracy(watch: Stopwatch, data: str, tables: Iterable[str]) -> dict[str, Any]:
    """Labelled tables through the scanner; the detail has the outcomes by type, and no value."""
    scanner = Scanner(info_types())
    judged: list[Outcome] = []
    columns: dict[str, list[bool]] = defaultdict(list)
    for table in tables:
        frame = read(Path(data), table).lazy()
        found: dict[str, set[str]] = defaultdict(set)
        with watch:
            findings = scanner.scan(frame)
        for finding in findings:
            found[finding.column.strip()].add(finding.info_type)
        judged += outcomes(table, found)
        for name, label in labels()[table].items():
            columns[table].append(exact(label, found.get(name, ())))
    return {
        "scores": _scores(judged, columns),
        "types": _types(judged),
        "outcomes": [astuple(outcome) for outcome in judged],
    }


def _scores(judged: Iterable[Outcome], columns: Mapping[str, list[bool]]) -> dict[str, dict[str, float]]:
    parts = {name: {table for table in columns if held_out(table) == held} for name, held in PARTS.items()}
    scores: dict[str, dict[str, float]] = {}
    for name, tables in {**parts, "all folders": set(columns)}.items():
        total = score(o for o in judged if o.table in tables and o.group == "sensitive")
        right = [answer for table in tables for answer in columns[table]]
        share = sum(right) / len(right) if right else 1.0
        scores[name] = {"precision": total.precision, "recall": total.recall, "exact": share}
    return scores


def _types(judged: Iterable[Outcome]) -> dict[str, dict[str, dict[str, int]]]:
    counts: dict[str, dict[str, dict[str, int]]] = {name: {} for name in PARTS}
    for part, held in PARTS.items():
        for outcome in judged:
            if held_out(outcome.table) == held:
                kind = counts[part].setdefault(outcome.info_type, {"right": 0, "missed": 0, "false": 0})
                kind[outcome.verdict] += 1
    return counts


def classify(watch: Stopwatch, folder: str, rows: int) -> dict[str, Any]:
    """The scanner over the mixed table."""
    frame = pl.scan_parquet(_mixed(Path(folder), rows))
    scanner = Scanner(info_types())
    with watch:
        findings = scanner.scan(frame)
    return {"cells": rows * len(frame.collect_schema()), "findings": len(findings)}


def plain(watch: Stopwatch, folder: str, rows: int) -> dict[str, Any]:
    """One pass over the same bytes."""
    frame = pl.scan_parquet(_mixed(Path(folder), rows))
    with watch:
        frame.select(pl.all().str.contains("@[a-z]+").sum()).collect(engine="streaming")
    return {}


def _mixed(folder: Path, rows: int) -> Path:
    """Half of the columns hold something, half are what tables are full of; made once."""
    path = folder / "mixed.parquet"
    if not path.exists():
        draw = random.Random(7)  # noqa: S311 - the same table every time
        pl.DataFrame([_row(draw) for _ in range(rows)]).write_parquet(path)
    return path


def _row(draw: random.Random) -> dict[str, str]:
    number = draw.randrange(10**12)
    return {
        "id": f"{draw.getrandbits(128):032x}",
        "order": str(number),
        "status": draw.choice(["open", "paid", "shipped"]),
        "amount": f"{number % 100_000 / 100:.2f}",
        "quantity": str(number % 50),
        "sku": f"SKU-{number % 10_000:05d}-{number % 7}",
        "note": f"left at the door of number {number % 90}, paid in full, call before delivery",
        "name": f"{draw.choice(['Ann', 'Bob', 'Cho'])} {draw.choice(['Diaz', 'Eze', 'Fox'])}",
        "email": f"user{number}@example.org",
        "phone": f"+1 212 555 {number % 10_000:04d}",
        "ssn": f"{number % 899 + 1:03d}-{number % 98 + 1:02d}-{number % 9998 + 1:04d}",
        "ip": f"10.{number % 250}.{number % 251}.{number % 252}",
        "placed": f"2024-{number % 12 + 1:02d}-{number % 28 + 1:02d}",
        "city": draw.choice(["Boston", "Lynn", "Salem"]),
    }
