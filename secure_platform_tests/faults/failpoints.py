"""Every effect of a process is a point with a name, reported by the interpreter itself.

The product has no hooks: a process that could be told from outside to fail would be attack surface. Audit
events of Python tell of files that are opened for writing, renamed, removed or locked and of every program
that is started. What raises no event is wrapped, in the child process only: `os.fsync`, the connections of
SQLite, whose statements are traced, and the few calls of Polars and DuckDB behind which native code writes.

A point is its stage, operation and place, with random ids replaced, and how often it was reached before.
"""

import errno
import json
import os
import re
import resource
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

_RANDOM = re.compile(r"(?<![0-9a-z])[0-9a-f]{12,64}(?![0-9a-z])|tmp[a-z0-9_]{8}")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_STATEMENT = re.compile(
    r"\s*(COMMIT|CHECKPOINT|ATTACH"
    r"|(?:INSERT(?: OR REPLACE)? INTO|UPDATE|DELETE FROM|CREATE TABLE|CREATE SCHEMA)\S*(?: \w+)?)"
)
_ENTRY = re.compile(r"INSERT INTO entry VALUES \([0-9]+, x'([0-9a-fA-F]+)'\)")
# Event → positions of its paths and of the open directories that they are relative to.
_EVENTS: dict[str, tuple[tuple[int, int | None], ...]] = {
    "open": ((0, None),),
    "os.rename": ((0, 2), (1, 3)),
    "os.link": ((0, 2), (1, 3)),
    "os.symlink": ((1, 2),),
    "os.mkdir": ((0, 2),),
    "os.rmdir": ((0, 1),),
    "os.remove": ((0, 1),),
    "os.chmod": ((0, 2),),
    "os.truncate": ((0, None),),
    "fcntl.flock": ((0, None),),
}
_NEEDS_SPACE = frozenset({"open", "os.rename", "os.link", "os.symlink", "os.mkdir"})


class Action(StrEnum):
    """What happens at a point, before its effect.

    `KILL`: SIGKILL. `FAIL`: this one call fails, with ENOSPC where a full disk would show, else with EIO.
    `FULL`: from here on the kernel refuses every write of this process, native code and SQLite included.
    """

    KILL = "kill"
    FAIL = "fail"
    FULL = "full"


@dataclass(frozen=True, order=True)
class Point:
    """One effect: `name` as in `deploy: os.rename tmp/build-@/1-@.duckdb -> warehouse/clinic/1-@.duckdb`."""

    name: str
    occurrence: int

    @property
    def actions(self) -> tuple[Action, ...]:
        """What can happen here: nothing can be raised out of SQLite or out of native code."""
        inside = self.name.partition(": ")[2].startswith(("sqlite", "duckdb", "polars"))
        return (Action.KILL, Action.FULL) if inside else (Action.KILL, Action.FAIL, Action.FULL)


@dataclass
class Faults:
    """Watches this process, records the points it passes, and acts at the armed one.

    Attributes:
        stage: The first word of every point's name.
        home: Effects elsewhere are not points.
        points: Those that were passed, in order.
        unsynced: Files whose flush was made to fail and was tried again all the same.
    """

    stage: str
    home: Path
    armed: Point | None = None
    action: Action = Action.KILL
    points: list[Point] = field(default_factory=list)
    unsynced: list[str] = field(default_factory=list)
    _seen: Counter[str] = field(default_factory=Counter)
    _failed: set[str] = field(default_factory=set)

    def install(self) -> None:
        """Begin to watch; it cannot be undone in this process."""
        sys.addaudithook(self._event)
        _wrap(os, "fsync", self._fsync)
        for module in (sqlite3, sqlite3.dbapi2):
            _wrap(module, "connect", self._open_sqlite)
        _wrap(pl, "collect_all", self._collect_all)
        _wrap(duckdb, "connect", self._connect)

    @property
    def reached(self) -> bool:
        """Whether the armed point was passed."""
        return self.armed in self.points

    def _event(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "subprocess.Popen":
            self._pass(f"{event} {Path(os.fsdecode(arguments[0])).name}")
        elif event in _EVENTS and not (event == "open" and not _writes(arguments)):
            places = [self._place(arguments, *where) for where in _EVENTS[event]]
            if None not in places:
                self._pass(f"{event} {' -> '.join(map(str, places))}")

    def _place(self, arguments: tuple[Any, ...], position: int, folder: int | None) -> str | None:
        target = arguments[position]
        if isinstance(target, int):
            path = _opened(target)
        else:
            base = arguments[folder] if folder is not None and len(arguments) > folder else -1
            path = Path(_opened(base) if isinstance(base, int) and base >= 0 else "", os.fsdecode(target))
        if not path.is_relative_to(self.home) or path == self.home:
            return None
        return _RANDOM.sub("@", path.relative_to(self.home).as_posix())

    def _open_sqlite(self, real: Callable[..., Any], database: str, *arguments: Any, **options: Any) -> Any:
        connection = real(database, *arguments, **options)
        name = Path(database.partition("?")[0]).name
        connection.set_trace_callback(self._sqlite_of(name))
        return connection

    def _sqlite_of(self, database: str) -> Callable[[str], None]:
        """Hears the statements of one connection; the end of a transaction that only read is no effect."""
        wrote = False

        def heard(statement: str) -> None:
            nonlocal wrote
            found = _STATEMENT.match(statement)
            if found and (wrote or found[1] != "COMMIT"):
                wrote = found[1] != "COMMIT"
                self._pass(f"sqlite {database} {found[1]}{_announced(statement)}")

        return heard

    def _fsync(self, real: Callable[[int], None], descriptor: int) -> None:
        path = _opened(descriptor)
        if str(path) in self._failed:
            self.unsynced.append(path.name)
        place = self._place((descriptor,), 0, None)
        if place is not None:
            try:
                self._pass(f"os.fsync {place}")
            except OSError:
                self._failed.add(str(path))
                raise
        real(descriptor)

    def _collect_all(self, real: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        self._pass("polars.collect_all")
        return real(*arguments, **options)

    def _connect(self, real: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        return _DuckDB(real(*arguments, **options), self._pass)

    def _pass(self, effect: str) -> None:
        name = f"{self.stage}: {effect}"
        self._seen[name] += 1
        point = Point(name, self._seen[name])
        self.points.append(point)
        if point == self.armed:
            self._act(effect)

    def _act(self, effect: str) -> None:
        if self.action is Action.KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.action is Action.FULL:
            refuse_writes()
        else:
            number = errno.ENOSPC if effect.partition(" ")[0] in _NEEDS_SPACE else errno.EIO
            raise OSError(number, os.strerror(number))


class _DuckDB:
    """A DuckDB connection whose writing statements are points."""

    def __init__(self, connection: Any, passing: Callable[[str], None]) -> None:
        self._connection = connection
        self._passing = passing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: str, *arguments: Any) -> Any:
        found = _STATEMENT.match(statement)
        if found and "READ_ONLY" not in statement:
            self._passing(f"duckdb {found[1].partition(' ')[0]}")
        return self._connection.execute(statement, *arguments)

    def commit(self) -> None:
        self._passing("duckdb COMMIT")
        self._connection.commit()


def refuse_writes() -> None:
    """From here on every write to a file by this process or its children fails with EFBIG."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def _announced(statement: str) -> str:
    """Action and phase of the audit entry that a statement inserts."""
    body = _ENTRY.match(statement)
    if body is None:
        return ""
    entry = json.loads(bytes.fromhex(body[1]))
    return f" {entry['action']} {entry['phase']}"


def _wrap(module: Any, name: str, around: Callable[..., Any]) -> None:
    real = getattr(module, name)
    setattr(module, name, lambda *arguments, **options: around(real, *arguments, **options))


def _writes(arguments: tuple[Any, ...]) -> bool:
    return not isinstance(arguments[0], int) and bool(arguments[2] & _WRITING)


def _opened(descriptor: int) -> Path:
    try:
        return Path(f"/proc/self/fd/{descriptor}").readlink()
    except OSError:
        return Path()
