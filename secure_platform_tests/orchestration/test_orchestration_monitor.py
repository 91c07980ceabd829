"""The steps write the metrics history and show what it says; days are made by moving the records back."""

import gzip
import os
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from contract_body import contract_body as contract
from orchestration_support import Line, new_line
from small_product import product_context, prop
from sqlalchemy import update

from secure_platform import canonical
from secure_platform.contract.model import Monitor
from secure_platform.contract.product import load_product
from secure_platform.control.tables import profile
from secure_platform.monitor.watch import STALE, Observation
from secure_platform.orchestration.steps.context import CheckOutcome
from secure_platform.orchestration.steps.observe import _outcome
from secure_platform.orchestration.steps.protect import protect
from secure_platform.orchestration.steps.pull import pull
from secure_platform.store.snapshot import Zone

CANARY = "Zyxwvut-Canary"


@pytest.fixture
def line(tmp_path: Path) -> Line:
    return new_line(tmp_path)


def check(checks: Sequence[CheckOutcome], name: str) -> CheckOutcome:
    return next(each for each in checks if each.name == name)


def yesterday(line: Line) -> None:
    """All records become a day older."""
    history = line.services.metrics
    database = line.services.database
    for record in history.before("healthcare", "patients", str(Zone.RAW)):
        with database.write() as connection:
            connection.execute(
                update(profile)
                .where(profile.c.snapshot_id == record.snapshot_id)
                .values(recorded_at=record.recorded_at - timedelta(days=1))
            )
    history.adopt()


def test_a_dataset_that_loses_most_of_its_rows_is_told_and_not_stopped(line: Line) -> None:
    outcome = line.pull("patients")
    assert check(outcome.checks, "volume").detail["state"] == "learning"
    (record,) = line.services.metrics.before("healthcare", "patients", str(Zone.RAW))
    for day in range(1, 12):
        moved = replace(record, snapshot_id=f"{day}", recorded_at=record.recorded_at - timedelta(days=day))
        line.services.metrics.add(moved)
    yesterday(line)
    line.edit("patients", lambda rows: rows[:-1])
    assert check(line.pull("patients").checks, "volume").detail["state"] == "pass"
    line.edit("patients", lambda rows: rows[:5])
    volume = check(line.pull("patients").checks, "volume")
    assert (volume.passed, volume.severity, volume.detail["state"]) == (False, "WARN", "fail")
    (unusual,) = volume.detail["unusual"]
    assert (unusual["metric"], unusual["value"]) == ("rows", "4")
    assert "**rows** 4, expected " in volume.plot


def test_the_history_holds_counts_and_no_value(line: Line) -> None:
    line.edit("patients", lambda rows: [rows[0], *([*row[:7], CANARY, *row[8:]] for row in rows[1:])])
    line.pull("patients")
    line.protect("patients")
    raw, protected = (
        line.services.metrics.before("healthcare", "patients", str(zone))[0]
        for zone in (Zone.RAW, Zone.PROTECTED)
    )
    assert raw.numbers["rows"] == protected.numbers["rows"] == 40
    assert {"bytes", "seconds", "lateness_hours", "invalid_rate", "duplicate_rate"} <= set(raw.numbers)
    assert raw.sketches == {}
    assert set(raw.columns) >= {"SSN"}
    assert any("SSN" in column for column in raw.findings)
    assert not any("SSN" in metric for metric in protected.numbers)
    home = line.services.settings.home
    with sqlite3.connect(home / "control.db") as database:
        text = "".join(str(row) for row in database.execute("SELECT * FROM profile"))
    database.close()
    assert CANARY not in text


def test_a_snapshot_that_is_found_again_shows_what_was_said_and_its_age(line: Line) -> None:
    first = line.pull("patients")
    yesterday(line)
    yesterday(line)
    again = line.pull("patients")
    assert again.snapshot.reused
    before, now = (dict(check(each.checks, "quality").detail) for each in (first, again))
    assert now == before
    assert not check(again.checks, "freshness").passed
    assert len(line.services.metrics.before("healthcare", "patients", str(Zone.RAW))) == 1


def test_a_delivery_of_what_was_there_before_is_stale_and_a_file_that_nobody_wrote_is_not(line: Line) -> None:
    line.pull("patients")
    contents = (line.source / "patients.csv").read_bytes()
    yesterday(line)
    line.edit("patients", lambda rows: rows[:-1])
    assert check(line.pull("patients").checks, "freshness").passed
    yesterday(line)
    long_ago = time.time() - 3 * 86_400
    os.utime(line.source / "patients.csv", (long_ago, long_ago))
    assert check(line.pull("patients").checks, "freshness").passed
    line.edit("patients", lambda rows: rows)
    again = line.pull("patients")
    stale = check(again.checks, "freshness")
    assert (again.snapshot.reused, stale.passed, stale.detail["state"]) == (True, False, "fail")
    assert stale.detail["unusual"][0]["note"] == STALE
    (line.source / "patients.csv").write_bytes(contents)
    assert check(line.pull("patients").checks, "freshness").detail["unusual"][0]["note"] == STALE
    (line.source / "patients.csv").unlink()
    (line.source / "patients.csv.gz").write_bytes(gzip.compress(contents))
    other = line.pull("patients")
    assert not other.snapshot.reused
    assert check(other.checks, "freshness").detail["unusual"][0]["note"] == STALE
    context = line.context()
    contracts = context.product.contracts
    edited = replace(contracts["patients"], digest="of another wording")
    product = replace(context.product, contracts={**contracts, "patients": edited})
    assert not pull(replace(context, product=product), "patients").snapshot.reused
    came = line.services.metrics.arrivals("healthcare", "patients", str(Zone.RAW))
    assert [each.new for each in came] == [True, True, False, False]


def test_a_column_that_is_redacted_by_the_contract_is_no_fault(tmp_path: Path) -> None:
    frame = pl.DataFrame({"id": range(1, 61), "ward": [f"ward {n % 20}" for n in range(60)]})

    def declared(how: str) -> dict[str, Any]:
        key = prop("id", "integer", primaryKey=True, required=True)
        return contract("stays", [key, prop("ward", protect=how)])

    context = product_context(tmp_path, "gdpr_pseudonymous", [declared("keep")], {"stays": frame})
    path = tmp_path / "defs" / "small" / "contracts" / "stays.odcs.yaml"
    for how in ("keep", "redact"):
        path.write_bytes(canonical.dumps(declared(how)))
        context = replace(context, product=load_product(tmp_path / "defs" / "small"))
        pull(context, "stays")
        quality = check(protect(context, "stays").checks, "quality")
    assert (quality.passed, quality.detail["snapshots"]) == (True, 1)
    history = context.services.metrics.before("small", "stays", str(Zone.PROTECTED))
    assert [each.numbers["null_rate:ward"] for each in history] == [0, 1]


def test_rows_that_came_twice_are_told_on_the_second_day(line: Line) -> None:
    line.pull("patients")
    line.edit("patients", lambda rows: [*rows, *rows[1:]])
    quality = check(line.pull("patients").checks, "quality")
    assert "repeated_rate" in {each["metric"] for each in quality.detail["unusual"]}
    assert quality.detail["state"] == "fail"


@pytest.mark.parametrize(
    ("severity", "state", "shown"),
    [("warn", "fail", "WARN"), ("error", "fail", "ERROR"), ("error", "warn", "WARN")],
)
def test_only_a_failure_stops_what_comes_after_and_only_if_the_contract_says_so(
    severity: str, state: str, shown: str
) -> None:
    seen = Observation("rows", state, 0.0, 1.0, 2.0, 2.0, 2.0)  # type: ignore[arg-type]
    outcome = _outcome("volume", [seen], [], Monitor(severity=severity).severity)  # type: ignore[arg-type]
    assert (outcome.passed, outcome.severity) == (False, shown)
