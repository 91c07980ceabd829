"""A sensor tick raises: what the daemon of a real server prints and stores of it holds no value."""

import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest
from canaries import needles
from leak_scenes import MESSAGE
from leak_support import Outcome, World
from sealed_room import sealed_room
from waiting import wait_for

from secure_platform.settings import PACKAGE

pytestmark = [pytest.mark.slow, pytest.mark.system]

SECONDS: Final = 300
WORKSPACE: Final = "load_from: [{python_file: {relative_path: location.py}}]\n"
LOCATION: Final = f"""
from secure_platform.gate.releases import Gate

def broken(*_):
    raise ValueError({MESSAGE!r})

Gate.list = broken

from secure_platform.definitions import defs
"""
FAILED_TICKS: Final = "SELECT tick_body FROM job_ticks WHERE status = 'FAILURE'"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    scratch = tmp_path_factory.mktemp("daemon")
    project = scratch / "project"
    project.mkdir()
    (project / "workspace.yaml").write_text(WORKSPACE)
    (project / "location.py").write_text(LOCATION)
    with sealed_room(needles(), scratch) as room:
        yield World(room, scratch)


@pytest.fixture(scope="module")
def served(world: World) -> Outcome:
    """A server until a tick of its daemon has failed."""
    output = world.scratch / "output"
    given = {
        "SECURE_PLATFORM_PROJECT": str(world.scratch / "project"),
        "SECURE_PLATFORM_DEFS": str(PACKAGE / "defs"),
    }
    process = world.start("-m", "secure_platform", "serve", "--port", "0", output=output, **given)
    try:
        assert wait_for(lambda: failed_ticks(world.home) or process.poll() is not None, SECONDS)
        assert process.poll() is None, output.read_text()
        process.send_signal(signal.SIGTERM)
        return world.outcome(process.wait(60), output)
    finally:
        world.kill()


def failed_ticks(home: Path) -> list[str]:
    database = home / "dagster" / "schedules" / "schedules.db"
    if not (home / ".initialised").exists():
        return []
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as connection:
        return [body for (body,) in connection.execute(FAILED_TICKS)]


def test_the_tick_failed_with_our_words(served: Outcome, world: World) -> None:
    assert served.code == 0
    assert any("The sensor of healthcare failed with ValueError" in tick for tick in failed_ticks(world.home))
    assert "The sensor of healthcare failed with ValueError" in served.out


def test_neither_files_nor_output_hold_a_canary(served: Outcome) -> None:
    assert served.files
    assert served.holders == {}
    assert served.printed == frozenset()


def test_the_server_and_its_daemon_call_nobody(served: Outcome, world: World) -> None:
    assert served.files
    assert +world.room.calls() == {}
