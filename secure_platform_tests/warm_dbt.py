"""A dbt that has its modules loaded already: that is most of a small build. A plugin named in pyproject.toml.

The first dbt command of a test process starts a server; each command is a child that it forks, with the
arguments, environment, folder and streams that a dbt of its own would have. A program that a test starts
(`execute` in `cli/`, the whole processes of `faults/`, `leaks/` and `web/`) starts dbt as it always does.
"""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest

from secure_platform.orchestration import dbt

SERVER = Path(__file__).with_name("warm_dbt_server.py")
CLIENT = Path(__file__).with_name("warm_dbt_client.py")


@pytest.fixture(scope="session", autouse=True)
def warm_dbt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Every dbt that this process starts is warm."""
    started: list[subprocess.Popen[bytes]] = []
    cold = dbt.dbt_command

    @cache
    def address() -> str:
        path = tmp_path_factory.mktemp("dbt") / "socket"
        pipe = subprocess.PIPE
        server = subprocess.Popen([sys.executable, str(SERVER), str(path)], stdin=pipe, stdout=pipe)
        started.append(server)
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        return str(path)

    def warm(project: Path, arguments: Sequence[str]) -> list[str]:
        return [sys.executable, "-IS", str(CLIENT), address(), *cold(project, arguments)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dbt, "dbt_command", warm)
        yield
    for server in started:
        server.communicate(timeout=60)
