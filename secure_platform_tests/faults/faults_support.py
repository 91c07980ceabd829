"""Starts the fault line as a program and reads what became of the cases."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import pytest
from failpoints import Action, Point
from fault_case import Case, Outcome
from fault_stages import STAGES
from made_once import made_once

PROGRAM = Path(__file__).with_name("fault_line.py")
SEED = int(os.environ.get("SECURE_PLATFORM_FAULT_SEED", "1"))
"""Another seed takes another sample; a failing one can be given again."""

# How far a home is taken after the interruption, so that the suite stays short; the soak goes to the end.
LAST = frozenset({"deploy", "renew", "rollback", "restore", "return"})
# They go the whole way a second and third time: slow, and mostly the effects of the first.
REPEATED = frozenset({"renew", "return"})


def fault_line(command: str, *arguments: str | Path, cases: Iterable[Case] = ()) -> str:
    """Run the program; what it prints."""
    lines = "".join(json.dumps(asdict(case)) + "\n" for case in cases)
    done = subprocess.run(
        [sys.executable, PROGRAM, command, *arguments],
        input=lines,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def prepared(factory: pytest.TempPathFactory) -> Path:
    """The homes before every stage and the points of every stage, once for all tests."""
    return made_once(factory, "faults", lambda shared: fault_line("prepare", shared))


def outcomes(shared: Path, work: Path, cases: Iterable[Case]) -> list[Outcome]:
    """Let the cases happen."""
    found = [json.loads(line) for line in fault_line("run", shared, work, cases=cases).splitlines()]
    return [Outcome(**{**document, "case": Case(**document["case"])}) for document in found]


def failures(found: Iterable[Outcome]) -> list[str]:
    """What went wrong, with all that is needed to see it again."""
    return [
        f"seed {SEED}: {outcome.case!r}: {outcome.broken or 'the point was not reached'}"
        for outcome in found
        if outcome.broken or not outcome.reached
    ]


def until(stage: str) -> str:
    """The last stage that is run after an interruption of this one: mostly the next, which reads its work."""
    stages = tuple(STAGES)
    return stage if stage in LAST else stages[stages.index(stage) + 1]


def sample(points: dict[str, list[Point]], action: Action, rounds: int) -> list[Case]:
    """So many cases of one action of every stage, each at another effect."""
    chance = random.Random(f"{SEED} {action}")  # noqa: S311 - it only chooses; the same seed, the same cases
    cases: list[Case] = []
    for stage, found in points.items():
        chosen = _one_of_each_name(found, action, chance)[: 1 if stage in REPEATED else rounds]
        cases += [Case(stage, action, point.name, point.occurrence, until=until(stage)) for point in chosen]
    return cases


def _one_of_each_name(points: list[Point], action: Action, chance: random.Random) -> list[Point]:
    by_name: dict[str, list[Point]] = {}
    for point in points:
        if action in point.actions:
            by_name.setdefault(point.name, []).append(point)
    chosen = [chance.choice(alike) for alike in by_name.values()]
    chance.shuffle(chosen)
    return chosen
