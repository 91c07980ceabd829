"""What is stored to be told, and telling it: only the file that was asked for holds a value.

Neither does what others are told: lineage, traces, notices and alerts as they arrive, pages, numbers for
Prometheus, and the budget of numbers with noise.
"""

import base64
import json
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import polars as pl
import pytest
from bank_home import AGGREGATES, PRODUCT, cards, contract, people, write_project
from canaries import TEXTS, TOTAL, needles
from leak_outside import PLACES
from leak_scenes import PLAIN_KEYS, Scene
from leak_support import ROOT, Outcome, World
from sealed_room import sealed_room
from waiting import wait_for

from secure_platform import canonical

pytestmark = [pytest.mark.slow, pytest.mark.system]

SECONDS: Final = 120
PORT: Final = "3999"
COLUMNS: Final = {"name": "name", "mail": "family name", "login": "street", "secret": "free text"}
"""Column of the people → the canary that is in every value of it."""
REVEAL: Final = ("reveal", PRODUCT, "accounts.login", "--purpose", "fraud", "--release", "1")


SUM: Final = """\
      - {name: worth, kind: sum, column: worth, lowest: 0, highest: 1000000000, step: 1}
"""
NOTE: Final = "driver's licence"
"""The canary that somebody says about an incident; no column has it."""
TESTS: Final = ROOT / "secure_platform_tests"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    scratch = tmp_path_factory.mktemp("world")
    write_bank(scratch / "project")
    write_source(scratch / "source", note=TEXTS["kept text"])
    # Something that is new in a column of text makes an incident.
    write_source(scratch / "changed", note=f"her number is {TEXTS['ssn']}")
    with sealed_room(needles(), scratch) as room, outside(World(room, scratch)) as told:
        project = scratch / "project"
        places = {
            "SECURE_PLATFORM_PROJECT": str(project),
            "SECURE_PLATFORM_DBT_PROJECT": str(project / "dbt"),
        }
        yield World(room, scratch, {**places, **told, PLAIN_KEYS: "1"})


def write_bank(project: Path) -> None:
    """The bank, with a number on each card whose sum is told with noise."""
    write_project(project)
    (project / "workspace.yaml").write_text("load_from: [{python_module: secure_platform.definitions}]\n")
    body: dict[str, Any] = contract("cards")
    worth = {"name": "worth", "logicalType": "integer", "classification": "internal"}
    body["schema"][0]["properties"].append(worth)
    folder = project / "defs" / PRODUCT
    (folder / "contracts" / "cards.odcs.yaml").write_text(canonical.dumps(body).decode())
    aggregates = AGGREGATES.replace("    measures: [", "    measures:\n      - ").replace(
        "}, {", "}\n      - {"
    )
    (folder / "aggregates.yaml").write_text(aggregates.replace("}]\n", f"}}\n{SUM}"))


def write_source(source: Path, *, note: str) -> None:
    source.mkdir()
    planted = [
        pl.format("{} {}", pl.lit(TEXTS[canary]), pl.int_range(pl.len())).alias(name)
        for name, canary in COLUMNS.items()
    ]
    people().with_columns(planted).write_csv(source / "people.csv")
    rows = cards().height
    worth = pl.Series("worth", [TOTAL // rows] * (rows - 1) + [TOTAL - (rows - 1) * (TOTAL // rows)])
    cards().with_columns(pl.lit(note).alias("note"), worth).write_csv(source / "cards.csv")


@contextmanager
def outside(world: World) -> Iterator[dict[str, str]]:
    """Those who are told: the settings that name them."""
    folder, output = world.scratch / "outside", world.scratch / "heard"
    folder.mkdir()
    paths = f"{TESTS}:{TESTS / 'leaks'}"
    process = world.start(TESTS / "leaks" / "leak_outside.py", folder, output=output, PYTHONPATH=paths)
    try:
        assert wait_for(lambda: (folder / PLACES).exists() or process.poll() is not None, SECONDS)
        places = json.loads((folder / PLACES).read_text())
        yield {name: json.dumps(settings) for name, settings in receivers(places, folder).items()}
    finally:
        process.terminate()
        process.wait(20)


def receivers(places: dict[str, str], folder: Path) -> dict[str, Any]:
    secret = folder / "channel.secret"
    secret.write_text(f"whsec_{base64.b64encode(b'k' * 32).decode()}\n")
    secret.chmod(0o600)
    may = {"allow": ["127.0.0.0/8"]}
    url = places["http"].removesuffix("/hook")
    known = {**may, "secret": f"secret://file/{secret}"}
    mail = {"sender": "platform@data.example.org", "recipients": ["a@example.org"], "user": "me"}
    channels = [
        {**known, "name": "hook", "kind": "webhook", "url": f"{url}/alert"},
        {**known, **mail, "name": "mail", "kind": "email", "url": places["mail"], "ca": places["ca"]},
    ]
    return {
        "SECURE_PLATFORM_LINEAGE": {**may, "url": f"{url}/lineage"},
        "SECURE_PLATFORM_TRACES": {**may, "url": f"{url}/traces"},
        "SECURE_PLATFORM_CHANNELS": channels,
    }


def arrived(world: World, kind: str) -> bytes:
    """All that somebody outside was sent, one after the other."""
    return b"\n".join(path.read_bytes() for path in (world.scratch / "outside").glob(f"{kind}-*.received"))


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
        Scene("the data change", ("run", PRODUCT, "--source", str(world.scratch / "changed"))),
        Scene("petra comes", (*admin, "principal", "add", "petra", "--role", "privacy_officer")),
        Scene("petra gets a token", (*admin, "token", "issue", "petra", *scope, "--out", petra)),
    )


@pytest.fixture(scope="module")
def settled(world: World, built: Outcome) -> tuple[Outcome, str]:
    """Everybody was told of an incident, and somebody said what it is; and its id."""
    assert built.code == 0, built.out
    admin = token(world, "admin")
    first = world.play(
        Scene("everybody is told", (*admin, "notify", "deliver")),
        Scene("the budget", (*admin, "budget", PRODUCT, "--json")),
        Scene("what is wrong", (*admin, "incident", "list", "--json")),
    )
    assert set(told(first).values()) == {"0"}, first.out
    (incident,) = re.findall(r'"incident_id": "([0-9a-f]+)"', first.out)
    second = world.play(
        Scene("it is settled", (*admin, "incident", "acknowledge", incident, "--reason", TEXTS[NOTE])),
        Scene("everybody is told again", (*admin, "notify", "deliver")),
        Scene("what happened", (*admin, "audit", "tail", "--count", "40", "--json")),
    )
    assert set(told(second).values()) == {"0"}, second.out
    printed, files = first.printed | second.printed, (*first.files, *second.files)
    return Outcome(0, first.out + second.out, printed, files), incident


@pytest.fixture(scope="module")
def exported(world: World, built: Outcome) -> Outcome:
    assert set(told(built).values()) == {"0"}, built.out
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
def asked(
    world: World, exported: Outcome, settled: tuple[Outcome, str]
) -> tuple[Outcome, Outcome, list[dict[str, Any]]]:
    """A server, who asked it, and what its pages hold."""
    assert exported.files
    of = f"/observability/{PRODUCT}"
    paths = [
        "/observability",
        of,
        f"{of}/sla",
        f"{of}/raw/cards",
        f"{of}/marts/totals",
        "/outcomes",
        "/metrics",
    ]
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
        pages, seen = world.scratch / "pages", [*paths, f"/incidents/{settled[1]}"]
        program = (TESTS / "leaks" / "leak_pages.py", url, json.dumps(seen))
        assert world.start(*program, output=pages).wait(SECONDS) == 0, pages.read_text()
        held = [json.loads(each) for each in re.findall(r"^\+\+ (.*)$", pages.read_text(), re.MULTILINE)]
        server.send_signal(signal.SIGTERM)
        return world.outcome(server.wait(60), output), client, held
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
    assert told(exported) == {"petra reveals": "0", "telling fails": "1"}, exported.out
    assert held(exported) == {"here.csv": {"street"}}
    assert TEXTS["street"][:20] in (world.scratch / "here.csv").read_text()
    assert exported.printed == frozenset()


def test_over_the_api_neither_side_writes_or_prints_a_value(
    asked: tuple[Outcome, Outcome, Any], world: World
) -> None:
    server, client, _ = asked
    assert told(client) == {"petra asks a server": "0", "for another purpose": "4"}
    assert held(server, client) == {"there.csv": {"street"}}
    assert (world.scratch / "there.csv").stat().st_mode & 0o777 == 0o600
    assert server.printed == client.printed == frozenset()


def test_those_who_are_told_are_sent_no_value(
    settled: tuple[Outcome, str], exported: Outcome, world: World
) -> None:
    outcome, _ = settled
    assert exported.files
    assert held(outcome) == {}, "what arrived lies in files, as it came"
    assert outcome.printed == frozenset()
    lineage, traces = arrived(world, "lineage"), arrived(world, "traces")
    assert b"columnLineage" in lineage
    assert b"raw/cards" in lineage
    for name in (b"pull", b"protect", b"package", b"reveal"):
        assert name in traces
    for notices in (arrived(world, "alert"), arrived(world, "mail")):
        assert b"incident" in notices.lower()
        assert b"waits for approval" in notices


def test_pages_and_numbers_hold_no_value_but_what_somebody_said_of_an_incident(
    asked: tuple[Outcome, Outcome, list[dict[str, Any]]],
) -> None:
    *pages, incident = asked[2]
    assert {page["path"]: page["holds"] for page in pages if page["holds"]} == {}
    assert all(page["status"] == 200 and page["bytes"] for page in pages)
    assert incident["holds"] == [NOTE], "who may look after it reads what was said"


def test_a_sum_that_is_told_with_noise_is_nowhere_as_it_is(
    built: Outcome, settled: tuple[Outcome, str], asked: tuple[Outcome, Outcome, Any], world: World
) -> None:
    assert '"worth"' in settled[0].out, "the budget tells of it"
    written = {
        label for each in (built, settled[0], *asked[:2]) for file in each.files for label in file.holds
    }
    assert not [label for label in written if label.startswith("total")]
    assert sum(pl.read_csv(world.scratch / "source" / "cards.csv")["worth"]) == TOTAL


def test_nobody_outside_was_called(asked: tuple[Outcome, Outcome, Any], world: World) -> None:
    assert asked
    assert +world.room.calls() == {}
