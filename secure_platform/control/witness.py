"""Whether anybody has committed to an SQLite database since a given moment.

A connection that never writes asks `PRAGMA data_version`, which changes with every commit by any other
connection of any process (sqlite.org/pragma.html#pragma_data_version); SQLite decides in the same way whether
its cached pages are valid. Asking takes microseconds, reading a row a hundred times as long. If it cannot be
determined, it counts as a change.
"""

import os
import sqlite3
import weakref
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Witness:
    """Watches one SQLite file; usable from several threads and after `fork`.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self._name = str(self._path)
        self._watching: dict[int, _Watch] = {}
        weakref.finalize(self, _close_own, self._watching)

    def state(self) -> object:
        """What equals another state only if nothing was committed between the two.

        Ask before reading: what is read after it is at least as new.
        """
        process = os.getpid()
        try:
            # The parent's connection stays referenced under its process id: closing it here would harm it.
            watch = self._watching.get(process) or self._watch(process)
            return watch.state(self._name)
        except (OSError, sqlite3.Error):
            return object()

    def close(self) -> None:
        """Close this process's connection; the next question opens another."""
        _close_own(self._watching)

    def _watch(self, process: int) -> "_Watch":
        opened = _Watch(self._path)
        kept = self._watching.setdefault(process, opened)
        if kept is not opened:
            opened.close()
        return kept


class Kept(Generic[Key, Value]):
    """What was read from a database, for as long as nobody has committed anything to it.

    Args:
        state: Of the database, as `Witness.state` tells it.
    """

    def __init__(self, state: Callable[[], object]) -> None:
        self._state = state
        self._kept: tuple[object, dict[Key, Value]] = object(), {}

    def get(self, key: Key, read: Callable[[], Value]) -> Value:
        """What `read` returned in the present state of the database, or returns now; None is not kept."""
        state = self._state()
        since, values = self._kept
        if since != state:
            values = {}
            self._kept = state, values
        value = values.get(key)
        if value is None:
            value = read()
            if value is not None:
                values[key] = value
        return value


class _Watch:
    """A connection that watches, and which file it watches."""

    def __init__(self, path: Path) -> None:
        self._lock = Lock()
        # In this order: a file that is replaced in between is not taken for the one that is watched.
        self._file = _file(str(path))
        self._connection = sqlite3.connect(
            f"{path.as_uri()}?mode=rw", uri=True, timeout=0, isolation_level=None, check_same_thread=False
        )

    def state(self, path: str) -> object:
        """Versions of two connections cannot be compared, so the watch itself is part of it."""
        if _file(path) != self._file:
            return object()
        with self._lock:
            (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        return self, version

    def close(self) -> None:
        with self._lock:
            self._connection.close()


def _file(path: str) -> tuple[int, int]:
    status = os.stat(path)  # noqa: PTH116 - asked with every request: a Path takes several times as long
    return status.st_dev, status.st_ino


def _close_own(watching: dict[int, _Watch]) -> None:
    watch = watching.pop(os.getpid(), None)
    if watch is not None:
        watch.close()
