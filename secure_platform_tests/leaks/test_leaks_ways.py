"""Canaries pass through success and every kind of failure; no file that is written holds one in clear.

The commands work on one home, each continuing where the one before it failed. They have little memory, so
that what can spill does, and no network.
"""

import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from canaries import KEY, TEXTS, needles, spoil_source, write_source
from leak_scenes import Scene
from leak_support import Outcome, World
from sealed_room import sealed_room
from waiting import wait_for

from secure_platform.keys.providers.local import ROOT_KEY_FILE
from secure_platform.store.warehouse import BUILD_KEY

pytestmark = [pytest.mark.slow, pytest.mark.system]

PATIENTS: Final = 60
STEPS: Final = "secure_platform.orchestration.steps"
MART: Final = "models/healthcare/condition_prevalence.sql"
# What the changed dbt project does depends on the memory that it is allowed: one project is parsed once.
WRONG: Final = "100MB"
LITTLE: Final = "96MB"
ENDLESS: Final = "40MB"
MEMORY: Final = "env_var('SECURE_PLATFORM_BUILD_MEMORY', '')"
DESCRIPTION: Final = 'min(conditions."DESCRIPTION") as description'
UNCASTABLE: Final = (
    MART,
    DESCRIPTION,
    f"""{{% if {MEMORY} == '{WRONG}' %}} min(cast(conditions."DESCRIPTION" as integer)) as description
        {{% else %}} {DESCRIPTION} {{% endif %}}""",
)
FAILING_TEST: Final = (
    "tests/healthcare/no_condition.sql",
    "",
    f"""{{{{ config(store_failures=true) }}}}
select * from {{{{ source('healthcare', 'conditions') }}}}
where '{{{{ {MEMORY} }}}}' = '{WRONG}' and (select count(*) from {{{{ ref('encounter_facts') }}}}) > 0
""",  # noqa: S608 - dbt's text
)
# Every kept text many times, grouped: more than the memory that is allowed, and in one case without end.
TIMES: Final = f"{{{{ {{'{LITTLE}': 18000, '{ENDLESS}': 10 ** 10}}.get({MEMORY}, 1) }}}}"
PRESSING: Final = (
    MART,
    "with total as (",
    f"""with pressing as (
    select count(*) as many
    from (
        select "DESCRIPTION" || ' ' || n || ' ' || "PATIENT" as t, max(n)
        from {{{{ source('healthcare', 'conditions') }}}} cross join range({TIMES}) as r(n)
        group by t
    )
),
total as (""",  # noqa: S608 - dbt's text
)
PRESSED: Final = (MART, "cross join total", "cross join total cross join pressing")
SPILL_BYTES: Final = 1 << 20
DEPLOY: Final = ("deploy", "healthcare")
QUESTION: Final = "SELECT description FROM condition_prevalence"
SEMAPHORES: Final = "/dev/shm/sem."  # noqa: S108 - the interpreter's, without content


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    scratch = tmp_path_factory.mktemp("world")
    with sealed_room(needles(), scratch) as room:
        world = World(room, scratch)
        world.change_dbt_project(UNCASTABLE, FAILING_TEST, PRESSING, PRESSED)
        yield world


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_source(tmp_path_factory.mktemp("source"), patients=PATIENTS)


@pytest.fixture(scope="module")
def until_protected(world: World, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    spoilt = spoil_source(source, tmp_path_factory.mktemp("spoilt"))
    return world.play(
        Scene("the data are refused", build(spoilt)),
        Scene("a transform raises", build(source), broken=f"{STEPS}.rows:apply"),
        Scene(
            "a worker is killed while it protects",
            build(source),
            broken="secure_platform.store.digest:ContentDigest.update",
            kills=True,
        ),
    )


@pytest.fixture(scope="module")
def until_built(world: World, source: Path, until_protected: Outcome) -> Outcome:
    """The last scene is interrupted while dbt spills: all processes are killed at once."""
    assert until_protected.code
    process, output = world.begin(
        Scene("dbt fails", build(source), environment=memory(WRONG)),
        Scene("worker and dbt are killed while dbt spills", build(source), environment=memory(ENDLESS)),
    )
    assert wait_for(
        lambda: spilled_now(world.home) >= SPILL_BYTES or process.poll() is not None, 300, pause=0.01
    )
    assert process.poll() is None, output.read_text()
    world.kill()
    return world.outcome(process.wait(20), output)


def spilled_now(home: Path) -> int:
    return sum(path.stat().st_size for path in home.glob("tmp/build-*/spill/*"))


@pytest.fixture(scope="module")
def until_deployed(world: World, source: Path, until_built: Outcome) -> Outcome:
    assert until_built.code
    return world.play(
        Scene(
            "packing raises",
            build(source),
            broken=f"{STEPS}.package:build_release",
            environment=memory(LITTLE),
        ),
        Scene("a release waits", build(source)),
        *approval(world),
        Scene("deploying raises", DEPLOY, broken="secure_platform.deploy.database:build"),
        Scene("it is deployed", DEPLOY),
    )


@pytest.fixture(scope="module")
def asked(world: World, until_deployed: Outcome) -> Outcome:
    assert not until_deployed.code
    asking = ("sql", "healthcare", QUESTION, "--purpose", "research")
    return world.play(Scene("an analyst asks", (*as_person(world, "ana"), *asking)))


@pytest.fixture(params=["until_protected", "until_built", "until_deployed", "asked"])
def outcome(request: pytest.FixtureRequest) -> Outcome:
    found: Outcome = request.getfixturevalue(request.param)
    return found


def memory(limit: str) -> dict[str, str]:
    return {"SECURE_PLATFORM_MEMORY_LIMIT": limit}


def build(source: Path) -> tuple[str, ...]:
    return "run", "healthcare", "--source", str(source)


def as_person(world: World, name: str) -> tuple[str, str]:
    return "--token-file", str(world.home / "keys" / f"{name}.token")


def approval(world: World) -> Iterator[Scene]:
    admin = as_person(world, "admin")
    for name, role in (("sam", "data_steward"), ("ana", "analyst")):
        token = as_person(world, name)[1]
        yield Scene(f"{name} comes", (*admin, "principal", "add", name, "--role", role))
        yield Scene(f"{name} gets a token", (*admin, "token", "issue", name, "--out", token))
    approve = ("release", "approve", "healthcare", "--reason", "reviewed")
    yield Scene("it is approved", (*as_person(world, "sam"), *approve))


def test_no_file_held_a_canary(outcome: Outcome, world: World) -> None:
    assert outcome.files
    held = {path: labels for path, labels in outcome.holders.items() if not is_secret(Path(path), world)}
    assert held == {}


def is_secret(path: Path, world: World) -> bool:
    """Whether it is there to hold a key or a token, or becomes such a file: private, and the user's own."""
    named = any(name in path.name for name in (ROOT_KEY_FILE, ".token"))
    secret = path.parent == world.home / "keys" and named
    return secret and (not path.exists() or path.stat().st_mode & 0o077 == 0)


def test_the_keys_did_hold_the_canary(until_protected: Outcome, world: World) -> None:
    held = {Path(path).name for path in until_protected.holders}
    for name in ("admin.token", "deployer.token", ROOT_KEY_FILE):
        assert any(name in one for one in held)
    assert KEY in (world.home / "keys" / ROOT_KEY_FILE).read_bytes()


def test_no_child_was_given_a_key_but_dbt_that_of_its_database(
    until_protected: Outcome, until_built: Outcome, until_deployed: Outcome
) -> None:
    outcomes = (until_protected, until_built, until_deployed)
    said = re.findall(r"^-- (\S+): (.*)$", "".join(one.out for one in outcomes), re.MULTILINE)
    assert {program: names for program, names in said if names} == {"dbt": BUILD_KEY}


def test_nothing_was_written_outside_of_the_home(outcome: Outcome, world: World) -> None:
    paths = [Path(file.path) for file in outcome.files if not file.path.startswith(SEMAPHORES)]
    code = {"__pycache__"}
    assert [path for path in paths if not (path.is_relative_to(world.home) or code & set(path.parts))] == []


def test_nobody_was_called(outcome: Outcome, world: World) -> None:
    assert outcome.files
    assert +world.room.calls() == {}


def test_only_the_answer_from_production_showed_a_canary(
    until_protected: Outcome, until_built: Outcome, until_deployed: Outcome, asked: Outcome
) -> None:
    for one in (until_protected, until_built, until_deployed):
        assert one.printed == frozenset()
    assert TEXTS["kept text"] in asked.out
    assert {label.partition(" as ")[0] for label in asked.printed} == {"kept text"}


def test_dbt_did_spill_so_that_its_spill_was_looked_at(until_built: Outcome, until_deployed: Outcome) -> None:
    for one in (until_built, until_deployed):
        spilled = [file.size for file in one.files if "/spill/duckdb_temp_storage" in file.path]
        assert sum(spilled) >= SPILL_BYTES


def test_every_way_ends_as_it_must(
    until_protected: Outcome, until_built: Outcome, until_deployed: Outcome, asked: Outcome
) -> None:
    outcomes = (until_protected, until_built, until_deployed, asked)
    assert [one.code for one in outcomes] == [-signal.SIGKILL, -signal.SIGKILL, 0, 0]
    said = dict(re.findall(r"^== (.+): ([0-9]+)$", "".join(one.out for one in outcomes), re.MULTILINE))
    assert {name: int(code) for name, code in said.items() if code != "0"} == {
        "the data are refused": 3,
        "a transform raises": 1,
        "dbt fails": 3,
        "packing raises": 1,
        "deploying raises": 1,
    }
    refused = re.findall(r"raw/(\w+) +(?:refused|check contract failed)", until_protected.out)
    assert set(refused) == {"patients", "conditions", "encounters"}
    assert {"a release waits", "it is approved", "it is deployed", "an analyst asks"} <= said.keys()
