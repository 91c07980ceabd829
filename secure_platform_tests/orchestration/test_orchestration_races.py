"""Processes that change one product at the same instant: one wins, and the other is told what happened."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from built_home import PRODUCT, Built, built_release

from secure_platform.cli.main import run
from secure_platform.control.locks import file_lock
from secure_platform.deploy.duckdb_target import DuckDBTarget
from secure_platform.errors import AccessDeniedError, AlreadyRolledBackError, GateRefusedError
from secure_platform.gate.records import ReleaseRecord
from secure_platform.gate.releases import Gate
from secure_platform.gate.states import ReleaseState
from secure_platform.orchestration.steps.deploy import (
    deploy,
    in_production,
    matches_release,
    reconcile,
    rollback,
)
from secure_platform.services import Services
from secure_platform.settings import load_settings
from secure_platform.store.snapshot import Zone

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
RACER = Path(__file__).with_name("orchestration_racer.py")
ROUNDS = 3
S = ReleaseState


@pytest.fixture(scope="module")
def first_waits(built_once: Built, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Release 1 is approved, and nothing is in production."""
    built = built_once.copy(tmp_path_factory.mktemp("races") / "first")
    built.approve()
    return built


@pytest.fixture(scope="module")
def third_waits(first_waits: Built, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Releases 1 and 2 were deployed, and release 3 is approved."""
    built = first_waits.copy(tmp_path_factory.mktemp("races") / "third")
    deploy(built.services, built.product)
    for name in ("second", "third"):
        built_release(built, name)
        built.approve()
        if name == "second":
            deploy(built.services, built.product)
    return built


@pytest.fixture(scope="module")
def third_deployed(third_waits: Built, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Releases 1, 2 and 3 were deployed."""
    built = third_waits.copy(tmp_path_factory.mktemp("races") / "deployed")
    deploy(built.services, built.product)
    return built


@contextmanager
def racing(verb: str, homes: list[Built]) -> Iterator["subprocess.Popen[str]"]:
    path = os.pathsep.join([str(ROOT), str(ROOT / "secure_platform_tests")])
    with subprocess.Popen(
        [sys.executable, str(RACER), verb, *(str(built.home) for built in homes)],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process


def said(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def at_once(start: Built, tmp_path: Path, *verbs: str) -> list[tuple[Built, list[str]]]:
    """Each round, on a home of its own, the verbs at the same instant; what each said."""
    homes = [start.copy(tmp_path / f"round{number}") for number in range(ROUNDS)]
    rounds = []
    with ExitStack() as stack:
        processes = [stack.enter_context(racing(verb, homes)) for verb in verbs]
        for built in homes:
            assert [said(process) for process in processes] == ["ready"] * len(verbs)
            for process in processes:
                assert process.stdin is not None
                process.stdin.write("go\n")
                process.stdin.flush()
            rounds.append((built, [said(process) for process in processes]))
        assert [process.wait(60) for process in processes] == [0] * len(verbs)
    return rounds


def in_order(built: Built) -> tuple[int, int]:
    """Production is exactly one release that readers get, and all records agree; its number and sequence."""
    services = built.services
    production = services.target.current(PRODUCT)
    assert production is not None
    matches_release(services, production)
    deployed = [r.number for r in services.gate.list(PRODUCT) if r.state is S.DEPLOYED]
    assert max(deployed) == production.number
    assert services.audit.verify().unfinished == ()
    again = deploy(services, built.product)
    assert (again.reused, again.record.number) == (True, production.number)
    return production.number, production.sequence


def test_of_two_deployments_at_once_one_deploys_and_the_other_finds_it(
    first_waits: Built, tmp_path: Path
) -> None:
    for built, answers in at_once(first_waits, tmp_path, "deploy", "deploy"):
        assert sorted(answers) == ["deployed 1", "found 1"]
        assert in_order(built) == (1, 1)
        phases = [
            entry.body["phase"]
            for entry in built.services.audit.entries()
            if entry.body["action"] == "deploy.publish"
        ]
        assert phases == ["intent", "done"]


def test_a_deployment_and_a_rollback_at_once_are_made_one_after_the_other(
    third_waits: Built, tmp_path: Path
) -> None:
    for built, (deployer, steward) in at_once(third_waits, tmp_path, "deploy", "rollback"):
        states = [record.state for record in built.services.gate.list(PRODUCT)]
        if deployer == "deployed 3":
            assert steward == (
                "4 Release 2 of healthcare is not in production: release 3 is in production."
                " Look at what is there now: secure-platform release list healthcare"
            )
            assert states == [S.DEPLOYED] * 3
            assert in_order(built) == (3, 3)
        else:
            assert steward == "went back to 1"
            assert deployer.startswith("4 service:deployer may not do release_deploy")
            assert "forbid-stale-base" in deployer
            assert "build the product again and review the new release" in deployer
            assert states == [S.DEPLOYED, S.ROLLED_BACK, S.APPROVED]
            assert built.services.target.base(PRODUCT) == built.services.gate.list(PRODUCT)[0].digest


def test_of_two_rollbacks_at_once_one_goes_back_and_the_other_is_told(
    third_deployed: Built, tmp_path: Path
) -> None:
    refused = (
        "4 Release 3 of healthcare was rolled back already: release 2 is in production."
        " Roll back again only to leave that one too."
    )
    for built, answers in at_once(third_deployed, tmp_path, "rollback", "rollback"):
        assert sorted(answers) == [refused, "went back to 2"]
        assert in_order(built) == (2, 4)


@contextmanager
def dying_unrecorded() -> Iterator[None]:
    """What is done here dies after it changed production and before it is recorded."""

    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Gate, "record", dies)
        yield


def interrupted_rollback(built: Built) -> ReleaseRecord:
    """The release that an interrupted rollback left."""
    left = in_production(built.services, PRODUCT)
    with dying_unrecorded(), pytest.raises(KeyboardInterrupt):
        rollback(built.services, left, built.person("sam"), reason="wrong costs")
    return left


@pytest.mark.parametrize("meanwhile", ["nothing", "a build", "a deployment"])
def test_an_interrupted_rollback_that_is_said_again_goes_back_once(
    third_deployed: Built, tmp_path: Path, meanwhile: str
) -> None:
    built = third_deployed.copy(tmp_path / "built")
    left = interrupted_rollback(built)
    assert in_production(built.services, PRODUCT).number == left.number == 3
    if meanwhile == "a build":
        built_release(built, "fourth")
    elif meanwhile == "a deployment":
        deploy(built.services, built.product)
    for _ in range(2):
        with pytest.raises(AlreadyRolledBackError, match="Release 3 of healthcare was rolled back already"):
            rollback(built.services, left, built.person("sam"), reason="wrong costs")
    assert in_order(built) == (2, 4)


def test_who_may_not_roll_back_does_not_finish_a_rollback(third_deployed: Built, tmp_path: Path) -> None:
    built = third_deployed.copy(tmp_path / "built")
    left = interrupted_rollback(built)
    with pytest.raises(AccessDeniedError, match="dana may not do release_rollback"):
        rollback(built.services, left, built.person("dana"), reason="x")
    assert built.newest().state is S.DEPLOYED


def test_a_release_that_was_rejected_while_it_was_deployed_does_not_stop_its_product(
    third_waits: Built, tmp_path: Path
) -> None:
    built = third_waits.copy(tmp_path / "built")
    with dying_unrecorded(), pytest.raises(KeyboardInterrupt):
        deploy(built.services, built.product)
    built.services.principals.disable("sam", actor="admin")
    services = built.services
    rejected = services.gate.reject(built.newest().digest, built.person("tess"), reason="wrong costs")
    assert rejected.state is S.REJECTED
    assert deploy(built.services, built.product).reused
    assert in_order(built) == (3, 3)
    left = in_production(built.services, PRODUCT)
    assert rollback(built.services, left, built.person("tess"), reason="wrong costs").record.number == 2
    assert in_order(built) == (2, 4)


class Hours:
    """Time that passes while somebody waits; after so many seconds the lock is freed."""

    def __init__(self, free: Callable[[], None], seconds: float) -> None:
        self.now = 0.0
        self.free, self.seconds = free, seconds

    def monotonic(self) -> float:
        return self.now

    def sleep(self, _: float) -> None:
        self.now += 60
        if self.now >= self.seconds:
            self.free()


@pytest.mark.parametrize("minutes", [50, 70])
def test_a_rollback_waits_for_a_long_deployment_and_tells_when_it_is_too_long(
    third_deployed: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, minutes: int
) -> None:
    built = third_deployed.copy(tmp_path / "built")
    left = in_production(built.services, PRODUCT)
    with ExitStack() as deployment:
        lock = built.home / "warehouse" / f".{PRODUCT}.lock"
        deployment.enter_context(file_lock(lock, holder="the test"))
        monkeypatch.setattr("secure_platform.control.locks.time", Hours(deployment.close, minutes * 60))
        if minutes < 60:
            assert rollback(built.services, left, built.person("sam"), reason="x").record.number == 2
        else:
            with pytest.raises(GateRefusedError, match="busy with a deployment or rollback of healthcare"):
                rollback(built.services, left, built.person("sam"), reason="x")


def test_a_deployment_that_ends_during_a_look_is_not_taken_for_a_rolled_back_one(
    third_waits: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = third_waits.copy(tmp_path / "built")
    honest = DuckDBTarget.base

    def overtaken(target: DuckDBTarget, product: str) -> str | None:
        monkeypatch.setattr(DuckDBTarget, "base", honest)
        seen = honest(target, product)
        deploy(built.services, built.product)
        return seen

    monkeypatch.setattr(DuckDBTarget, "base", overtaken)
    reconcile(built.services, PRODUCT, actor="service:scheduler")
    assert in_order(built) == (3, 3)


def command(home: Path, *words: str) -> "subprocess.Popen[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SECURE_PLATFORM_")}
    return subprocess.Popen(
        [sys.executable, "-m", "secure_platform", "--home", str(home), *words, "--json"],
        cwd=ROOT,
        env=kept,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_command_that_names_the_release_to_leave_may_be_said_again(
    third_deployed: Built, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    built = third_deployed.copy(tmp_path / "built")
    interrupted_rollback(built)
    said = ("--token-file", str(built.token("sam")), "rollback", PRODUCT, "--reason", "wrong costs")
    for words, status, number in (
        (said, 4, None),
        ((*said, "--from", "3"), 0, 2),
        (said, 0, 1),
        ((*said, "--from", "3"), 0, 1),
    ):
        code = run(["--home", str(built.home), *words, "--json"])
        assert (code, json.loads(capsys.readouterr().out).get("number")) == (status, number)
    assert [r.state for r in built.services.gate.list(PRODUCT)] == [S.DEPLOYED, S.ROLLED_BACK, S.ROLLED_BACK]


def test_eight_commands_on_a_fresh_home_and_two_builds_among_them_lose_nothing(
    built_once: Built, tmp_path: Path
) -> None:
    home, one, two = tmp_path / "home", tmp_path / "one", tmp_path / "two"
    shutil.copytree(built_once.source, one)
    shutil.copytree(built_once.source, two)
    lines = (one / "observations.csv").read_text().splitlines(keepends=True)
    (two / "observations.csv").write_text("".join(lines[:-1]))
    commands = [
        *(("run", PRODUCT, "--source", str(source)) for source in (one, two)),
        *[("init",)] * 3,
        *[("release", "list")] * 2,
        ("check",),
    ]
    started = [command(home, *words) for words in commands]
    ended = [process.communicate(timeout=300) for process in started]
    assert [process.returncode for process in started] == [0] * 8, ended
    answers = [json.loads(out) for out, _ in ended]
    assert [answer["created"] for answer in answers[2:5]].count(True) <= 1
    releases = sorted(answer["release"]["number"] for answer in answers[:2])
    assert releases == [1, 2]
    services = Services(load_settings(home=home))
    assert [r.state for r in services.gate.list(PRODUCT)] == [S.SUPERSEDED, S.PENDING]
    assert {path.name for path in (home / "keys").iterdir()} == {"root.key", "admin.token", "deployer.token"}
    actions = [(entry.body["action"], entry.body["phase"]) for entry in services.audit.entries()]
    assert actions.count(("home.initialise", "done")) + actions.count(("home.initialise", "event")) == 1
    assert actions.count(("token.issue", "done")) == 2
    assert services.audit.verify().unfinished == ()
    rows = [released_observations(services, answer["release"]["number"]) for answer in answers[:2]]
    assert rows == [len(lines) - 1, len(lines) - 2]


def released_observations(services: Services, number: int) -> int:
    """How many observations the release was made from."""
    manifest = json.loads((services.releases / PRODUCT / str(number) / "manifest.json").read_bytes())
    (raw,) = (
        item["snapshot_id"]
        for item in manifest["lineage"]
        if (item["zone"], item["dataset"]) == ("raw", "observations")
    )
    return services.store.load(PRODUCT, "observations", Zone.RAW, raw).rows
