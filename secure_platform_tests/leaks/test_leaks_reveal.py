"""What is stored to be told, and telling it: only the file that was asked for holds a value."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import polars as pl
import pytest
from bank_home import PRODUCT, cards, people, write_project
from canaries import TEXTS, needles
from leak_scenes import PLAIN_KEYS, Scene
from leak_support import Outcome, World
from sealed_room import sealed_room
from waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.system]

SECONDS: Final = 120
PORT: Final = "3999"
COLUMNS: Final = {"name": "name", "mail": "family name", "login": "street", "secret": "free text"}
"""Column of the people → the canary that is in every value of it."""
REVEAL: Final = ("reveal", PRODUCT, "accounts.login", "--purpose", "fraud", "--release", "1")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    scratch = tmp_path_factory.mktemp("world")
    project, source = scratch / "project", scratch / "source"
    write_project(project)
    source.mkdir()
    (project / "workspace.yaml").write_text("load_from: [{python_module: secure_platform.definitions}]\n")
    planted = [
        pl.format("{} {}", pl.lit(TEXTS[canary]), pl.int_range(pl.len())).alias(name)
        for name, canary in COLUMNS.items()
    ]
    people().with_columns(planted).write_csv(source / "people.csv")
    cards().with_columns(pl.lit(TEXTS["kept text"]).alias("note")).write_csv(source / "cards.csv")
    with sealed_room(needles(), scratch) as room:
        places = {
            "SECURE_PLATFORM_PROJECT": str(project),
            "SECURE_PLATFORM_DBT_PROJECT": str(project / "dbt"),
        }
        yield World(room, scratch, {**places, PLAIN_KEYS: "1"})


def token(world: World, name: str) -> tuple[str, str]:
    return "--token-file", str(world.home / "keys" / f"{name}.token")


@pytest.fixture(scope="module")
def built(world: World) -> Outcome:
    admin, petra = token(world, "admin"), token(world, "petra")[1]
    scope = ("--scope", f"data_reveal:{PRODUCT}")
    return world.play(
        Scene(
            "a release waits",
            ("run", PRODUCT, "--source", str(world.scratch / "source")),
        ),
        Scene("petra comes", (*admin, "principal", "add", "petra", "--role", "privacy_officer")),
        Scene("petra gets a token", (*admin, "token", "issue", "petra", *scope, "--out", petra)),
    )


@pytest.fixture(scope="module")
def exported(world: World, built: Outcome) -> Outcome:
    assert built.code == 0, built.out
    mine = (*token(world, "petra"), *REVEAL, "--out")
    return world.play(
        Scene("petra reveals", (*mine, str(world.scratch / "here.csv"))),
        Scene(
            "telling fails",
            (*mine, str(world.scratch / "failed.csv")),
            broken="secure_platform.protect.token_pages:OpenBook.texts",
        ),
    )


@pytest.fixture(scope="module")
def asked(world: World, exported: Outcome) -> tuple[Outcome, Outcome]:
    """A server, and who asked it."""
    assert exported.files
    output = world.scratch / "served"
    serving = ("-m", "secure_platform", "serve", "--port", PORT)
    server = world.start(*serving, output=output)
    url = f"http://127.0.0.1:{PORT}"
    try:
        assert wait_for(lambda: url in output.read_text() or server.poll() is not None, SECONDS)
        mine, there = (*token(world, "petra"), *REVEAL), ("--server", url)
        file = ("--out", str(world.scratch / "there.csv"))
        other = tuple("marketing" if word == "fraud" else word for word in mine)
        client = world.play(
            Scene("petra asks a server", (*mine, *file, *there)),
            Scene("for another purpose", (*other, *there)),
        )
        server.send_signal(signal.SIGTERM)
        return world.outcome(server.wait(60), output), client
    finally:
        world.kill()


def held(*outcomes: Outcome) -> dict[str, set[str]]:
    """Name of a file → the canaries in it; one that is asked for has another name until it is whole."""
    return {
        re.sub(r"^\.(.+\.csv)\.[0-9a-f]{16}$", r"\1", Path(path).name): {
            label.partition(" as ")[0] for label in labels
        }
        for outcome in outcomes
        for path, labels in outcome.holders.items()
    }


def told(outcome: Outcome) -> dict[str, str]:
    return dict(re.findall(r"^== (.+): ([0-9]+)$", outcome.out, re.MULTILINE))


def test_storing_tokens_writes_no_value(built: Outcome) -> None:
    assert built.files
    assert held(built) == {}
    assert built.printed == frozenset()


def test_the_file_that_was_asked_for_has_the_values_and_nothing_else_has(
    exported: Outcome, world: World
) -> None:
    assert told(exported) == {"petra reveals": "0", "telling fails": "1"}
    assert held(exported) == {"here.csv": {"street"}}
    assert TEXTS["street"][:20] in (world.scratch / "here.csv").read_text()
    assert exported.printed == frozenset()


def test_over_the_api_neither_side_writes_or_prints_a_value(
    asked: tuple[Outcome, Outcome], world: World
) -> None:
    server, client = asked
    assert told(client) == {"petra asks a server": "0", "for another purpose": "4"}
    assert held(server, client) == {"there.csv": {"street"}}
    assert (world.scratch / "there.csv").stat().st_mode & 0o777 == 0o600
    assert server.printed == client.printed == frozenset()


def test_nobody_outside_was_called(asked: tuple[Outcome, Outcome], world: World) -> None:
    assert asked
    assert +world.room.calls() == {}
