"""What is new in a column is told, every scan is in the audit log, and leaves it as OCSF events."""

from pathlib import Path

import dagster as dg
import pytest
from ocsf_schema import problems
from orchestration_support import Line, Rows, new_line

from secure_platform.contract.model import Contract
from secure_platform.orchestration.presentation import check_result, contract_schema, snapshot_metadata
from secure_platform.orchestration.steps.context import CheckOutcome, StepOutcome
from secure_platform.orchestration.steps.protect import current_plan
from secure_platform.scan.ocsf import SCANNED, finding_events
from secure_platform.taxonomy.info_types import info_types

CANARY = "zebrafish.quagga@canary-7f3a.example"
COLUMN = "DESCRIPTION"


@pytest.fixture
def line(tmp_path: Path) -> Line:
    return new_line(tmp_path, patients=10)


def describe(line: Line, text: str, column: str = COLUMN) -> None:
    def change(rows: Rows) -> Rows:
        place = rows[0].index(column)
        return [rows[0], *([*row[:place], text, *row[place + 1 :]] for row in rows[1:])]

    line.edit("encounters", change)


def drift_of(outcome: StepOutcome) -> CheckOutcome:
    (found,) = [check for check in outcome.checks if check.name == "drift"]
    return found


def contract_of(line: Line) -> Contract:
    return line.context().product.contracts["encounters"]


def test_a_type_that_is_new_in_an_open_column_is_an_error(line: Line) -> None:
    first = drift_of(line.pull("encounters"))
    assert (first.passed, first.detail["compared_with"]) == (True, "nothing yet")
    describe(line, "Seen again")
    unchanged = line.pull("encounters")
    before = unchanged.snapshot
    assert drift_of(unchanged).passed
    describe(line, CANARY)
    found = drift_of(line.pull("encounters"))
    assert drift_of(line.pull("encounters")) == found
    assert (found.passed, found.severity) == (False, "ERROR")
    assert found.detail["compared_with"] == before.snapshot_id
    assert [(each["column"], each["info_type"]) for each in found.detail["drift"]] == [(COLUMN, "EMAIL")]


def test_a_type_that_is_new_in_a_protected_column_is_a_warning(line: Line) -> None:
    line.pull("encounters")
    describe(line, CANARY, column="REASONDESCRIPTION")
    outcome = line.pull("encounters")
    found = drift_of(outcome)
    assert (found.passed, found.severity) == (False, "WARN")
    unusual = [check for check in outcome.checks if not check.passed]
    assert [check.name for check in unusual] == ["drift", "quality"], "one value, where there were many"
    describe(line, f"{CANARY} called", column="REASONDESCRIPTION")
    assert drift_of(line.pull("encounters")).passed


def test_a_snapshot_that_was_refused_does_not_become_what_is_usual(line: Line) -> None:
    clean = line.pull("encounters").snapshot
    describe(line, CANARY)
    line.pull("encounters")
    describe(line, f"{CANARY} called")
    found = drift_of(line.pull("encounters"))
    assert (found.passed, found.detail["compared_with"]) == (False, clean.snapshot_id)


def test_findings_are_tables_and_tags_in_dagster(line: Line) -> None:
    describe(line, CANARY)
    outcome = line.pull("encounters")
    key = dg.AssetKey(["healthcare", "raw", "encounters"])
    plan = current_plan(line.context().product, line.services.keys).datasets["encounters"]
    metadata = snapshot_metadata(outcome.snapshot, contract_schema(contract_of(line), plan))
    columns = {column.name: column.tags for column in metadata["dagster/column_schema"].columns}
    assert columns[COLUMN]["found"] == "EMAIL"
    assert columns[COLUMN]["classification"] == "internal"
    assert "found" not in columns["PAYER"]
    (scan,) = [check_result(key, check) for check in outcome.checks if check.name == "scan"]
    for shown in (metadata["findings"], scan.metadata["findings"], scan.metadata["refused"]):
        assert isinstance(shown, dg.TableMetadataValue)
        rows = [record.data for record in shown.records if record.data["column"] == COLUMN]
        assert [(row["info_type"], row["count"]) for row in rows] == [("EMAIL", outcome.snapshot.rows)]
    assert CANARY not in repr((metadata, scan))


def test_every_scan_is_in_the_audit_log_and_leaves_it_as_ocsf_events(line: Line) -> None:
    describe(line, CANARY)
    snapshot = line.pull("encounters").snapshot
    line.pull("patients")
    line.protect("patients")
    log = line.services.audit
    scans = {entry.body["subject"]: entry.body for entry in log.entries() if entry.body["action"] == SCANNED}
    zones = [tuple(subject.split("/")[1:3]) for subject in scans]
    assert zones == [("raw", "encounters"), ("raw", "patients"), ("protected", "patients")]
    told = scans[f"healthcare/raw/encounters/{snapshot.snapshot_id}"]["detail"]["findings"]
    (refused,) = [each for each in told if each["refused"]]
    assert (refused["column"], refused["info_type"], refused["count"]) == (COLUMN, "EMAIL", snapshot.rows)
    events = list(finding_events(log.entries(), info_types(), origin=log.origin, version="1.0.0"))
    assert len(events) == sum(len(body["detail"]["findings"]) for body in scans.values())
    assert [problems(event) for event in events] == [[]] * len(events)
    assert len({event["metadata"]["uid"] for event in events}) == len(events)
    (alert,) = [event for event in events if event["is_alert"]]
    assert alert["table"] == {"name": "healthcare/raw/encounters", "uid": snapshot.snapshot_id}
    assert alert["finding_info"]["types"] == ["EMAIL"]
    assert alert["data_security"]["category_id"] == 1
    assert CANARY not in repr([entry.body for entry in log.entries()]) + repr(events)
    log.verify()
