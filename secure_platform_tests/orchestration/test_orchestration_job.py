"""The main job as Dagster runs it: built once for the module, each test works on a copy of the home."""

import gzip
import shutil
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.errors import DagsterResourceFunctionError
from orchestration_support import PRODUCT, Line, add_person, new_line, token_file
from sqlalchemy import update

from secure_platform.access.principals import Principal
from secure_platform.control.tables import release
from secure_platform.errors import (
    AccessDeniedError,
    DataRefusedError,
    GateRefusedError,
    IntegrityError,
    UsageError,
)
from secure_platform.gate.records import ReleaseRecord
from secure_platform.gate.states import ReleaseState
from secure_platform.orchestration.automation import jobs, unchanged_sensor
from secure_platform.orchestration.component import product_definitions
from secure_platform.orchestration.dbt import DbtRun
from secure_platform.orchestration.home import open_instance
from secure_platform.orchestration.launch import run_build, run_deploy
from secure_platform.orchestration.resources import platform_resources
from secure_platform.orchestration.steps.context import StepContext
from secure_platform.orchestration.steps.deploy import (
    deploy,
    matches_release,
    rollback,
    verified_package,
)
from secure_platform.orchestration.steps.exchange import RunReport
from secure_platform.orchestration.steps.marts import PASSED, Mart, require_built
from secure_platform.orchestration.steps.package import package, release_classification
from secure_platform.orchestration.steps.protect import current_plan, protect
from secure_platform.orchestration.steps.review import verified_manifest
from secure_platform.release.diff import diff_manifests
from secure_platform.release.package import Release, build_release
from secure_platform.services import Services
from secure_platform.settings import PACKAGE, load_settings
from secure_platform.store.snapshots import Zone
from secure_platform.taxonomy.classification import Classification

pytestmark = pytest.mark.slow

ROOMS = ("lake", "releases", "warehouse")


@dataclass(frozen=True)
class Job:
    """One home after a build."""

    services: Services
    source: Path
    report: RunReport

    def build(self) -> RunReport:
        return run_build(
            self.services.settings,
            self.services.product(PRODUCT),
            source=self.source,
            listener=lambda _: None,
        )

    def deploy(self) -> RunReport:
        return run_deploy(self.services.settings, self.services.product(PRODUCT), listener=lambda _: None)

    def newest(self) -> ReleaseRecord:
        return self.services.gate.list(PRODUCT)[-1]

    def person(self, name: str) -> Principal:
        principal = self.services.principals.get(name)
        assert principal is not None
        return principal

    def approve(self) -> ReleaseRecord:
        return self.services.gate.approve(
            self.newest().digest,
            self.person("sam"),
            reason="reviewed",
            base=self.services.target.base(PRODUCT),
        )

    def files(self) -> set[Path]:
        home = self.services.settings.home
        return {path.relative_to(home) for room in ROOMS for path in (home / room).rglob("*")}


@pytest.fixture(scope="module")
def first(parsed_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Job]:
    directory = tmp_path_factory.mktemp("job")
    shutil.copytree(parsed_home, directory / "home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECURE_PLATFORM_HOME", str(directory / "home"))
        line: Line = new_line(directory, patients=60)
        add_person(line.services, "dana", "data_engineer", "data_steward")
        add_person(line.services, "sam", "data_steward")
        patch.setenv("SECURE_PLATFORM_TOKEN_FILE", str(token_file(line.services, "dana")))
        services = Services(load_settings())
        job = Job(services, line.source, RunReport("", succeeded=False, events=()))
        yield Job(services, line.source, job.build())


@pytest.fixture
def job(first: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    home = tmp_path / "home"
    shutil.copytree(first.services.settings.home, home)
    shutil.copytree(first.source, tmp_path / "source")
    monkeypatch.setenv("SECURE_PLATFORM_HOME", str(home))
    monkeypatch.setenv("SECURE_PLATFORM_TOKEN_FILE", str(home / "keys" / "dana.token"))
    return Job(Services(load_settings()), tmp_path / "source", first.report)


def test_the_build_ends_with_a_pending_release_of_its_requester(job: Job) -> None:
    assert job.report.succeeded
    record = job.newest()
    assert (record.state, record.requested_by, record.number) == (ReleaseState.PENDING, "dana", 1)
    made = {event.asset for event in job.report.events if event.kind == "materialized"}
    product = job.services.product(PRODUCT)
    expected = {f"{PRODUCT}/{zone}/{name}" for zone in ("raw", "protected") for name in product.contracts}
    expected |= {f"{PRODUCT}/marts/{model}" for model in product.models} | {f"{PRODUCT}/release"}
    assert made == expected
    assert all(event.passed for event in job.report.events if event.kind == "checked")


def test_building_again_reuses_every_snapshot_and_adds_no_file(job: Job) -> None:
    before = job.files()
    report = job.build()
    assert report.succeeded
    made = [event for event in report.events if event.kind == "materialized"]
    assert all((event.metadata or {})["reused"] for event in made)
    assert job.files() == before
    assert [record.number for record in job.services.gate.list(PRODUCT)] == [1]


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


def test_a_rejected_release_is_not_put_to_the_vote_again(job: Job) -> None:
    job.services.gate.reject(job.newest().digest, job.person("sam"), reason="rows are missing")
    report = job.build()
    assert report.succeeded
    assert report.release == job.newest().digest
    assert [(r.number, r.state) for r in job.services.gate.list(PRODUCT)] == [(1, ReleaseState.REJECTED)]


def test_the_report_names_the_release_of_this_run_and_not_the_newest(job: Job) -> None:
    first = job.newest().digest
    job.approve()
    job.deploy()
    original = (job.source / "observations.csv").read_text()
    (job.source / "observations.csv").write_text("".join(original.splitlines(keepends=True)[:-1]))
    assert job.build().release == job.newest().digest != first
    (job.source / "observations.csv").write_text(original)
    assert job.build().release == first


def test_a_line_that_was_set_aside_shows_in_the_release(job: Job) -> None:
    job.services.gate.withdraw(job.newest().digest, job.person("sam"), reason="again")
    path = job.source / "conditions.csv"
    path.write_text(path.read_text() + "one field only\n")
    report = job.build()
    raw = next(
        e for e in report.events if e.asset == f"{PRODUCT}/raw/conditions" and e.kind == "materialized"
    )
    assert (raw.metadata or {})["rows_left_out"] == 1
    with verified_package(job.services, job.newest()) as package_of_run:
        verdicts = package_of_run.manifest["verdicts"]["raw/conditions"]
    assert verdicts["validate"]["detail"]["invalid_rows"] == 1


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


def test_third_party_files_also_compressed_end_with_a_release_in_production(
    job: Job, shared_data: Path, tmp_path: Path
) -> None:
    source = tmp_path / "compressed"
    source.mkdir()
    for name in job.services.product(PRODUCT).contracts:
        plain = (shared_data / "healthcare" / "synthea_csv" / f"{name}.csv").read_bytes()
        (source / f"{name}.csv.gz").write_bytes(gzip.compress(plain, mtime=0))
    report = Job(job.services, source, job.report).build()
    assert report.succeeded, report.failures
    left_out = {
        e.asset: e.metadata["rows_left_out"]
        for e in report.events
        if e.metadata and "rows_left_out" in e.metadata
    }
    assert set(left_out.values()) == {0}
    job.approve()
    assert job.deploy().succeeded
    frame = job.services.target.query(
        PRODUCT, "SELECT count(*) AS n FROM patient_summary", limit=1, actor="sam"
    )
    assert frame.item() == 27


def step_context(job: Job, services: Services | None = None) -> StepContext:
    rooms = services or job.services
    return StepContext(rooms, rooms.product(PRODUCT), "run", "dana", job.source)


def test_a_release_never_claims_a_contract_or_plan_its_rows_were_not_made_under(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(PACKAGE / "defs", tmp_path / "defs")
    contract = tmp_path / "defs" / PRODUCT / "contracts" / "patients.odcs.yaml"
    text = contract.read_text(encoding="utf-8")
    contract.write_text(text.replace("\nversion: 1.0.0\n", "\nversion: 2.0.0\n", 1), encoding="utf-8")
    monkeypatch.setenv("SECURE_PLATFORM_DEFS", str(tmp_path / "defs"))
    services = Services(load_settings())
    assert services.product(PRODUCT).contracts["patients"].version == "2.0.0"
    for step in (package, lambda context: protect(context, "patients")):
        with pytest.raises(DataRefusedError, match="another version of its contract"):
            step(step_context(job, services))
    assert [record.number for record in services.gate.list(PRODUCT)] == [1]


def test_two_builds_at_once_make_one_release(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    job.services.gate.withdraw(job.newest().digest, job.person("sam"), reason="again")
    honest = build_release

    def slow(*arguments: Any) -> Release:
        time.sleep(1)
        return honest(*arguments)

    monkeypatch.setattr("secure_platform.orchestration.steps.package.build_release", slow)
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda _: package(step_context(job, Services(load_settings()))), range(2)))
    assert {result.record.number for result in made} == {2}
    assert sorted(result.reused for result in made) == [False, True]
    verified = load_settings().home / "releases" / PRODUCT
    assert sorted(path.name for path in verified.iterdir() if path.name.isdigit()) == ["1", "2"]


def mart(classification: str) -> Mart:
    return Mart("m", "model.p.m", ("test.p.judged",), ("patients",), classification)


def test_a_failing_dbt_test_that_belongs_to_no_mart_stops_the_build() -> None:
    built = {"model.p.m": "success", "test.p.judged": "pass"}
    require_built({"m": mart("internal")}, DbtRun(succeeded=True, results=built, compiled={}))
    judged = DbtRun(succeeded=False, results={**built, "test.p.judged": "fail"}, compiled={})
    require_built({"m": mart("internal")}, judged)
    lost = DbtRun(succeeded=False, results={**built, "test.p.lost": "fail"}, compiled={})
    with pytest.raises(DataRefusedError, match=r"belong to no mart: test\.p\.lost"):
        require_built({"m": mart("internal")}, lost)
    with pytest.raises(DataRefusedError, match="before it built anything"):
        require_built({"m": mart("internal")}, DbtRun(succeeded=False, results={}, compiled={}))
    with pytest.raises(DataRefusedError, match="could not build m"):
        require_built(
            {"m": mart("internal")}, DbtRun(succeeded=False, results={"model.p.m": "error"}, compiled={})
        )


def test_a_test_that_only_warns_and_fails_is_a_failed_verdict() -> None:
    assert "warn" not in PASSED
    warned = DbtRun(succeeded=True, results={"model.p.m": "success", "test.p.lost": "warn"}, compiled={})
    with pytest.raises(DataRefusedError, match=r"belong to no mart: test\.p\.lost"):
        require_built({"m": mart("internal")}, warned)


def weaker(folder: Path) -> Path:
    """Our dbt project, letting out any cell, with tests that let that pass."""
    project = Path(shutil.copytree(PACKAGE.parent / "dbt", folder / "dbt"))
    settings = project / "dbt_project.yml"
    settings.write_text(settings.read_text().replace("smallest_cell: 11", "smallest_cell: 1"))
    schema = project / "models" / PRODUCT / "schema.yml"
    schema.write_text(schema.read_text().replace("minimum: 11", "minimum: 1"))
    shown = project / "tests" / PRODUCT / "condition_prevalence_shows_no_small_cell.sql"
    shown.write_text("{{ config(severity='warn') }}\n" + shown.read_text())
    (project / "tests" / PRODUCT / "condition_prevalence_leaves_out_no_small_remainder.sql").unlink()
    return project


def test_weaker_tests_and_variables_stand_out_in_the_release(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = verified_manifest(job.services, job.newest())
    monkeypatch.setenv("SECURE_PLATFORM_DBT_PROJECT", str(weaker(tmp_path)))
    changed = replace(job, services=Services(load_settings()))
    assert changed.build().succeeded
    record = changed.newest()
    assert record.number == 2
    found = "\n".join(diff_manifests(before, verified_manifest(changed.services, record)).attention)
    prefix = "test.secure_platform.condition_prevalence"
    assert f"{prefix}_leaves_out_no_small_remainder: the test is gone." in found
    assert f"{prefix}_shows_no_small_cell: the test's severity is warn instead of error." in found
    assert "within_condition_prevalence_patient_count__11" in found
    assert "The variable smallest_cell is 1 instead of 11." in found


def test_a_mart_that_declares_more_than_the_plan_raises_the_release(job: Job) -> None:
    plan = current_plan(job.services.product(PRODUCT), job.services.keys)
    table = job.services.store.head(PRODUCT, "patient_summary", Zone.MARTS)
    assert table is not None
    table = replace(table, provenance={"classification": "restricted"})
    assert release_classification(plan, {"patient_summary": table}) is Classification.RESTRICTED
    assert job.newest().classification == "confidential"


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


def assets_of(job: Job, *key: str) -> list[dg.AssetsDefinition]:
    definitions = product_definitions(job.services.product(PRODUCT)).assets or []
    return [a for a in definitions if isinstance(a, dg.AssetsDefinition) and dg.AssetKey(list(key)) in a.keys]


def test_check_results_reported_through_dagster_open_nothing(job: Job) -> None:
    """Who can write Dagster's store can mark every check as passed; the stages read their own verdicts."""
    path = job.source / "patients.csv"
    header, *lines = path.read_text().splitlines()
    path.write_text("\n".join([header, *(line.replace(",", ",x", 1) for line in lines)]) + "\n")
    report = job.build()
    assert (report.succeeded, report.exit_code) == (False, 3)
    raw = dg.AssetKey([PRODUCT, "raw", "patients"])
    with open_instance(job.services.settings) as instance:
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(asset_key=raw, check_name="contract", passed=True)
        )
        result = dg.materialize(
            assets_of(job, PRODUCT, "protected", "patients"),
            instance=instance,
            resources=platform_resources(),
            raise_on_error=False,
        )
    assert not result.success


def test_a_step_on_another_instance_class_is_refused(job: Job) -> None:
    with pytest.raises(DagsterResourceFunctionError) as caught:
        dg.materialize(assets_of(job, PRODUCT, "raw", "patients"), resources=platform_resources())
    assert isinstance(caught.value.__cause__, UsageError)
    assert "neither redacts nor audits" in str(caught.value.__cause__)
