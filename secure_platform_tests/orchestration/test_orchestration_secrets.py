"""An adopter's assets use secrets in real Dagster processes: as documented, and nothing of them stays."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from adopter_reports import LOCATION, adopt
from dagster._cli.job import _create_run
from dagster._core.remote_representation.code_location import CodeLocation
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from key_servers import Tenant, VaultServer
from postgres_server import PostgresServer
from secrets_document import POLICY
from waiting import processes_of, wait_for

from secure_platform.orchestration.home import open_instance, prepare
from secure_platform.orchestration.stamp import stamped
from secure_platform.services import SCHEDULER, Services
from secure_platform.settings import load_settings

pytestmark = [pytest.mark.slow, pytest.mark.system]

CANARY = "canary-0c7f31-mail"
SECONDS = 60


class Reports:
    """The adopter's project, with its code server."""

    def __init__(
        self, context: WorkspaceProcessContext, services: Services, postgres: PostgresServer
    ) -> None:
        self.context = context
        self.services = services
        self.postgres = postgres

    def launch(self, job: str) -> str:
        """Submit a run as the daemon does, and take it out of the queue."""
        run_id = self.submit(job)
        self.context.instance.launch_run(run_id, self.context.create_request_context())
        return run_id

    @property
    def location(self) -> CodeLocation:
        """What its code server says that there is."""
        return self.context.create_request_context().get_code_location(LOCATION)

    def submit(self, job: str) -> str:
        """Submit a run as the daemon does."""
        instance, request = self.context.instance, self.context.create_request_context()
        location = self.location
        (repository,) = location.get_repositories().values()
        found = repository.get_full_job(job)
        run_id: str = _create_run(instance, location, repository, found, {}, None, None, None).run_id
        assert instance.submit_run(run_id, request).status is dg.DagsterRunStatus.QUEUED
        return run_id

    def run(self, job: str) -> dg.DagsterRun:
        """Launch, and wait for the end."""
        run_id = self.launch(job)
        assert wait_for(lambda: self.of(run_id).is_finished, SECONDS), self.of(run_id).status
        return self.of(run_id)

    def of(self, run_id: str) -> dg.DagsterRun:
        run = self.context.instance.get_run_by_id(run_id)
        assert run is not None
        return run

    def told(self) -> list[tuple[str, str, int, str]]:
        """What the last run told: its logins, its process, its variable."""
        with self.postgres.connect() as connection:
            return list(connection.execute("SELECT * FROM told").fetchall())

    def forget(self) -> None:
        with self.postgres.connect() as connection:
            connection.execute("TRUNCATE told")

    def logins(self) -> list[str]:
        """The logins that there are."""
        query = "SELECT m.rolname FROM pg_auth_members a JOIN pg_roles m ON m.oid = a.member "
        with self.postgres.connect() as connection:
            found = connection.execute(query + "WHERE a.roleid = 'reporter'::regrole").fetchall()
            return [name for (name,) in found]


@pytest.fixture(scope="module")
def tenant(vault_server: VaultServer, tmp_path_factory: pytest.TempPathFactory) -> Tenant:
    return vault_server.tenant(tmp_path_factory.mktemp("tenant"), policy=POLICY)


@pytest.fixture(scope="module")
def project(
    tenant: Tenant,
    vault_server: VaultServer,
    postgres_server: PostgresServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    folder = tmp_path_factory.mktemp("adopter") / "project"
    adopt(folder, tenant, postgres_server, vault_server, CANARY)
    return folder


@pytest.fixture(scope="module")
def code_server(project: Path, postgres_server: PostgresServer) -> Iterator[Reports]:
    """Dagster's own: started by the workspace, as web server and daemon do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECURE_PLATFORM_HOME", str(project.parent / "home"))
        patch.setenv("SECURE_PLATFORM_PROJECT", str(project))
        patch.delenv("SECURE_PLATFORM_TOKEN_FILE", raising=False)
        settings = load_settings()
        prepare(settings)
        target = WorkspaceFileTarget([str(project / "workspace.yaml")])
        with open_instance(settings) as instance:
            with WorkspaceProcessContext(instance, workspace_load_target=target) as context:
                yield Reports(context, Services(settings), postgres_server)
            context._grpc_server_registry.wait_for_processes()


@pytest.fixture
def reports(code_server: Reports) -> Reports:
    code_server.forget()
    return code_server


def left_behind(reports: Reports, *secrets: str) -> list[str]:
    """Files of home and project that hold one of these; none may."""
    root = reports.services.settings.home.parent
    files = [path for path in root.rglob("*") if path.is_file()]
    assert any(path.name.endswith(".db") for path in files)
    return [str(path) for path in files for secret in secrets if secret.encode() in path.read_bytes()]


def test_assets_use_a_login_that_ends_with_their_run_and_another_when_it_is_refused(reports: Reports) -> None:
    """One as documented; one that meets a server of another name, and a login that was locked."""
    run = reports.run("used_job")
    assert run.status is dg.DagsterRunStatus.SUCCESS
    assert stamped(reports.services.keys, run) == SCHEDULER
    event = reports.context.instance.get_latest_materialization_event(dg.AssetKey("visits"))
    assert event is not None
    materialization = event.asset_materialization
    assert materialization is not None
    assert materialization.metadata["visits"].value == 3
    used = reports.told()
    assert len({login for login, *_ in used}) == 2
    assert not any(reports.postgres.lets_in(login, password) for login, password, *_ in used)
    assert reports.logins() == []
    recorded = [(entry.body["action"], entry.body["phase"]) for entry in reports.services.audit.tail(20)]
    assert [each for each in recorded if each[0].startswith("secret.")] == 2 * [
        (f"secret.{action}", phase) for action in ("lend", "return") for phase in ("intent", "done")
    ]


def test_a_run_that_fails_and_says_too_much_leaves_neither_login_nor_secret(reports: Reports) -> None:
    run = reports.run("careless_job")
    assert run.status is dg.DagsterRunStatus.FAILURE
    assert reports.logins() == []
    ((login, password, _, variable),) = reports.told()
    assert variable == CANARY
    assert not reports.postgres.lets_in(login, password)
    assert left_behind(reports, CANARY, login, password) == []
    logs = reports.context.instance.all_logs(run.run_id)
    assert any("has 18 characters" in str(entry.user_message) for entry in logs)


def test_a_run_that_is_terminated_leaves_no_login(reports: Reports) -> None:
    run_id = reports.launch("waits_job")
    assert wait_for(reports.told, SECONDS)
    assert len(reports.logins()) == 1
    reports.context.instance.run_launcher.terminate(run_id)
    assert wait_for(lambda: reports.of(run_id).is_finished, SECONDS)
    assert reports.of(run_id).status is dg.DagsterRunStatus.CANCELED
    assert reports.logins() == []


def test_the_login_of_a_killed_run_ends_by_itself(reports: Reports) -> None:
    reports.launch("short_job")
    assert wait_for(reports.told, SECONDS)
    ((login, password, pid, _),) = reports.told()
    os.kill(pid, signal.SIGKILL)
    assert wait_for(lambda: reports.logins() == [], SECONDS)
    assert left_behind(reports, CANARY, login, password) == []


def test_the_rotation_is_scheduled_every_day_and_let_through_as_the_scheduler(reports: Reports) -> None:
    (repository,) = reports.location.get_repositories().values()
    schedule = repository.get_schedule("rotation_schedule")
    assert (schedule.cron_schedule, schedule.default_status.value) == ("15 3 * * *", "RUNNING")
    assert schedule.job_name == "rotation"
    assert stamped(reports.services.keys, reports.of(reports.submit("rotation"))) == SCHEDULER


def test_only_processes_of_the_location_get_its_variables(reports: Reports) -> None:
    servers = processes_of(reports.services.settings.home, "grpc")
    assert len(servers) == 1
    assert "MAIL_PASSWORD" not in os.environ
    for pid in (os.getpid(), *servers):
        assert CANARY.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
