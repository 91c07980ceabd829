"""One code server for everybody: private, loaded again when it must be, and gone with the server."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._grpc.client import DagsterGrpcClient
from waiting import processes_of, wait_for

from secure_platform.errors import StepFailedError
from secure_platform.orchestration.home import dagster_home, open_instance
from secure_platform.settings import Settings, load_settings
from secure_platform.web import code_server
from secure_platform.web.code_server import files_digest, running_code_servers, socket_directory
from secure_platform.web.companion import companion
from secure_platform.web.signals import stopped_by_signals

pytestmark = [
    pytest.mark.slow,
    pytest.mark.system,
    # Dagster warns of what it could not load whenever its own threads look: the tests ask what is there.
    pytest.mark.filterwarnings("ignore:Error loading repository location:UserWarning"),
]

SECONDS = 180
LOCATION = """\
from pathlib import Path

import dagster as dg

folder = Path(__file__).parent / "defs"
names = [path.stem for path in sorted(folder.glob("*.yaml"))]
if "late" not in names:  # Somebody writes it while the code is being loaded.
    (folder / "late.yaml").write_text("")
defs = dg.Definitions(assets=[dg.AssetSpec(name) for name in names])
"""
WORKSPACE = """\
load_from:
  - python_file: {relative_path: location.py, location_name: ours}
  - grpc_server: {host: 127.0.0.1, port: 1, location_name: theirs}
"""


@dataclass
class Served:
    """The code of a small project, which is served."""

    settings: Settings
    workspace: Path

    @property
    def client(self) -> DagsterGrpcClient:
        (first, _) = yaml.safe_load(self.workspace.read_text())["load_from"]
        return DagsterGrpcClient(socket=first["grpc_server"]["socket"])

    def declare(self, name: str) -> None:
        (self.settings.defs / f"{name}.yaml").write_text("")


@pytest.fixture(scope="module")
def settings(parsed_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    project = tmp_path_factory.mktemp("code")
    home = shutil.copytree(parsed_home, project / "home")
    (project / "defs").mkdir()
    (project / "defs" / "first.yaml").write_text("")
    (project / "location.py").write_text(LOCATION)
    (project / "workspace.yaml").write_text(WORKSPACE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECURE_PLATFORM_HOME", str(home))
        patch.setenv("DAGSTER_HOME", str(dagster_home(load_settings(home=home))))
        patch.setattr(code_server, "LOOK_SECONDS", 0.2)
        patch.setattr(code_server, "FILES_SECONDS", 0.2)
        yield load_settings(home=home, project=project)


@pytest.fixture(scope="module")
def served(settings: Settings) -> Iterator[Served]:
    with running_code_servers(settings) as workspace:
        yield Served(settings, workspace)


@pytest.fixture(scope="module")
def viewer(served: Served) -> Iterator[WorkspaceProcessContext]:
    """What web server and daemon have."""
    target = WorkspaceFileTarget([str(served.workspace)])
    with (
        open_instance(served.settings) as instance,
        WorkspaceProcessContext(instance=instance, workspace_load_target=target) as context,
    ):
        yield context


def assets(context: WorkspaceProcessContext) -> set[str]:
    """What it has; nothing while it has not seen the code that was loaded again."""
    location = context.get_current_workspace().code_location_entries["ours"].code_location
    if location is None:
        return set()
    (repository,) = location.get_repositories().values()
    return {key.to_user_string() for key in repository.asset_graph.get_all_asset_keys()}


def load_error(context: WorkspaceProcessContext) -> str:
    error = context.get_current_workspace().code_location_entries["ours"].load_error
    return error.to_string() if error else ""


def holders(settings: Settings) -> list[int]:
    """The processes that hold the definitions."""
    return processes_of(settings.home, "grpc")


def test_nobody_else_may_enter_where_it_listens(served: Served) -> None:
    directory = served.settings.home / "run"
    assert served.workspace.parent == directory
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(served.workspace.stat().st_mode) == 0o600

    def sockets() -> int:
        return sum(path.is_socket() for path in directory.iterdir())

    assert wait_for(lambda: sockets() == 2, SECONDS), "of what loads it again, and of what holds it"
    reach = f"import socket; socket.socket(socket.AF_UNIX).connect({str(served.client.socket)!r})"
    connecting = [sys.executable, "-I", "-S", "-c", reach]
    assert subprocess.run(connecting, check=False).returncode == 0
    if os.geteuid() == 0:
        other = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", *connecting]
        refused = subprocess.run(other, check=False, capture_output=True)
        assert b"PermissionError" in refused.stderr


def test_servers_of_others_are_named_as_they_are(served: Served) -> None:
    entries = [entry["grpc_server"] for entry in yaml.safe_load(served.workspace.read_text())["load_from"]]
    assert [entry["location_name"] for entry in entries] == ["ours", "theirs"]
    assert entries[1] == {"location_name": "theirs", "host": "127.0.0.1", "port": 1}


def test_who_reloads_it_reloads_it_for_everybody(served: Served, viewer: WorkspaceProcessContext) -> None:
    held = served.client.get_server_id()
    viewer.reload_code_location("ours")
    assert served.client.get_server_id() != held
    assert wait_for(lambda: len(holders(served.settings)) == 1, SECONDS), "the one before has ended"


def test_a_contract_that_came_while_it_started_is_seen(viewer: WorkspaceProcessContext) -> None:
    assert wait_for(lambda: "late" in assets(viewer), SECONDS)


def test_a_changed_contract_is_seen_without_anybody(served: Served, viewer: WorkspaceProcessContext) -> None:
    assert "second" not in assets(viewer)
    served.declare("second")
    assert wait_for(lambda: "second" in assets(viewer), SECONDS)


def test_code_that_died_is_loaded_again(served: Served, viewer: WorkspaceProcessContext) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(code_server, "AGAIN_SECONDS", 0.0)
        assert wait_for(lambda: len(holders(served.settings)) == 1, SECONDS)
        (killed,) = holders(served.settings)
        os.kill(killed, signal.SIGKILL)
        assert wait_for(lambda: [it for it in holders(served.settings) if it != killed], SECONDS)
        assert wait_for(lambda: _answers(served.client), SECONDS)
    assert wait_for(lambda: "first" in assets(viewer), SECONDS)


def _answers(client: DagsterGrpcClient) -> bool:
    try:
        return bool(client.get_server_id(timeout=2))
    except Exception:  # noqa: BLE001 - whatever it is
        return False


def test_code_that_cannot_be_loaded_is_an_error_that_is_told(
    served: Served, viewer: WorkspaceProcessContext
) -> None:
    location = served.settings.project / "location.py"
    location.write_text(f"raise RuntimeError('broken')\n{LOCATION}")
    viewer.reload_code_location("ours")
    assert wait_for(lambda: "broken" in load_error(viewer), SECONDS)
    location.write_text(LOCATION)
    viewer.reload_code_location("ours")
    assert wait_for(lambda: "first" in assets(viewer), SECONDS)


def test_a_long_home_has_its_socket_elsewhere(tmp_path: Path) -> None:
    home = tmp_path / ("x" * 80)
    with socket_directory(home) as directory:
        assert home not in directory.parents
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert not directory.exists()


def test_what_a_killed_server_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / "run" / "0.sock"
    left.parent.mkdir(mode=0o755)
    left.touch()
    with socket_directory(tmp_path) as directory:
        assert not left.exists()
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_what_dbt_writes_is_no_change(settings: Settings) -> None:
    before = files_digest(settings)
    model = settings.dbt_project / "models" / "one.sql"
    for name in ("target", "models"):
        (settings.dbt_project / name).mkdir(parents=True)
    (settings.dbt_project / "target" / "one.sql").write_text("select 1")
    assert files_digest(settings) == before
    model.write_text("select 1")
    assert (added := files_digest(settings)) != before
    model.write_text("select 22")
    assert files_digest(settings) not in {before, added}
    model.unlink()
    assert files_digest(settings) == before


def test_a_companion_that_ends_by_itself_ends_the_block_with_a_clear_word() -> None:
    def wait() -> None:
        with (
            stopped_by_signals(),
            companion("A code server", [sys.executable, "-c", "raise SystemExit(3)"]),
        ):
            time.sleep(SECONDS)  # A signal that comes just before it ends `signal.pause` never.

    with pytest.raises(StepFailedError, match="A code server ended by itself with exit code 3"):
        wait()


ORPHANS = """
import os, signal, sys, time
from secure_platform.web.companion import companion
sleeper = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(3600)'])"
with companion("It", [sys.executable, "-c", sleeper]):
    time.sleep(1)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_companions_and_what_they_started_end_with_a_killed_server() -> None:
    """Their standard output is the server's: reading that ends when all have ended."""
    command = [sys.executable, "-c", ORPHANS]
    ended = subprocess.run(command, stdout=subprocess.PIPE, check=False, timeout=SECONDS)
    assert ended.returncode == -signal.SIGKILL
