"""A dbt that has its modules loaded already: that is most of a small build. A plugin named in pyproject.toml.

There is one for all processes of a run of the tests; it loads what it needs when the first of them asks. Each
command is a child that it forks, with the arguments, environment, folder and streams that a dbt of its own
would have. Who asks it is said in `network/warm_start.py`.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import pytest
from warm_start import WARM_DBT, install

SERVER: Final = Path(__file__).with_name("warm_dbt_server.py")
_STARTED: Final = pytest.StashKey[tuple[Path, "subprocess.Popen[bytes]"]]()


def pytest_configure(config: pytest.Config) -> None:
    """The process that starts the others starts it, and all that it starts know the way."""
    install()
    if WARM_DBT in os.environ:
        return
    folder = Path(tempfile.mkdtemp(prefix="warm-dbt-"))
    path, pipe = folder / "socket", subprocess.PIPE
    server = subprocess.Popen([sys.executable, str(SERVER), str(path)], stdin=pipe, stdout=pipe)
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    os.environ[WARM_DBT] = str(path)
    config.stash[_STARTED] = folder, server


def pytest_unconfigure(config: pytest.Config) -> None:
    started = config.stash.get(_STARTED, None)
    if started is not None:
        folder, server = started
        del os.environ[WARM_DBT]
        server.communicate(timeout=60)
        shutil.rmtree(folder)
