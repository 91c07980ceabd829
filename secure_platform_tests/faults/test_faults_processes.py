"""Whole processes killed with all that they started: the same command again ends where it should."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fault_line import home_of
from fault_stages import PRODUCT
from faults_support import fault_line, prepared
from waiting import processes_of, wait_for
from warm_start import WARM_DBT

pytestmark = [pytest.mark.slow, pytest.mark.system]

PATIENCE = 300.0
NOT_GIVEN = ("SECURE_PLATFORM_", WARM_DBT)
"""What is killed is a dbt of its own."""
Moment = Callable[[], bool]


@dataclass(frozen=True)
class Installation:
    """A home, and the program as a user starts it."""

    shared: Path
    home: Path

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "secure_platform", "--home", self.home, *arguments],
            cwd=self.shared / "project",
            env={name: value for name, value in os.environ.items() if not name.startswith(NOT_GIVEN)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def run(self, *arguments: str) -> int:
        return self.start(*arguments).wait(PATIENCE)

    def kill(self, moment: Moment, *arguments: str) -> int:
        """Kill the command and its children as soon as the moment has come; its exit code."""
        process = self.start(*arguments)
        wait_for(lambda: moment() or process.poll() is not None, PATIENCE, pause=0.005)
        os.killpg(process.pid, signal.SIGKILL)
        return process.wait(PATIENCE)

    def announced(self, action: str, subject: str = "") -> Moment:
        """The moment when an effect begins that was not announced before now."""
        looked: list[int] = [self._size()]

        def moment() -> bool:
            first, looked[0] = looked[0], self._size()
            return self._intends(action, subject, range(first, looked[0]))

        return moment

    def dbt_builds(self) -> bool:
        """The moment when dbt does more than to parse."""
        return bool(processes_of(self.home, "--select"))

    def _size(self) -> int:
        """How many entries the audit log has."""
        (size,) = self._asked("SELECT coalesce(max(seq) + 1, 0) FROM entry")[0]
        return int(size)

    def _intends(self, action: str, subject: str, entries: range) -> bool:
        rows = self._asked("SELECT body FROM entry WHERE seq >= ? AND seq < ?", entries.start, entries.stop)
        bodies = [json.loads(row[0]) for row in rows]
        return any(
            (body["action"], body["phase"]) == (action, "intent") and subject in body["subject"]
            for body in bodies
        )

    def _asked(self, query: str, *values: int) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.home / "audit.db")) as connection:
            return connection.execute(query, values).fetchall()

    def stages(self, *names: str) -> None:
        """Run plain stages, then judge the home by all invariants."""
        fault_line("stages", self.shared, self.home, *names)


@pytest.fixture
def installation(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Installation:
    """A fresh home with a steward, and the parsed dbt project, which would take seconds more."""
    made = Installation(prepared(tmp_path_factory), tmp_path / "home")
    assert made.run("init") == 0
    made.stages("init")
    shutil.copytree(home_of(made.shared, "end") / "dbt", made.home / "dbt", dirs_exist_ok=True)
    return made


def test_runs_that_are_killed_and_started_again_reach_production_and_come_back(
    installation: Installation,
) -> None:
    build = ("run", PRODUCT, "--source", str(installation.shared / "sources" / "1"))
    moments: list[Moment] = [
        installation.announced("snapshot.write", f"{PRODUCT}/protected/"),
        installation.dbt_builds,
        installation.announced("release.create"),
    ]
    assert [installation.kill(moment, *build) for moment in moments] == [-signal.SIGKILL] * 3
    assert installation.run(*build) == 0
    installation.stages("approve")
    assert installation.kill(installation.announced("deploy.publish"), "deploy", PRODUCT) == -signal.SIGKILL
    assert installation.run("deploy", PRODUCT) == 0
    installation.stages("renew", "replace", "rollback")
