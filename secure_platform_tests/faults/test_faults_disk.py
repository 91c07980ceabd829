"""A disk that runs full anywhere on the way: one clear error, nothing half-written, and it goes on after."""

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from failpoints import Action
from fault_case import PLENTY, Case, leave, small_disk
from fault_line import home_of
from fault_stages import PRODUCT, STEWARD, Place, open_line
from faults_support import outcomes, prepared, until
from required import missing

from secure_platform.errors import StorageError
from secure_platform.files import write_private
from secure_platform.orchestration.dbt import run_dbt

pytestmark = pytest.mark.slow

ROOM = {"pull": (4, 40), "protect": (4, 40), "marts": (40, 400), "package": (4, 48), "deploy": (48, 200)}
FULL_DISK = "No space left on device"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    with ExitStack() as stack:
        try:
            stack.enter_context(small_disk(folder))
        except subprocess.CalledProcessError:
            missing("a disk of its own cannot be mounted: run the tests as root")
        yield folder


def test_a_stage_on_a_full_disk_says_so_and_goes_on_when_there_is_room(shared: Path, disk: Path) -> None:
    cases = [
        Case(stage, Action.FULL, room=room, until=until(stage))
        for stage, rooms in ROOM.items()
        for room in rooms
    ]
    found = outcomes(shared, disk, cases)
    assert {outcome.broken for outcome in found} == {""}
    assert {outcome.error for outcome in found} <= {"", "StorageError"}
    ran_full = Counter(outcome.case.stage for outcome in found if outcome.error)
    assert ran_full.keys() == ROOM.keys()
    assert all(FULL_DISK in outcome.said for outcome in found if outcome.error)


def test_a_command_on_a_full_disk_has_its_own_exit_code(shared: Path, disk: Path, tmp_path: Path) -> None:
    home, token = disk / "home", tmp_path / "sam.token"
    shutil.copytree(home_of(shared, "rollback"), home)
    services = open_line(Place(shared, home)).services
    with closing(services.database), closing(services.audit):
        write_private(token, services.tokens.issue(STEWARD, actor="admin").secret.encode())
    command: list[str | Path] = [
        "--home",
        home,
        "--token-file",
        token,
        "rollback",
        PRODUCT,
        "--reason",
        "wrong costs",
    ]
    leave(disk, 40)
    refused = _run(shared, *command)
    assert refused.returncode == 6, refused.stderr
    assert refused.stderr.startswith("error: ")
    assert FULL_DISK in refused.stderr.partition("fix: ")[0]
    assert "Traceback" not in refused.stderr
    leave(disk, PLENTY)
    assert _run(shared, *command).returncode == 0


def _run(shared: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "secure_platform", *arguments],
        cwd=shared / "project",
        capture_output=True,
        text=True,
        check=False,
    )


def test_dbt_on_a_full_disk_is_told_as_one(shared: Path, disk: Path) -> None:
    leave(disk, 4)
    with pytest.raises(StorageError, match=FULL_DISK):
        run_dbt(shared / "project" / "dbt", ["parse"], target=disk, environment={})
