"""The server and all its processes are killed in the middle of a deployment, and started again."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from built_home import PRODUCT, Built
from serve_support import processes_of, serving, wait_for

from secure_platform.control.locks import file_lock
from secure_platform.gate.states import ReleaseState
from secure_platform.orchestration.home import open_instance
from secure_platform.orchestration.steps.deploy import matches_release
from secure_platform.settings import load_settings

pytestmark = [pytest.mark.slow, pytest.mark.system]

SECONDS = 180
S = dg.DagsterRunStatus


@pytest.fixture
def instance(built: Built) -> Iterator[dg.DagsterInstance]:
    with open_instance(load_settings(home=built.home)) as opened:
        yield opened


def deployments(instance: dg.DagsterInstance) -> list[dg.DagsterRunStatus]:
    """How every deployment stands, oldest first."""
    runs = instance.get_runs(dg.RunsFilter(job_name=f"{PRODUCT}_deploy"))
    return [run.status for run in reversed(runs)]


def kill_everything(home: Path) -> None:
    while pids := processes_of(home):
        for pid in pids:
            os.kill(pid, signal.SIGKILL)


def test_a_deployment_that_died_with_the_server_is_finished_by_the_next_one(
    built: Built, instance: dg.DagsterInstance
) -> None:
    built.approve()
    production = built.home / "warehouse" / PRODUCT
    production.mkdir(mode=0o700)
    with file_lock(production / ".lock", holder="the test"), serving(built.root):
        assert wait_for(lambda: deployments(instance) == [S.STARTED], SECONDS)
        kill_everything(built.home)
    assert deployments(instance) == [S.STARTED]
    with serving(built.root) as server:
        assert wait_for(lambda: S.SUCCESS in deployments(instance), SECONDS), server.text()
    assert deployments(instance) == [S.FAILURE, S.SUCCESS]
    services = built.services
    current = services.target.current(PRODUCT)
    assert current is not None
    assert (current.sequence, current.release) == (1, built.newest().digest)
    assert built.newest().state is ReleaseState.DEPLOYED
    assert matches_release(services, current)["number"] == 1
    actions = [(entry.body["action"], entry.body["phase"]) for entry in services.audit.entries()]
    assert actions.count(("deploy.publish", "done")) == 1
    services.audit.verify()
