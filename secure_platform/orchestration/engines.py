"""One SQLAlchemy engine for each of Dagster's SQLite databases in this process, with one connection kept.

An engine keeps what it compiled. The connection is kept because closing the last one of a database empties
its journal into it, which takes longer than all the rest of a transaction. It serves one process and one
file: a child of `fork` opens its own, and so does who finds another file in the place.
"""

import atexit
import os
from collections import OrderedDict
from pathlib import Path
from threading import Lock
from typing import Any, Final

from dagster._core.storage.sql import create_engine
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from sqlalchemy import Engine, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import QueuePool

MOST_OPEN: Final = 16
"""Databases: the three of the home and the newest runs'."""


class _Engines:
    """One for each database, the least used closed when there are many."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._open: OrderedDict[str, Engine] = OrderedDict()

    def of(self, address: str) -> Engine:
        """The engine of an SQLite database, by its SQLAlchemy address."""
        with self._lock:
            engine = self._open.pop(address, None) or _new_engine(address)
            self._open[address] = engine
            if len(self._open) > MOST_OPEN:
                self._open.popitem(last=False)[1].dispose()
        return engine

    def close(self) -> None:
        """The last to close a database empties its journal into it."""
        for engine in self._open.values():
            engine.dispose()

    def forget(self) -> None:
        """In a child of `fork`: what its parent opened is not its to use, nor to close."""
        self._lock = Lock()
        for engine in self._open.values():
            engine.dispose(close=False)


def _new_engine(address: str) -> Engine:
    engine = create_engine(
        address,
        poolclass=QueuePool,
        pool_size=1,
        # A thread holds a connection while it asks for another.
        max_overflow=-1,
        connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS},
    )
    event.listen(engine, "connect", _opened)
    event.listen(engine, "checkout", _require_same_file)
    return engine


def _opened(connection: Any, record: Any) -> None:
    # With a WAL consistent after any crash; a power cut may take the last events (sqlite.org/pragma.html).
    connection.execute("PRAGMA synchronous=NORMAL")
    path = connection.execute("PRAGMA database_list").fetchone()[2]
    record.info.update(path=path, identity=_identity(path))


def _require_same_file(_connection: Any, record: Any, _proxy: Any) -> None:
    if record.info["identity"] != _identity(record.info["path"]):
        raise DisconnectionError


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = Path(path).stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


_engines: Final = _Engines()
engine_of: Final = _engines.of
atexit.register(_engines.close)
os.register_at_fork(after_in_child=_engines.forget)
