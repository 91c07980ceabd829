"""A real build, as a receiver of traces sees it."""

import csv
import json

import pytest
from job_home import PRODUCT, Job
from otlp_receiver import receiving

from secure_platform.services import Services
from secure_platform.settings import load_settings

pytestmark = pytest.mark.slow


def test_a_build_is_one_trace_of_run_steps_and_stages(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    path = job.source / "observations.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with receiving() as receiver:
        told = {"url": receiver.inbox.url, "allow": ["127.0.0.0/8"]}
        monkeypatch.setenv("SECURE_PLATFORM_TRACES", json.dumps(told))
        report = Job(Services(load_settings()), job.source, job.report).build()
        seen = receiver.spans
    assert report.succeeded
    assert len({each.trace for each in seen}) == 1
    (run,) = [each for each in seen if each.name == f"run {PRODUCT}_build"]
    assert run.attributes == {"secure_platform.product": PRODUCT, "secure_platform.state": "success"}
    assert run.parent == ""
    steps = [each for each in seen if each.name == "step"]
    product = job.services.product(PRODUCT)
    assert len(steps) == 2 * len(product.contracts) + 2
    assert {each.parent for each in steps} == {run.span}
    known = {each.span for each in steps}
    stages = [each for each in seen if each not in steps and each != run]
    assert {each.name for each in stages} == {"pull", "validate", "scan", "protect", "dbt", "package"}
    below = known | {each.span for each in stages}
    assert all(each.parent in below for each in stages)
    changed = {
        each.attributes["secure_platform.dataset"]
        for each in steps
        if each.attributes.get("secure_platform.state") == "new"
    }
    assert changed == {"observations"}
    with (job.source / "patients.csv").open(newline="", encoding="utf-8") as file:
        numbers = {row["SSN"] for row in csv.DictReader(file)}
    sent = b"".join(receiver.inbox.bodies)
    assert not any(number.encode() in sent for number in numbers)
    assert b"dana" not in sent


def test_a_run_does_not_fail_for_a_receiver_that_is_not_there(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"url": "http://127.0.0.1:1/v1/traces", "allow": ["127.0.0.0/8"]}
    monkeypatch.setenv("SECURE_PLATFORM_TRACES", json.dumps(told))
    assert Job(Services(load_settings()), job.source, job.report).build().succeeded
