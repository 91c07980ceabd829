"""What is told of a product as OpenLineage: valid, whole, without a value, and never in the way of a run."""

import csv
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from job_home import PRODUCT, Job
from openlineage_schema import wrong

from secure_platform.orchestration.lineage_declared import declared, describe
from secure_platform.orchestration.openlineage import Made
from secure_platform.orchestration.steps.protect import current_plan
from secure_platform.services import Services
from secure_platform.settings import load_settings

pytestmark = pytest.mark.slow

Event = Mapping[str, Any]
SHORTEST = 6
"""Characters of an original value that is looked for."""


def telling(job: Job, monkeypatch: pytest.MonkeyPatch, **settings: str) -> Job:
    """The same home, with lineage switched on."""
    monkeypatch.setenv("SECURE_PLATFORM_LINEAGE", json.dumps(settings))
    return Job(Services(load_settings()), job.source, job.report)


def told(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def originals(source: Path) -> set[str]:
    """Every value of the source that is longer than a word or two and is a person's own."""
    with (source / "patients.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = ("Id", "SSN", "DRIVERS", "PASSPORT", "ADDRESS", "LAST", "BIRTHDATE")
    return {row[name] for row in rows for name in columns if len(row[name]) >= SHORTEST}


def by_run(events: Iterable[Event]) -> dict[str, list[str]]:
    states = defaultdict(list)
    for event in events:
        states[event["run"]["runId"]].append(event["eventType"])
    return states


def outputs(events: Iterable[Event], name: str) -> Event:
    found = [
        each
        for event in events
        if event.get("eventType", "COMPLETE") == "COMPLETE"
        for each in event["outputs"]
        if each["name"] == name
    ]
    assert len(found) == 1
    only: Event = found[0]
    return only


def masks(dataset: Event, column: str) -> list[bool]:
    (read,) = dataset["facets"]["columnLineage"]["fields"][column]["inputFields"]
    return [how["masking"] for how in read["transformations"]]


def test_a_build_and_a_deployment_are_told_whole_and_without_a_value(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = telling(job, monkeypatch)
    assert job.build().succeeded
    job.approve()
    assert job.deploy().succeeded
    path = job.services.settings.home / "lineage" / "events.ndjson"
    assert path.stat().st_mode & 0o777 == 0o600
    events = told(path)
    assert [problem for event in events for problem in wrong(event)] == []
    assert set(map(tuple, by_run(events).values())) == {("START", "COMPLETE")}
    text = path.read_text()
    values = originals(job.source)
    assert len(values) > 200
    assert [value for value in values if value in text] == []
    assert not any(name in text for name in ("dana", "sam@", "service:"))

    product = job.services.product(PRODUCT)
    jobs = {event["job"]["name"] for event in events}
    assert {f"{PRODUCT}/{zone}/{name}" for zone in ("raw", "protected") for name in product.contracts} <= jobs
    assert {f"{PRODUCT}/{step}" for step in ("marts", "release", "production", "marts/checks")} <= jobs
    patients = outputs(events, f"{PRODUCT}/protected/patients")
    assert masks(patients, "Id") == masks(patients, "ZIP") == [True]
    assert masks(patients, "GENDER") == [False]
    assert "SSN" not in patients["facets"]["columnLineage"]["fields"]
    encounters = outputs(events, f"{PRODUCT}/protected/encounters")
    joined = encounters["facets"]["columnLineage"]["dataset"]
    assert {each["transformations"][0]["subtype"] for each in joined} == {"JOIN"}
    summary = outputs(events, f"{PRODUCT}/marts/patient_summary")
    assert {
        each["name"]
        for column in summary["facets"]["columnLineage"]["fields"].values()
        for each in column["inputFields"]
    } <= {f"{PRODUCT}/protected/{name}" for name in product.contracts}
    live = outputs(events, f"{PRODUCT}/production/patient_summary")
    assert live["facets"]["version"]["datasetVersion"] == job.newest().digest
    assert live["outputFacets"]["outputStatistics"]["rowCount"] == 60


def test_versions_are_those_of_the_snapshots_and_parents_those_of_the_runs(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = telling(job, monkeypatch)
    report = job.build()
    events = told(job.services.settings.home / "lineage" / "events.ndjson")
    made = {e.asset: e.metadata or {} for e in report.events if e.kind == "materialized"}
    raw = outputs(events, f"{PRODUCT}/raw/patients")
    digest = made[f"{PRODUCT}/raw/patients"]["content_digest"]
    assert raw["facets"]["version"]["datasetVersion"] == digest
    (protected,) = [
        e
        for e in events
        if e["job"]["name"] == f"{PRODUCT}/protected/patients" and e["eventType"] == "COMPLETE"
    ]
    (read,) = protected["inputs"]
    assert read["facets"]["version"]["datasetVersion"] == digest
    parents = {e["run"]["facets"]["parent"]["run"]["runId"] for e in events if "parent" in e["run"]["facets"]}
    assert parents == {report.run_id}
    checked = [e for e in events if e["job"]["name"] == f"{PRODUCT}/raw/patients/checks" and e["inputs"]]
    facets = checked[0]["inputs"][0]["inputFacets"]
    names = {each["assertion"] for each in facets["dataQualityAssertions"]["assertions"]}
    assert {"contract", "scan", "drift", "volume"} <= names
    nulls = [each["nullCount"] for each in facets["dataQualityMetrics"]["columnMetrics"].values()]
    assert nulls
    assert not any(0 < count < 11 or 49 < count < 60 for count in nulls)


def test_a_run_that_fails_says_so_without_the_value_that_it_failed_for(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = telling(job, monkeypatch)
    path = job.source / "patients.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(lines[0].replace("SSN", "999-12-3456") + "".join(lines[1:]))
    assert not job.build().succeeded
    where = job.services.settings.home / "lineage" / "events.ndjson"
    events = told(where)
    assert [problem for event in events for problem in wrong(event)] == []
    failed = {e["job"]["name"]: e for e in events if e["eventType"] == "FAIL"}
    assert {f"{PRODUCT}/raw/patients", f"{PRODUCT}/{PRODUCT}_build"} <= set(failed)
    message = failed[f"{PRODUCT}/raw/patients"]["run"]["facets"]["errorMessage"]["message"]
    assert message == "DataRefusedError; the run's log says more."
    assert "999-12-3456" not in where.read_text()


def test_columns_that_only_the_source_knows_are_not_told(job: Job) -> None:
    product = job.services.product(PRODUCT)
    described = describe(job.services, product)
    made = Made("v", {"SSN": "String", "999-12-3456": "String"})
    fields = described.output("raw", "patients", made)["facets"]["schema"]["fields"]
    assert [each["name"] for each in fields] == [each.name for each in product.contracts["patients"].columns]


def test_who_was_refused_is_not_named(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    job = telling(job, monkeypatch)
    job.services.principals.change("dana", roles=("analyst",), actor="admin")
    assert not job.build().succeeded
    text = (job.services.settings.home / "lineage" / "events.ndjson").read_text()
    assert "AccessDeniedError" in text
    assert "dana" not in text


def test_no_run_fails_for_what_cannot_be_told(
    job: Job, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    in_its_place = tmp_path / "events.ndjson"
    in_its_place.mkdir()
    assert telling(job, monkeypatch, file=str(in_its_place)).build().succeeded


def test_without_a_setting_nothing_is_told(job: Job) -> None:
    assert job.report.succeeded
    assert not (job.services.settings.home / "lineage").exists()


def test_what_is_declared_is_valid_and_masks_as_the_plan_says(job: Job) -> None:
    product = job.services.product(PRODUCT)
    events = declared(job.services, product)
    assert [problem for event in events for problem in wrong(event)] == []
    plan = current_plan(product, job.services.keys)
    for name, dataset in plan.datasets.items():
        told_of = outputs(events, f"{PRODUCT}/protected/{name}")
        fields = told_of["facets"]["columnLineage"]["fields"]
        assert set(fields) == {column.column for column in dataset.outputs}
        for column in dataset.outputs:
            assert masks(told_of, column.column)[0] is not column.shows_values
    assert not any("version" in each["facets"] for event in events for each in event["inputs"])


def test_the_schema_refuses_what_is_none_of_openlineage(job: Job) -> None:
    event = declared(job.services, job.services.product(PRODUCT))[0]
    changes: list[Callable[[dict[str, Any]], object]] = [
        lambda e: e.pop("job"),
        lambda e: e.update(value="x"),
        lambda e: e["outputs"][0]["facets"]["schema"].pop("_producer"),
        lambda e: e["outputs"][0]["facets"]["columnLineage"]["fields"].update(x=[]),
    ]
    for change in changes:
        broken = deepcopy(event)
        change(broken)
        assert wrong(broken)
