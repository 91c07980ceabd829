"""Marts and production have a metrics history too, written by the steps that make them."""

import pytest
from job_home import PRODUCT, Job

from secure_platform.monitor.history import Record
from secure_platform.orchestration.steps.production import go_live, production_record

pytestmark = pytest.mark.slow


def record(job: Job, table: str, zone: str) -> Record:
    (found,) = job.services.metrics.before(PRODUCT, table, zone)
    return found


def test_a_build_measures_the_marts_in_the_pass_that_writes_them(job: Job) -> None:
    product = job.services.product(PRODUCT)
    for model in product.models:
        mart = record(job, model, "marts")
        assert mart.numbers["rows"] > 0
        assert {"bytes", "seconds", "null_rate:" + next(iter(mart.columns))} <= set(mart.numbers)
    facts = record(job, "encounter_facts", "marts")
    assert "mean:total_claim_cost" in facts.numbers
    assert facts.sketches["total_claim_cost"]
    checked = {event.check for event in job.report.events if "/marts/" in (event.asset or "")}
    assert {"volume", "quality", "distribution", "schema", "residual"} <= checked


def test_production_has_the_numbers_of_what_was_deployed_once_per_release(job: Job) -> None:
    job.approve()
    product = job.services.product(PRODUCT)
    live = go_live(job.services, product)
    assert set(live.checks) == set(product.models)
    for table, checks in live.checks.items():
        mart, there = (record(job, table, zone) for zone in ("marts", "production"))
        assert there.snapshot_id == production_record(job.newest().digest, table)
        assert there.numbers["rows"] == live.deployed.production.rows[table] == mart.numbers["rows"]
        assert there.sketches == mart.sketches
        names = [check.name for check in checks]
        assert names == ["matches_release", "volume", "freshness", "quality", "distribution", "schema"]
        assert all(check.passed for check in checks)
    again = go_live(job.services, product)
    assert again.deployed.reused
    assert record(job, "encounter_facts", "production").numbers["seconds"] > 0
