"""Runs are launched by who may build what they build, and say so where nobody can forge it."""

import json
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.storage.tags import BACKFILL_ID_TAG
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import PythonFileTarget
from starlette.applications import Starlette
from web_login import BASE, bearer, logged_in, person, wait_for_code_servers, web_app
from web_support import Client

from secure_platform.errors import AccessDeniedError, IntegrityError
from secure_platform.orchestration.automation import jobs
from secure_platform.orchestration.coordinator import SecureRunCoordinator
from secure_platform.orchestration.home import open_instance
from secure_platform.orchestration.presentation import PRODUCT_TAG
from secure_platform.orchestration.stamp import MAC_TAG, PRINCIPAL_TAG, stamp, stamped
from secure_platform.services import SCHEDULER, Services
from secure_platform.settings import load_settings

LOCATION: Final = PythonFileTarget(str(Path(__file__).with_name("launch_location.py")), None, None, "here")
CALLER: Final = "127.0.0.1"
OURS: Final = ["healthcare", "raw", "patients"]
FOREIGN: Final = ["elsewhere"]
LAUNCH: Final = """
mutation($p: ExecutionParams!) { launchRun(executionParams: $p) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on UnauthorizedError { message }
  ... on PythonError { message }
} }
"""
AGAIN: Final = """
mutation($p: ReexecutionParams!) { launchRunReexecution(reexecutionParams: $p) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on UnauthorizedError { message }
} }
"""
BACKFILL: Final = """
mutation($p: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $p) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message }
} }
"""
GREYED: Final = """
{ assetNodes { assetKey { path } hasMaterializePermission }
  pipelineOrError(params: {pipelineName: "healthcare_build", repositoryName: "__repository__",
    repositoryLocationName: "here"}) { ... on Pipeline { hasLaunchExecutionPermission } } }
"""


@pytest.fixture(scope="module")
def services(parsed_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    home = shutil.copytree(parsed_home, tmp_path_factory.mktemp("launch") / "home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECURE_PLATFORM_HOME", str(home))
        patch.delenv("SECURE_PLATFORM_TOKEN_FILE", raising=False)
        yield Services(load_settings())


@pytest.fixture(scope="module")
def instance(services: Services) -> Iterator[dg.DagsterInstance]:
    with open_instance(services.settings) as opened:
        yield opened


@pytest.fixture(scope="module")
def app(services: Services, instance: dg.DagsterInstance) -> Iterator[Starlette]:
    with web_app(services, instance, workspace=LOCATION) as served:
        yield served


@pytest.fixture
def engineer(services: Services, app: Starlette) -> Client:
    return Client(app, BASE, logged_in(services, person(services, "data_engineer", name="dana")))


@pytest.fixture
def analyst(services: Services, app: Starlette) -> Client:
    return Client(app, BASE, logged_in(services, person(services, "analyst", name="ada")))


def launch(client: Client, *paths: list[str], job: str = "__ASSET_JOB", **more: Any) -> dict[str, Any]:
    selector: dict[str, Any] = {"repositoryName": "__repository__", "repositoryLocationName": "here"}
    selector |= {"pipelineName": job}
    if paths:
        selector["assetSelection"] = [{"path": path} for path in paths]
    asked = {"query": LAUNCH, "variables": {"p": {"selector": selector, **more}}}
    result: dict[str, Any] = client.post("/graphql", json=asked).json()["data"]["launchRun"]
    return result


def launched(instance: dg.DagsterInstance, result: dict[str, Any]) -> dg.DagsterRun:
    assert result["__typename"] == "LaunchRunSuccess", result
    run = instance.get_run_by_id(result["run"]["runId"])
    assert run is not None
    return run


def test_the_home_uses_our_coordinator(instance: dg.DagsterInstance) -> None:
    assert isinstance(instance.run_coordinator, SecureRunCoordinator)
    config = instance.get_concurrency_config().run_queue_config
    assert config is not None
    assert config.max_concurrent_runs == 4


@pytest.mark.parametrize("job", ["__ASSET_JOB", "healthcare_build"])
def test_a_run_is_stamped_with_who_launched_it(
    job: str, services: Services, instance: dg.DagsterInstance, engineer: Client
) -> None:
    selected = [OURS] if job == "__ASSET_JOB" else []
    run = launched(instance, launch(engineer, *selected, job=job))
    assert run.status is dg.DagsterRunStatus.QUEUED
    assert stamped(services.keys, run) == "dana"
    assert run.tags[PRODUCT_TAG] == "healthcare"


def test_what_a_client_says_about_the_requester_is_dropped(
    services: Services, instance: dg.DagsterInstance, engineer: Client
) -> None:
    spoofed = {PRINCIPAL_TAG: "sam", MAC_TAG: "m1:" + "0" * 64, "secure/other": "x", BACKFILL_ID_TAG: "b"}
    tags = [{"key": key, "value": value} for key, value in {**spoofed, "mine": "kept"}.items()]
    run = launched(instance, launch(engineer, OURS, executionMetadata={"tags": tags}))
    assert stamped(services.keys, run) == "dana"
    assert run.tags["mine"] == "kept"
    assert not {"secure/other", BACKFILL_ID_TAG} & run.tags.keys()


def test_the_stamp_of_a_run_is_none_on_another(
    services: Services, instance: dg.DagsterInstance, engineer: Client
) -> None:
    first = launched(instance, launch(engineer, OURS))
    stolen = {name: first.tags[name] for name in (PRINCIPAL_TAG, MAC_TAG)}
    other = dg.DagsterRun(job_name=first.job_name, tags=stolen)
    for tags in (
        stolen,
        {PRINCIPAL_TAG: "dana"},
        {MAC_TAG: stolen[MAC_TAG]},
        {**stamp(services.keys, other, "dana"), PRINCIPAL_TAG: "sam"},
    ):
        with pytest.raises(IntegrityError, match="did not record"):
            stamped(services.keys, other.with_tags(tags))
    with pytest.raises(IntegrityError, match="did not record"):
        stamped(services.keys, dg.DagsterRun(job_name="other", run_id=first.run_id, tags=stolen))
    assert stamped(services.keys, other.with_tags({})) is None


@pytest.mark.parametrize("path", [OURS, FOREIGN])
def test_who_may_not_build_it_launches_nothing(
    path: list[str], services: Services, instance: dg.DagsterInstance, analyst: Client
) -> None:
    runs, before = instance.get_runs_count(), services.audit.size()
    refused = launch(analyst, path)
    assert refused["__typename"] == "UnauthorizedError"
    assert "ada may not do build" in refused["message"]
    assert instance.get_runs_count() == runs
    entries = [entry.body for entry in services.audit.entries(before)]
    assert [entry["action"] for entry in entries] == ["policy.decide", "ui.refuse"]
    assert (entries[-1]["actor"], entries[-1]["subject"]) == (
        services.audit.identify("ada"),
        "graphql:launchRun",
    )
    assert entries[-1]["detail"] == {"address": services.audit.identify(CALLER)}


def test_the_record_of_a_launch_comes_before_it_and_tells_how_it_ended(
    services: Services, engineer: Client
) -> None:
    before = services.audit.size()
    launch(engineer, OURS)
    entries = [entry.body for entry in services.audit.entries(before)]
    steps = [(entry["action"], entry["phase"]) for entry in entries]
    assert steps[:2] == [("policy.decide", "event"), ("ui.change", "intent")]
    assert steps[-1] == ("ui.change", "done")
    assert entries[-1]["detail"]["result"] == "LaunchRunSuccess"
    assert entries[1]["actor"] == services.audit.identify("dana")
    assert "address" not in entries[1]["detail"] or entries[1]["detail"]["address"].startswith("p:")


def test_a_role_for_one_product_builds_that_product_only(
    services: Services, instance: dg.DagsterInstance, app: Starlette
) -> None:
    helper = person(services, "analyst", name="gus")
    client = Client(app, BASE, logged_in(services, helper))
    assert greyed(client) == {"healthcare": False, "elsewhere": False, "job": False}
    admin = services.principals.get("admin")
    assert admin is not None
    hour = timedelta(hours=1)
    services.grants.give(admin, "gus", "data_engineer", product="healthcare", lasts=hour, reason="Holidays.")
    assert greyed(client) == {"healthcare": True, "elsewhere": False, "job": True}
    launched(instance, launch(client, OURS))
    launched(instance, launch(client, job="healthcare_build"))
    assert launch(client, FOREIGN)["__typename"] == "UnauthorizedError"
    assert launch(client, OURS, FOREIGN)["__typename"] == "UnauthorizedError"


def test_a_products_jobs_are_its_owners(services: Services) -> None:
    """As in `launch_location`: by their owner Dagster asks who may launch them."""
    product = services.product("healthcare")
    assert [job.owners for job in jobs(product)] == [[product.owner]] * 3


def test_the_ui_greys_out_what_somebody_may_not_build(engineer: Client, analyst: Client) -> None:
    assert greyed(engineer) == {"healthcare": True, "elsewhere": True, "job": True}
    assert greyed(analyst) == {"healthcare": False, "elsewhere": False, "job": False}


def greyed(client: Client) -> dict[str, bool]:
    answer = client.post("/graphql", json={"query": GREYED}).json()
    assert "errors" not in answer, answer
    data = answer["data"]
    assets = {node["assetKey"]["path"][0]: node["hasMaterializePermission"] for node in data["assetNodes"]}
    return {**assets, "job": data["pipelineOrError"]["hasLaunchExecutionPermission"]}


def test_whoever_launches_a_run_again_has_asked_for_it(
    services: Services, instance: dg.DagsterInstance, app: Starlette, engineer: Client
) -> None:
    first = launched(instance, launch(engineer, OURS))
    instance.report_run_failed(first)
    client = Client(app, BASE, bearer(services, person(services, "ml_engineer", name="mel")))
    asked = {"parentRunId": first.run_id, "strategy": "ALL_STEPS", "useParentRunTags": True}
    asked |= {"extraTags": [{"key": PRINCIPAL_TAG, "value": "dana"}]}
    answer = client.post("/graphql", json={"query": AGAIN, "variables": {"p": asked}})
    again = launched(instance, answer.json()["data"]["launchRunReexecution"])
    assert again.parent_run_id == first.run_id
    assert stamped(services.keys, again) == "mel"


@pytest.fixture(scope="module")
def daemon(instance: dg.DagsterInstance) -> Iterator[WorkspaceProcessContext]:
    with WorkspaceProcessContext(instance, workspace_load_target=LOCATION) as opened:
        yield opened
    wait_for_code_servers(opened)


def submit(daemon: WorkspaceProcessContext, run: dg.DagsterRun, **changed: Any) -> dg.DagsterRun:
    """As the daemon does, which has no caller."""
    new = {"run_id": dg.DagsterRun(job_name="x").run_id, "status": dg.DagsterRunStatus.NOT_STARTED}
    copy = daemon.instance.run_storage.add_run(run._replace(**new, **changed))
    return daemon.instance.submit_run(copy.run_id, daemon.create_request_context())


def test_what_the_daemon_starts_is_asked_for_by_the_scheduler(
    daemon: WorkspaceProcessContext, services: Services, instance: dg.DagsterInstance, engineer: Client
) -> None:
    run = launched(instance, launch(engineer, OURS))
    assert stamped(services.keys, submit(daemon, run)) == SCHEDULER


def test_what_the_daemon_tries_again_stays_who_asked_for_it_first(
    daemon: WorkspaceProcessContext, services: Services, instance: dg.DagsterInstance, engineer: Client
) -> None:
    run = launched(instance, launch(engineer, OURS))
    again = submit(daemon, run, parent_run_id=run.run_id, root_run_id=run.run_id)
    assert stamped(services.keys, again) == "dana"
    forged = submit(daemon, run)
    instance.add_run_tags(forged.run_id, {PRINCIPAL_TAG: "sam"})
    with pytest.raises(IntegrityError, match="did not record"):
        submit(daemon, run, parent_run_id=forged.run_id, root_run_id=forged.run_id)


@pytest.fixture
def backfill(instance: dg.DagsterInstance, engineer: Client) -> PartitionBackfill:
    """What dana asked for, and what has failed."""
    asked = {"assetSelection": [{"path": OURS}], "allPartitions": True}
    answer = engineer.post("/graphql", json={"query": BACKFILL, "variables": {"p": asked}}).json()
    found = instance.get_backfill(answer["data"]["launchPartitionBackfill"]["backfillId"])
    assert found is not None
    instance.update_backfill(found.with_status(BulkActionStatus.FAILED))  # type: ignore[no-untyped-call]  # Dagster's has no annotation.
    return found


def test_a_run_of_a_backfill_is_asked_for_by_who_began_it(
    daemon: WorkspaceProcessContext,
    services: Services,
    instance: dg.DagsterInstance,
    engineer: Client,
    backfill: PartitionBackfill,
) -> None:
    run = launched(instance, launch(engineer, OURS))
    part = submit(daemon, run, tags={BACKFILL_ID_TAG: backfill.backfill_id})
    assert stamped(services.keys, part) == "dana"


@pytest.mark.parametrize(
    "mutation",
    [
        "reexecutePartitionBackfill(reexecutionParams: {parentRunId: %s, strategy: ALL_STEPS})",
        "resumePartitionBackfill(backfillId: %s)",
    ],
)
def test_nobody_builds_in_the_name_of_who_began_a_backfill(
    mutation: str,
    services: Services,
    instance: dg.DagsterInstance,
    app: Starlette,
    backfill: PartitionBackfill,
) -> None:
    other = Client(app, BASE, bearer(services, person(services, "data_engineer", name="mallory")))
    before = {each.backfill_id: each.status for each in instance.get_backfills()}
    query = f"mutation {{ {mutation % json.dumps(backfill.backfill_id)} {{ __typename }} }}"
    answer = other.post("/graphql", json={"query": query}).json()
    assert [*answer["data"].values()] == [{"__typename": "UnauthorizedError"}]
    assert {each.backfill_id: each.status for each in instance.get_backfills()} == before


def test_who_launches_a_run_of_a_backfill_again_has_asked_for_its_retries_too(
    daemon: WorkspaceProcessContext,
    services: Services,
    instance: dg.DagsterInstance,
    app: Starlette,
    backfill: PartitionBackfill,
) -> None:
    mel = Client(app, BASE, bearer(services, person(services, "ml_engineer", name="mel")))
    again = launched(instance, launch(mel, OURS))
    tags = {**again.tags, BACKFILL_ID_TAG: backfill.backfill_id}
    retry = submit(daemon, again, parent_run_id=again.run_id, root_run_id=again.run_id, tags=tags)
    assert stamped(services.keys, retry) == "mel"


def test_a_run_reads_the_source_that_the_settings_name(
    daemon: WorkspaceProcessContext, instance: dg.DagsterInstance, engineer: Client
) -> None:
    run = launched(instance, launch(engineer, OURS))
    config = {"resources": {"platform": {"config": {"source": "/etc"}}}}
    with pytest.raises(AccessDeniedError, match="configures the resource platform"):
        submit(daemon, run, run_config=config)


def test_a_disabled_requester_builds_nothing_any_more(
    daemon: WorkspaceProcessContext, services: Services, instance: dg.DagsterInstance, app: Starlette
) -> None:
    leaver = person(services, "data_engineer", name="lee")
    run = launched(instance, launch(Client(app, BASE, logged_in(services, leaver)), OURS))
    services.principals.disable("lee", actor="admin")
    with pytest.raises(AccessDeniedError, match="forbid-inactive"):
        submit(daemon, run, parent_run_id=run.run_id, root_run_id=run.run_id)


def test_a_token_launches_what_its_scopes_name(
    services: Services, instance: dg.DagsterInstance, app: Starlette
) -> None:
    dana = person(services, "data_engineer", name="dana")
    scoped = Client(app, BASE, bearer(services, dana, "build:healthcare", "ui_read", "run_read"))
    launched(instance, launch(scoped, OURS))
    assert launch(scoped, FOREIGN)["__typename"] == "UnauthorizedError"
    reading = Client(app, BASE, bearer(services, dana, "ui_read"))
    assert launch(reading, OURS)["__typename"] == "UnauthorizedError"


def test_reloading_answers_as_the_same_caller(services: Services, app: Starlette) -> None:
    client = Client(app, BASE, logged_in(services, person(services, "admin", name="root2")))
    query = """mutation { reloadWorkspace { __typename ... on Workspace { locationEntries {
        permissions { permission value } } } } }"""
    data = client.post("/graphql", json={"query": query}).json()["data"]["reloadWorkspace"]
    (entry,) = data["locationEntries"]
    may = {each["permission"]: each["value"] for each in entry["permissions"]}
    assert may["start_schedule"]
    assert not may["wipe_assets"]
