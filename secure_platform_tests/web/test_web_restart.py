"""The server and all its processes are killed in the middle of a deployment, and started again."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import dagster as dg
import pytest
from built_home import PRODUCT, Built
from serve_support import serving
from waiting import processes_of, wait_for

from secure_platform.control.locks import file_lock
from secure_platform.deploy.shelf import PUBLISH
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


def publications(built: Built) -> list[str]:
    """How far every publication came, by the audit log."""
    entries = built.services.audit.entries()
    return [entry.body["phase"] for entry in entries if entry.body["action"] == PUBLISH]


def kill_everything(home: Path) -> None:
    while pids := processes_of(home):
        for pid in pids:
            os.kill(pid, signal.SIGKILL)


def test_a_deployment_that_died_with_the_server_is_finished_by_the_next_one(
    built: Built, instance: dg.DagsterInstance
) -> None:
    built.approve()
    production, temporary = built.home / "warehouse" / PRODUCT, built.home / "tmp"
    production.mkdir(mode=0o700)
    with ExitStack() as before, ExitStack() as within:
        before.enter_context(file_lock(production / ".lock", holder="the test"))
        with serving(built.root):
            # The package is copied; what is left to do needs another folder, and its intent comes first.
            assert wait_for(lambda: any(temporary.glob("build-*")), SECONDS)
            within.enter_context(file_lock(temporary / "claims.lock", holder="the test"))
            before.close()
            assert wait_for(lambda: publications(built), SECONDS) == ["intent"]
            kill_everything(built.home)
    assert deployments(instance) == [S.STARTED]
    assert publications(built) == ["intent"]
    with serving(built.root) as server:
        assert wait_for(lambda: S.SUCCESS in deployments(instance), SECONDS), server.text()
    assert deployments(instance) == [S.FAILURE, S.SUCCESS]
    services = built.services
    current = services.target.current(PRODUCT)
    assert current is not None
    assert (current.sequence, current.release) == (1, built.newest().digest)
    assert built.newest().state is ReleaseState.DEPLOYED
    assert matches_release(services, current)["number"] == 1
    assert publications(built) == ["intent", "intent", "done"]
    services.audit.verify()
