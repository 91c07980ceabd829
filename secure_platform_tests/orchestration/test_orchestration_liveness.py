"""A run whose process died does not stay started for ever, and does not hold back the runs of its product."""

import errno
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.launcher.base import WorkerStatus
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster._daemon.monitoring import execute_run_monitoring_iteration

from secure_platform.errors import GateRefusedError
from secure_platform.files import private_directory
from secure_platform.orchestration.home import open_instance
from secure_platform.orchestration.instance import SecureInstance
from secure_platform.orchestration.liveness import RunClaims, SecureRunLauncher
from secure_platform.settings import load_settings

HOLD = """
import sys
from pathlib import Path
from secure_platform.orchestration.liveness import RunClaims
RunClaims(Path(sys.argv[1])).claim("run")
print("claimed", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def instance(
    parsed_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("SECURE_PLATFORM_HOME", str(shutil.copytree(parsed_home, tmp_path / "home")))
    with open_instance(load_settings()) as opened:
        yield opened


def test_a_run_is_alive_until_it_is_released_or_its_process_is_killed(tmp_path: Path) -> None:
    claims = RunClaims(tmp_path)
    assert not claims.died("run")
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "claimed\n"
        assert not claims.died("run")
        process.send_signal(signal.SIGKILL)
        process.wait()
    for _ in range(2):
        assert claims.died("run")
    claims.release("run")
    claims.claim("own")
    assert not RunClaims(tmp_path).died("own")
    claims.release("own")
    claims.release("own")
    assert not claims.died("own")
    assert list(tmp_path.iterdir()) == []


def monitor(instance: dg.DagsterInstance) -> None:
    """What the daemon does every few seconds."""
    with WorkspaceProcessContext(instance, workspace_load_target=EmptyWorkspaceTarget()) as workspace:
        assert list(execute_run_monitoring_iteration(workspace, logging.getLogger("test"))) in ([None], [])


def run_of(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRun:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run


def test_a_run_that_is_executed_is_left_alone(instance: dg.DagsterInstance) -> None:
    assert isinstance(instance.run_launcher, SecureRunLauncher)

    @dg.op
    def looks(context: dg.OpExecutionContext) -> None:
        monitor(context.instance)
        assert run_of(context.instance, context.run_id).status is dg.DagsterRunStatus.STARTED
        health = context.instance.run_launcher.check_run_worker_health(run_of(instance, context.run_id))
        assert health.status is WorkerStatus.RUNNING

    @dg.job
    def lives() -> None:
        looks()

    assert lives.execute_in_process(instance=instance).success


def test_a_run_that_died_fails_and_is_launched_again_and_one_that_was_refused_is_not(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    assert isinstance(instance, SecureInstance)

    @dg.op
    def refuses() -> None:
        raise GateRefusedError("No release is approved", "Approve one.")

    @dg.job
    def ends() -> None:
        refuses()

    refused = ends.execute_in_process(instance=instance, raise_on_error=False).run_id
    died = instance.create_run_for_job(ends).run_id
    start = dg.DagsterEvent(event_type_value=dg.DagsterEventType.RUN_START.value, job_name="ends")
    instance.report_dagster_event(start, run_id=died)
    assert run_of(instance, died).status is dg.DagsterRunStatus.STARTED
    monitor(instance)
    assert run_of(instance, died).status is dg.DagsterRunStatus.STARTED
    os.close(instance._claims._held.pop(died))
    monitor(instance)
    again = {name: run_of(instance, name).tags["dagster/will_retry"] for name in (refused, died)}
    assert run_of(instance, died).status is dg.DagsterRunStatus.FAILURE
    assert again == {refused: "false", died: "true"}
    assert list((tmp_path / "home" / "dagster" / "running").iterdir()) == []


@pytest.mark.parametrize("why", ["full", "link"])
def test_a_run_that_could_not_be_claimed_is_not_taken_for_dead(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    """Marked as failed, it would be launched again beside itself."""

    @dg.job
    def lives() -> None:
        pass

    run_id = instance.create_run_for_job(lives).run_id
    start = dg.DagsterEvent(event_type_value=dg.DagsterEventType.RUN_START.value, job_name="lives")
    claims = private_directory(tmp_path / "home" / "dagster" / "running")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.touch()
    if why == "link":
        (claims / run_id).symlink_to(elsewhere)
        instance.report_dagster_event(start, run_id=run_id)
    else:
        with monkeypatch.context() as patch:
            patch.setattr(RunClaims, "claim", full)
            instance.report_dagster_event(start, run_id=run_id)
    monitor(instance)
    assert run_of(instance, run_id).status is dg.DagsterRunStatus.STARTED


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
