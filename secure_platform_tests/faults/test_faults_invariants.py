"""Every judge of the promises can fail: over a home in which its promise is broken it says so."""

import shutil
from collections.abc import Callable
from pathlib import Path

import invariants as holds
import pytest
from fault_line import home_of
from fault_stages import PRODUCT, Line, Place, open_line
from faults_support import prepared

from secure_platform.errors import SecurePlatformError
from secure_platform.orchestration.steps.deploy import verified_package

pytestmark = pytest.mark.slow

CANARY = b"999-12-3456"


def deploy_without_approval(line: Line) -> None:
    with verified_package(line.services, line.releases()[-1]) as release:
        line.services.target.publish(release, expected_base=None, actor="deployer")


def put_back_an_earlier_log(line: Line) -> None:
    home = line.services.settings.home
    line.services.audit.close()
    for file in home.glob("audit.db*"):
        file.unlink()
    shutil.copy(home_of(line.shared, "approve") / "audit.db", home)


def write_in_clear(line: Line) -> None:
    (line.services.settings.home / "dagster" / "log").write_bytes(b"row: " + CANARY)


def leave_a_draft(line: Line) -> None:
    (line.services.settings.home / "tmp" / "draft-0").mkdir()


def delete_the_release_before(line: Line) -> None:
    shutil.rmtree(line.services.settings.home / "releases" / PRODUCT / "1")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory)


@pytest.mark.parametrize(
    ("before", "break_it", "judge", "said"),
    [
        (
            "approve",
            deploy_without_approval,
            lambda line, _: holds.i3_nothing_was_deployed_without_leave(line.services, PRODUCT),
            "I3: release 1 has no approval",
        ),
        (
            "end",
            put_back_an_earlier_log,
            lambda line, note: holds.i4_the_log_is_whole(line.services, [note]),
            "entries were cut off its end",
        ),
        (
            "end",
            write_in_clear,
            lambda line, _: holds.i5_nothing_lies_in_clear(line.services.settings.home, [CANARY]),
            "I5: dagster/log",
        ),
        (
            "end",
            leave_a_draft,
            lambda line, _: holds.i6_nothing_is_left_over(line.services.settings.home),
            "I6: left over: tmp/draft-0",
        ),
        (
            "rollback",
            delete_the_release_before,
            lambda line, _: holds.i7_there_is_a_way_back(line.services, PRODUCT),
            "release",
        ),
    ],
)
def test_a_broken_promise_is_seen(
    shared: Path,
    tmp_path: Path,
    before: str,
    break_it: Callable[[Line], None],
    judge: Callable[[Line, str], None],
    said: str,
) -> None:
    shutil.copytree(home_of(shared, before), tmp_path / "home")
    place = Place(shared, tmp_path / "home")
    line = open_line(place)
    (line.services.settings.home / "dagster").mkdir(exist_ok=True)
    note = line.services.audit.checkpoint()
    judge(line, note)
    break_it(line)
    with pytest.raises((holds.Broken, SecurePlatformError), match=said):
        judge(open_line(place), note)
