"""Run as a program: let stages die or fail at points, recover, and judge.

Every case is forked from this process, which starts no thread and opens no database: a fork of a process that
used Polars or SQLite may hang or share its locks.

    fault_line.py prepare SHARED           build every stage's home once and list the points of each stage
    fault_line.py run SHARED WORK          read cases from standard input, one JSON line each; print outcomes
    fault_line.py stages SHARED HOME NAME…  run stages on a home and judge it
"""

import gc
import importlib
import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import invariants as holds
from broken_products import SABOTAGE
from failpoints import Action, Faults, Point
from fault_case import PLENTY, Case, Outcome, disk, forked
from fault_stages import (
    BEFORE,
    DATASETS,
    MODEL,
    PRODUCT,
    STAGES,
    Place,
    open_line,
    record_dbt,
    replay_dbt,
    run_stage,
    write_shared,
)
from pandera.backends.polars.register import register_polars_backends

from secure_platform.errors import SecurePlatformError
from secure_platform.homes import INITIALISED
from secure_platform.orchestration.steps.context import code_version
from secure_platform.orchestration.steps.scanning import _NOTHING, _scanner
from secure_platform.scan import columns
from secure_platform.services import Services
from secure_platform.store.snapshot import Zone

ZONES = {Zone.RAW: DATASETS, Zone.PROTECTED: DATASETS, Zone.MARTS: (MODEL,)}
ORDER = (*STAGES, "end")
AT_ONCE = 2
# What the stages import when they first need it: once here instead of in every child.
LATE = (
    "alembic.command",
    "duckdb_extension_httpfs",
    "pyarrow.dataset",
    "secure_platform.orchestration.lineage",
    "secure_platform.validate.rows",
    "sqlglot.transforms",
)


def prepare(shared: Path) -> None:
    """Run all stages once, uninterrupted; keep the home before each, its state after each, and the points."""
    write_shared(shared)
    _warm(shared)
    points: dict[str, list[tuple[str, int]]] = {}
    states: dict[str, Any] = {}
    notes: list[str] = []
    for stage, following in pairwise(ORDER):
        place = Place(shared, home_of(shared, following))
        if stage == "marts":
            _copy(home_of(shared, stage), place.home)
            _checked(forked(partial(_with_real_dbt, place)))
            shutil.rmtree(place.home)
        _copy(home_of(shared, stage), place.home)
        points[stage] = _checked(forked(partial(_dry, place, stage)))["points"]
        finished = _checked(forked(partial(_finish, place, following, notes)))
        notes.append(finished["note"])
        states[stage] = {"state": finished["state"], "notes": list(notes)}
    (shared / "points.json").write_text(json.dumps(points))
    (shared / "states.json").write_text(json.dumps(states))


def _with_real_dbt(place: Place) -> dict[str, Any]:
    record_dbt(place.shared)
    run_stage(place, "marts")
    return {}


def _dry(place: Place, stage: str) -> dict[str, Any]:
    faults = _watched(place, stage)
    run_stage(place, stage)
    return {"points": [(point.name, point.occurrence) for point in faults.points]}


def _finish(place: Place, following: str, notes: list[str]) -> dict[str, Any]:
    services = open_line(place).services
    _judge(services, notes, place, settled=True)
    note = services.audit.checkpoint()
    state = holds.state(services, PRODUCT, ZONES)
    if following in BEFORE:
        BEFORE[following](open_line(place))
    return {"note": note, "state": state}


def run(shared: Path, work: Path, cases: Iterable[Case]) -> Generator[Outcome, None, None]:
    """Run the cases, two at a time, each on a copy of its stage's home."""
    _warm(shared)
    running: dict[int, tuple[Case, Path]] = {}
    try:
        yield from _two_at_a_time(shared, work, iter(cases), running)
    finally:  # Interrupted: nobody writes any more into a folder that is about to be removed.
        for child in running:
            with suppress(ProcessLookupError):  # It ended as the interruption came.
                os.kill(child, signal.SIGTERM)
                os.waitpid(child, 0)


def _two_at_a_time(
    shared: Path, work: Path, waiting: Iterator[Case], running: dict[int, tuple[Case, Path]]
) -> Iterator[Outcome]:
    number = 0
    while True:
        while len(running) < AT_ONCE and (case := next(waiting, None)) is not None:
            number += 1
            folder = work / str(number)
            folder.mkdir(parents=True)
            child = os.fork()
            if child == 0:
                _report(folder / "outcome.json", shared, folder, case)
            running[child] = (case, folder)
        if not running:
            return
        child, status = os.waitpid(-1, 0)
        case, folder = running.pop(child)
        if status:
            yield Outcome(case, reached=False, killed=False, error="", said="", broken=f"status {status}")
        else:
            document = json.loads((folder / "outcome.json").read_text())
            yield Outcome(case, **document)
        shutil.rmtree(folder)


def _warm(shared: Path) -> None:
    """What every child would do again, as far as it starts no thread."""
    for name in LATE:
        importlib.import_module(name)
    register_polars_backends()
    code_version()
    _secrets(shared)
    _warm_scanner(shared / "project" / "defs" / PRODUCT)
    threads = {(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()}
    if "polars-0" in threads:
        raise RuntimeError("Polars has started its threads: a fork of this process would hang")
    # What a child's collector looks at is copied for it: it shall be the child's own.
    gc.collect()
    gc.freeze()


def _warm_scanner(product: Path) -> None:
    """A scan's patterns take longer to compile than the few cells here take to scan."""
    assert _scanner(product, _NOTHING)._text is not None
    assert columns._secrets().announcements


def _report(to: Path, shared: Path, folder: Path, case: Case) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # What it started is then ended by `forked`.
    try:
        to.write_text(json.dumps(attempt(shared, folder, case)))
        os._exit(0)
    finally:
        traceback.print_exc()
        os._exit(1)


def attempt(shared: Path, folder: Path, case: Case) -> dict[str, Any]:
    """Interrupt, then look at what is left and go on."""
    with disk(folder / "disk", case) as make_room:
        place = Place(shared, folder / "disk" / "home")
        _copy(home_of(shared, case.stage), place.home)
        make_room(case.room)
        status, told = forked(lambda: _victim(place, case), stderr=folder / "stderr")
        killed = os.WIFSIGNALED(status)
        make_room(PLENTY)
        judged = forked(lambda: _inspect(place, case))[1]
    printed = (folder / "stderr").read_bytes()
    problems = [
        *judged.get("broken", []),
        *told.get("broken", []),
        *(["I5: a value was printed"] if any(value in printed for value in _secrets(shared)) else []),
        *([] if judged else ["the inspection died"]),
    ]
    return {
        "reached": killed or bool(told.get("reached")),
        "killed": killed,
        "error": told.get("error", ""),
        "said": told.get("said", ""),
        "broken": "; ".join(problems),
    }


def _victim(place: Place, case: Case) -> dict[str, Any]:
    os.setpgid(0, 0)
    faults = _watched(place, case.stage, case)
    if case.sabotage:
        SABOTAGE[case.sabotage]()
    if case.timed:
        signal.setitimer(signal.ITIMER_REAL, case.seconds)
    error, said = "", ""
    try:
        run_stage(place, case.stage)
    except SecurePlatformError as refused:
        error, said = type(refused).__name__, str(refused)
    broken = [f"{name} was flushed again after an error" for name in faults.unsynced]
    if any(value in said.encode() for value in _secrets(place.shared)):
        broken.append("I5: the error holds a value")
    if case.action == Action.FAIL and " os.fsync " in case.point and not error:
        broken.append("an error of fsync was passed over")
    return {"reached": faults.reached, "error": error, "said": said, "broken": broken}


def _inspect(place: Place, case: Case) -> dict[str, Any]:
    replay_dbt(place.shared)
    recorded = json.loads((place.shared / "states.json").read_text())
    stages = ORDER[ORDER.index(case.stage) : ORDER.index(case.until) + 1]
    before = ORDER[ORDER.index(case.stage) - 1]
    notes = [] if case.stage == "init" else recorded[before]["notes"]
    if case.stage not in BEFORE and (place.home / INITIALISED).exists():
        _judge(open_line(place).services, notes, place, settled=False)
    for position, stage in enumerate(stages):
        if position and stage in BEFORE:
            BEFORE[stage](open_line(place))
        run_stage(place, stage)
    services = open_line(place).services
    _judge(services, notes, place, settled=True)
    holds.i6_nothing_is_left_over(place.home)
    found, expected = holds.state(services, PRODUCT, ZONES), recorded[case.until]["state"]
    differing = [name for name in expected if found[name] != expected[name]]
    if case.stage == "init":  # Another home has other digest keys.
        differing = [name for name in differing if name not in {"heads", "tables"}]
    if differing:
        raise holds.Broken(f"I6: {', '.join(differing)} did not converge: {found}")
    return {"broken": []}


def _judge(services: Services, notes: list[str], place: Place, *, settled: bool) -> None:
    holds.i1_production_is_one_logged_release(services, PRODUCT)
    holds.i2_every_change_was_announced_and_closed(services, PRODUCT, settled=settled)
    holds.i3_nothing_was_deployed_without_leave(services, PRODUCT)
    holds.i4_the_log_is_whole(services, notes)
    holds.i5_nothing_lies_in_clear(place.home, _secrets(place.shared))
    holds.i7_there_is_a_way_back(services, PRODUCT)


def _watched(place: Place, stage: str, case: Case | None = None) -> Faults:
    if (place.shared / "dbt" / "run.json").exists() and not (case and case.timed):
        replay_dbt(place.shared)
    armed = Point(case.point, case.occurrence) if case and case.point else None
    faults = Faults(stage, place.home, armed, Action(case.action) if case else Action.KILL)
    faults.install()
    return faults


def home_of(shared: Path, stage: str) -> Path:
    """The home before this stage."""
    return shared / "homes" / stage


def points_of(shared: Path) -> dict[str, list[Point]]:
    """The points of every stage, in order."""
    document: Mapping[str, list[tuple[str, int]]] = json.loads((shared / "points.json").read_text())
    return {stage: [Point(*point) for point in points] for stage, points in document.items()}


@cache
def _secrets(shared: Path) -> list[bytes]:
    return [value for number in (1, 2, 3) for value in holds.secrets_of(shared / "sources" / str(number))]


def _copy(home: Path, to: Path) -> None:
    if home.exists():
        shutil.copytree(home, to)


def _checked(result: tuple[int, dict[str, Any]]) -> dict[str, Any]:
    status, told = result
    if status or told.get("broken"):
        raise RuntimeError(f"The uninterrupted way does not work: {told.get('broken', status)}")
    return told


def main(command: str, shared: Path, *rest: str) -> None:
    if command == "prepare":
        prepare(shared)
    elif command == "stages":
        place = Place(shared, Path(rest[0]))
        replay_dbt(shared)
        for stage in rest[1:]:
            run_stage(place, stage)
        _judge(open_line(place).services, [], place, settled=True)
        holds.i6_nothing_is_left_over(place.home)
    else:
        cases = [Case(**json.loads(line)) for line in sys.stdin]
        for outcome in run(shared, Path(rest[0]), cases):
            sys.stdout.write(json.dumps(asdict(outcome)) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
