"""Whatever dies or fails on the way from source to rollback, the promises hold and the rest goes on."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from failpoints import Action, Point
from fault_case import Case
from fault_line import points_of
from fault_stages import STAGES
from faults_support import REPEATED, failures, outcomes, prepared, sample, until

pytestmark = pytest.mark.slow

PUBLISHED = "deploy: os.rename warehouse/healthcare/.CURRENT.@ -> warehouse/healthcare/CURRENT"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every stage's home, and the points of every stage."""
    return prepared(tmp_path_factory)


@pytest.fixture(scope="module")
def points(shared: Path) -> dict[str, list[Point]]:
    return points_of(shared)


def test_every_stage_has_its_points(points: dict[str, list[Point]]) -> None:
    assert points.keys() == STAGES.keys()
    names = {stage: {point.name for point in found} for stage, found in points.items()}
    assert {stage: count for stage, found in names.items() if (count := len(found)) < 10} == {}
    assert sum(map(len, names.values())) > 300
    effects = {name.partition(": ")[2].partition(" ")[0] for found in names.values() for name in found}
    assert effects >= {"open", "os.rename", "os.fsync", "os.mkdir", "fcntl.flock", "polars.collect_all"}
    assert effects >= {"sqlite", "duckdb", "os.remove", "os.rmdir", "os.chmod", "os.link"}


def test_a_points_name_tells_what_and_where_without_chance(points: dict[str, list[Point]]) -> None:
    assert Point(PUBLISHED, 1) in points["deploy"]
    assert Point("pull: sqlite audit.db INSERT INTO entry snapshot.write intent", 1) in points["pull"]
    assert [p for found in points.values() for p in found if re.search(r"[0-9a-f]{16}", p.name)] == []


# Each of these broke a promise once.
FOUND = [
    ("init: os.link keys/.root.key.@ -> keys/root.key", 1),
    ("init: os.remove keys/.root.key.@", 1),
    ("init: os.fsync keys/.deployer.token.@", 1),
    ("pull: os.fsync tmp/draft-@/.HEAD.@", 1),
    ("deploy: sqlite audit.db INSERT INTO entry deploy.publish done", 1),
    ("rollback: sqlite audit.db INSERT INTO entry deploy.rollback done", 1),
    ("rollback: sqlite control.db UPDATE release", 1),
]


def test_what_once_broke_a_promise_does_not_again(shared: Path, tmp_path: Path) -> None:
    cases = [
        Case(stage := name.partition(":")[0], Action.KILL, name, occurrence, until=until(stage))
        for name, occurrence in FOUND
    ]
    found = outcomes(shared, tmp_path, cases)
    assert failures(found) == []
    assert [outcome.killed for outcome in found] == [True] * len(FOUND)


ROUNDS = {Action.KILL: 5, Action.FAIL: 2, Action.FULL: 1}
PARTS = {Action.KILL: 3, Action.FAIL: 1, Action.FULL: 1}
# What may fail without an error of the stage: what is left of it is tidied up later.
PASSED_OVER = re.compile(r"package: os\.(remove|rmdir) releases/\w+/\.staging-@")


@pytest.mark.parametrize("action", Action)
def test_the_sample_reaches_every_stage(points: dict[str, list[Point]], action: Action) -> None:
    cases = sample(points, action, ROUNDS[action])
    assert {case.stage for case in cases} == set(STAGES)
    once = len(REPEATED & STAGES.keys())
    assert len({case.point for case in cases}) == ROUNDS[action] * (len(STAGES) - once) + once


@pytest.mark.parametrize(
    ("action", "part"), [(action, part) for action in Action for part in range(PARTS[action])]
)
def test_an_interrupted_stage_breaks_no_promise_and_goes_on(
    shared: Path, points: dict[str, list[Point]], tmp_path: Path, action: Action, part: int
) -> None:
    cases = sample(points, action, ROUNDS[action])[part :: PARTS[action]]
    found = outcomes(shared, tmp_path, cases)
    assert failures(found) == []
    assert len(found) == len(cases)
    assert {outcome.killed for outcome in found} == {action is Action.KILL}
    # A disk that fails is told as one.
    assert {outcome.error for outcome in found} <= {"", "StorageError"}
    if action is Action.FAIL:
        silent = [outcome.case.point for outcome in found if not outcome.error]
        assert [point for point in silent if not PASSED_OVER.match(point)] == []


@pytest.mark.parametrize(
    ("sabotage", "case", "said"),
    [
        (
            "write_in_place",
            Case("replace", Action.KILL, "replace: os.fsync warehouse/healthcare/CURRENT", 1),
            "pointer",
        ),
        (
            "announce_afterwards",
            Case("deploy", Action.KILL, "deploy: os.fsync warehouse/healthcare", 2),
            "I2",
        ),
    ],
)
def test_a_product_that_breaks_its_promise_is_seen(
    shared: Path, tmp_path: Path, sabotage: str, case: Case, said: str
) -> None:
    (seen,) = outcomes(shared, tmp_path, [replace(case, sabotage=sabotage)])
    assert seen.killed
    assert said in seen.broken
