"""The main job as Dagster runs it: each test works on a copy of one home."""

import gzip
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.errors import DagsterResourceFunctionError
from job_home import PRODUCT, Job

from secure_platform.errors import (
    DataRefusedError,
    UsageError,
)
from secure_platform.gate.states import ReleaseState
from secure_platform.orchestration.component import product_definitions
from secure_platform.orchestration.dbt import DbtRun
from secure_platform.orchestration.home import open_instance
from secure_platform.orchestration.resources import platform_resources
from secure_platform.orchestration.steps.context import StepContext
from secure_platform.orchestration.steps.deploy import (
    verified_package,
)
from secure_platform.orchestration.steps.marts import PASSED, Mart, require_built
from secure_platform.orchestration.steps.package import package, release_classification
from secure_platform.orchestration.steps.protect import current_plan, protect
from secure_platform.orchestration.steps.review import verified_manifest
from secure_platform.release.diff import diff_manifests
from secure_platform.release.package import Release, build_release
from secure_platform.services import Services
from secure_platform.settings import PACKAGE, load_settings
from secure_platform.store.snapshot import Zone
from secure_platform.taxonomy.classification import Classification

pytestmark = pytest.mark.slow


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
