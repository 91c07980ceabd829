"""Hostile cells survive the way of the data exactly; a hostile source leaves nothing half-written behind."""

import csv
import gzip
import io
import zipfile
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from orchestration_support import PRODUCT, Line, Rows, new_line

from secure_platform.errors import DataRefusedError
from secure_platform.orchestration.steps.context import StepContext
from secure_platform.orchestration.steps.protect import current_plan
from secure_platform.orchestration.steps.pull import pull
from secure_platform.source.csv import LINE, CsvSource
from secure_platform.taxonomy.classification import Classification

DATASETS = ("patients", "encounters", "conditions", "medications", "observations")
KEPT = {
    "patients": {"RACE", "ETHNICITY", "STATE"},
    "encounters": {"DESCRIPTION", "REASONDESCRIPTION"},
    "conditions": {"DESCRIPTION"},
    "medications": {"DESCRIPTION", "REASONDESCRIPTION"},
    "observations": {"CATEGORY", "DESCRIPTION", "UNITS", "TYPE"},
}


def hostile_cells(line: Line, strings: list[str]) -> None:
    """Put the strings, over and over, into every column of free text.

    What is dropped gets other ones than what is kept: the residual check would rightly find them again.
    """
    contracts = line.services.product(PRODUCT).contracts
    for dataset in DATASETS:
        dropped = {
            column.name
            for column in contracts[dataset].columns
            if column.logical_type == "string" and column.classification is Classification.RESTRICTED
            if column.pattern is None and column.enum is None and column.reference is None
        }
        kept_texts = cycle(strings)
        dropped_texts = cycle(f"{text}\N{DAGGER}{dataset}" for text in strings if len(text) < 50)

        def fill(
            rows: Rows,
            kept: set[str] = KEPT[dataset],
            dropped: set[str] = dropped,
            supplies: tuple[Iterator[str], Iterator[str]] = (kept_texts, dropped_texts),
        ) -> Rows:
            for row in rows[1:]:
                for place, name in enumerate(rows[0]):
                    if name in kept | dropped:
                        row[place] = next(supplies[name in dropped])
            return rows

        line.edit(dataset, fill)


@pytest.mark.slow
def test_hostile_strings_survive_in_every_text_column(naughty_strings: list[str], tmp_path: Path) -> None:
    line = new_line(tmp_path, patients=180)
    strings = [text for text in naughty_strings if text and "\0" not in text]
    hostile_cells(line, strings)
    plan = current_plan(line.services.product(PRODUCT), line.services.keys)
    seen: set[str] = set()
    for dataset in DATASETS:
        source = pl.concat([b.frame for b in CsvSource(line.source / f"{dataset}.csv").batches()])
        pulled = line.pull(dataset)
        assert pulled.checks[0].passed, pulled.checks[0].detail
        raw = line.services.store.scan(pulled.snapshot).collect()
        assert raw.equals(source)
        outcome = line.protect(dataset)
        assert all(check.passed for check in outcome.checks), [c.detail for c in outcome.checks]
        protected = line.services.store.scan(outcome.snapshot).collect()
        kept = [c.column for c in plan.datasets[dataset].outputs if c.transform == "keep"]
        assert KEPT[dataset] <= set(kept)
        quarantined = line.services.store.quarantine(pulled.snapshot)
        lines = pl.Series([], dtype=pl.UInt64) if quarantined is None else quarantined.collect()[LINE]
        good = source.filter(~pl.col(LINE).is_in(lines.implode()))
        assert protected.height == good.height
        for name in KEPT[dataset]:
            assert protected[name].equals(good[name]), (dataset, name)
            seen |= set(protected[name].drop_nulls())
    assert seen == set(strings)


def damaged_quote(content: bytes) -> dict[str, bytes]:
    return {"patients.csv": content + b'"'}


def wrong_encoding(content: bytes) -> dict[str, bytes]:
    return {"patients.csv": content.decode().encode("utf-16")}


def cut_gzip(content: bytes) -> dict[str, bytes]:
    return {"patients.csv.gz": gzip.compress(content, mtime=0)[:-9]}


def damaged_parquet(content: bytes) -> dict[str, bytes]:
    frame = pl.read_csv(content * 1, infer_schema=False)
    sink = io.BytesIO()
    pq.write_table(pl.concat([frame] * 40).to_arrow(), sink, row_group_size=500, compression="none")
    stored = bytearray(sink.getvalue())
    stored[len(stored) * 2 // 3 : len(stored) * 2 // 3 + 4_000] = b"\xff" * 4_000
    return {"patients.parquet": bytes(stored)}


def two_files(content: bytes) -> dict[str, bytes]:
    return {"patients.csv": content, "patients.csv.gz": gzip.compress(content, mtime=0)}


@pytest.mark.parametrize(
    "damage", [damaged_quote, wrong_encoding, cut_gzip, damaged_parquet, two_files], ids=lambda f: f.__name__
)
def test_a_refused_source_leaves_nothing_behind(
    tmp_path: Path, damage: Callable[[bytes], dict[str, bytes]]
) -> None:
    line = new_line(tmp_path)
    content = (line.source / "patients.csv").read_bytes()
    (line.source / "patients.csv").unlink()
    for name, stored in damage(content).items():
        (line.source / name).write_bytes(stored)
    home = line.services.settings.home
    assert line.services.store is not None
    before = {path for room in ("lake", "tmp") for path in (home / room).rglob("*")}
    with pytest.raises(DataRefusedError) as caught:
        line.pull("patients")
    known = {cell for row in csv.reader(io.StringIO(content.decode())) for cell in row[1:12] if len(cell) > 4}
    header = set(content.decode().partition("\n")[0].split(","))
    assert not any(cell in str(caught.value) for cell in known - header)
    after = {path for room in ("lake", "tmp") for path in (home / room).rglob("*")}
    assert {path.name for path in after - before} <= {"claims.lock"}
    actions = {entry.body["action"] for entry in line.services.audit.entries()}
    assert "snapshot.write" not in actions


def test_a_zip_file_is_pulled_like_the_folder_it_was_packed_from(tmp_path: Path) -> None:
    line = new_line(tmp_path)
    with zipfile.ZipFile(tmp_path / "export.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in line.source.iterdir():
            archive.write(path, f"csv/{path.name}")
    first = line.pull("patients").snapshot
    context = line.context()
    packed = StepContext(
        context.services, context.product, context.run_id, context.requester, tmp_path / "export.zip"
    )
    again = pull(packed, "patients").snapshot
    assert again.reused
    assert again.snapshot_id == first.snapshot_id
    other = pull(packed, "encounters").snapshot
    assert other.provenance["source"] == line.pull("encounters").snapshot.provenance["source"]


def test_parquet_is_pulled_to_the_same_content_as_its_csv(tmp_path: Path) -> None:
    line = new_line(tmp_path)
    first = line.pull("patients").snapshot
    frame = pl.read_csv(line.source / "patients.csv", infer_schema=False)
    (line.source / "patients.csv").unlink()
    frame.write_parquet(line.source / "patients.parquet")
    second = line.pull("patients")
    assert all(check.passed for check in second.checks)
    assert not second.snapshot.reused
    raw = [line.services.store.scan(snapshot).drop(LINE).collect() for snapshot in (first, second.snapshot)]
    assert raw[0].equals(raw[1])
    assert line.protect("patients").snapshot.rows == frame.height
