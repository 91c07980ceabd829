"""From a build that waits to production and back: each test works on a copy of one home."""

import sqlite3

import dagster as dg
import pytest
from job_home import PRODUCT, Job
from orchestration_support import add_person
from sqlalchemy import update

from secure_platform.control.tables import release
from secure_platform.errors import (
    AccessDeniedError,
    GateRefusedError,
    IntegrityError,
)
from secure_platform.gate.states import ReleaseState
from secure_platform.orchestration.automation import jobs, unchanged_sensor
from secure_platform.orchestration.component import product_definitions
from secure_platform.orchestration.home import open_instance
from secure_platform.orchestration.resources import platform_resources
from secure_platform.orchestration.steps.deploy import (
    deploy,
    matches_release,
    rollback,
)
from secure_platform.services import Services
from secure_platform.settings import load_settings

pytestmark = pytest.mark.slow


def test_deploying_without_an_approval_fails_closed(job: Job) -> None:
    report = job.deploy()
    assert (report.succeeded, report.exit_code) == (False, 4)
    assert job.services.target.current(PRODUCT) is None


def test_the_requester_cannot_approve_and_neither_can_anybody_unknown(job: Job) -> None:
    with pytest.raises(AccessDeniedError, match="forbid-self-approval"):
        job.services.gate.approve(job.newest().digest, job.person("dana"), reason="mine", base=None)
    assert job.newest().state is ReleaseState.PENDING


def test_an_approved_release_is_deployed_once_and_read(job: Job) -> None:
    job.approve()
    report = job.deploy()
    assert report.succeeded
    production = job.services.target.current(PRODUCT)
    assert production is not None
    assert production.release == job.newest().digest
    assert matches_release(job.services, production)["number"] == 1
    again = job.deploy()
    assert again.succeeded
    assert all((event.metadata or {})["reused"] for event in again.events if event.kind == "materialized")
    frame = job.services.target.query(
        PRODUCT, "SELECT count(*) AS n FROM patient_summary", limit=1, actor="sam"
    )
    assert frame.item() == 60


def test_small_cells_are_suppressed(job: Job) -> None:
    job.approve()
    job.deploy()
    frame = job.services.target.query(
        PRODUCT, "SELECT min(patient_count) AS n FROM condition_prevalence", limit=1, actor="sam"
    )
    assert frame.item() is None or frame.item() >= 11


def second_release(job: Job) -> None:
    job.approve()
    assert job.deploy().succeeded
    path = job.source / "observations.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    assert job.build().succeeded
    job.approve()
    assert job.deploy().succeeded


def test_rolling_back_restores_the_release_before_and_a_rebuild_makes_a_new_one(job: Job) -> None:
    second_release(job)
    assert [r.state for r in job.services.gate.list(PRODUCT)] == [ReleaseState.DEPLOYED] * 2
    with pytest.raises(AccessDeniedError):
        rollback(
            job.services,
            job.newest(),
            job.services.tokens.authenticate(token(job, "ana")),
            reason="x",
        )
    restored = rollback(job.services, job.newest(), job.person("sam"), reason="wrong rows")
    assert restored.record.number == 1
    assert job.services.target.base(PRODUCT) == restored.record.digest
    assert [r.state for r in job.services.gate.list(PRODUCT)] == [
        ReleaseState.DEPLOYED,
        ReleaseState.ROLLED_BACK,
    ]
    assert job.build().succeeded
    assert (job.newest().number, job.newest().state, job.newest().base) == (
        3,
        "pending",
        restored.record.digest,
    )


def token(job: Job, name: str) -> str:
    add_person(job.services, name, "analyst")
    return job.services.tokens.issue(name, actor="admin").secret


def test_a_first_release_cannot_be_rolled_back(job: Job) -> None:
    job.approve()
    job.deploy()
    with pytest.raises(GateRefusedError, match="no earlier release"):
        rollback(job.services, job.newest(), job.person("sam"), reason="x")


def test_a_damaged_production_database_is_built_again_from_its_release(job: Job) -> None:
    job.approve()
    job.deploy()
    production = job.services.target.current(PRODUCT)
    assert production is not None
    production.file.write_bytes(production.file.read_bytes()[:-1])
    with pytest.raises(IntegrityError):
        job.services.target.current(PRODUCT)
    report = job.deploy()
    assert report.succeeded
    again = job.services.target.current(PRODUCT)
    assert again is not None
    assert again.release == production.release
    matches_release(job.services, again)


def test_a_deployment_that_died_before_it_was_recorded_is_recorded_by_the_next(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.approve()
    with monkeypatch.context() as patch:

        def dies(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        patch.setattr("secure_platform.gate.releases.Gate.record", dies)
        with pytest.raises(KeyboardInterrupt):
            deploy(job.services, job.services.product(PRODUCT))
    assert job.newest().state is ReleaseState.APPROVED
    assert deploy(job.services, job.services.product(PRODUCT)).reused
    assert job.newest().state is ReleaseState.DEPLOYED


def test_a_record_that_says_other_things_than_the_package_is_refused(job: Job) -> None:
    """Who can write the control database cannot turn somebody else into the requester."""
    with job.services.database.write() as connection:
        connection.execute(update(release).values(requested_by="sam"))
    with pytest.raises(AccessDeniedError):
        job.approve()
    with job.services.database.write() as connection:
        connection.execute(update(release).values(requested_by="tess"))
    job.approve()
    report = job.deploy()
    assert (report.succeeded, report.exit_code) == (False, 4)
    assert "not the one that was registered" in (report.failures[0].error or "")


@pytest.mark.filterwarnings("ignore:Parameter `repository_def`")
def test_an_unchanged_build_asks_for_a_deployment_that_only_checks(job: Job) -> None:
    build, _, deploy_job = jobs(job.services.product(PRODUCT))
    sensor = unchanged_sensor(job.services.product(PRODUCT), build, deploy_job)
    definitions = dg.Definitions.merge(
        product_definitions(job.services.product(PRODUCT)), dg.Definitions(resources=platform_resources())
    )
    with open_instance(job.services.settings) as instance:
        run = instance.get_run_by_id(job.report.run_id)
        events = instance.all_logs(job.report.run_id, of_type=dg.DagsterEventType.RUN_SUCCESS)
        assert run is not None
        context = dg.build_run_status_sensor_context(
            sensor_name=sensor.name,
            dagster_instance=instance,
            dagster_run=run,
            dagster_event=events[0].get_dagster_event(),
            repository_def=definitions.get_repository_def(),
        )
        assert isinstance(sensor(context), dg.SkipReason)
        job.approve()
        job.deploy()
        assert isinstance(sensor(context), dg.RunRequest)


def test_a_package_that_was_touched_after_its_approval_is_not_deployed(job: Job) -> None:
    job.approve()
    payload = next((job.services.releases / PRODUCT / "1" / "payload").glob("*.parquet"))
    content = bytearray(payload.read_bytes())
    content[len(content) // 2] ^= 1
    payload.write_bytes(bytes(content))
    report = job.deploy()
    assert (report.succeeded, report.exit_code) == (False, 5)
    assert job.services.target.current(PRODUCT) is None
    assert job.newest().state is ReleaseState.DEPLOY_FAILED


def test_every_change_has_an_intent_before_and_an_outcome_after_and_the_log_verifies(job: Job) -> None:
    job.approve()
    job.deploy()
    report = job.services.audit.verify()
    entries = [entry.body for entry in job.services.audit.entries()]
    done = {entry["intent"] for entry in entries if entry["phase"] in {"done", "failed"}}
    intents = {entry["seq"] for entry in entries if entry["phase"] == "intent"}
    assert (done, report.unfinished) == (intents, ())
    for action in (
        "snapshot.write",
        "release.create",
        "release.register",
        "release.approve",
        "deploy.publish",
    ):
        assert any(entry["action"] == action and entry["phase"] == "done" for entry in entries), action
    assert any(entry["action"] == "asset.materialize" for entry in entries)


def test_a_log_that_was_cut_contradicts_the_checkpoint_of_the_release(job: Job) -> None:
    kept = (job.services.releases / PRODUCT / "1.attestations" / "checkpoint.txt").read_text()
    job.services.audit.verify([kept])
    with sqlite3.connect(job.services.settings.home / "audit.db") as connection:
        connection.execute("DELETE FROM entry WHERE seq > 3")
        connection.execute("DELETE FROM checkpoint")
    with pytest.raises(IntegrityError):
        Services(load_settings()).audit.verify([kept])
