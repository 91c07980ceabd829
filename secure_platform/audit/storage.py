"""The log's SQLite file: WAL, `synchronous=FULL`, and a write lock from the first statement of a transaction.

Safe for several threads, processes and after `fork`: a connection serves one caller at a time and never
another process. Nothing else in a process may open the file: closing any descriptor of it drops SQLite's
locks (sqlite.org/howtocorrupt.html §2.2).
"""

import os
import sqlite3
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from secure_platform.audit.tree import ReadNode
from secure_platform.control.locks import file_lock
from secure_platform.errors import IntegrityError, StorageError
from secure_platform.files import PRIVATE_FILE, private_directory

BUSY_TIMEOUT_SECONDS: Final = 30
# The bytes `"sealed":`, in every entry that tells of rows of the control database.
NAMES_SEALED_ROWS: Final = "instr(body, x'227365616c6564223a')"
# The bytes `"sealed":{"key_`, in every entry that tells of keys.
NAMES_KEYS: Final = "instr(body, x'227365616c6564223a7b226b65795f')"
TABLES: Final = (
    "CREATE TABLE entry(seq INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT",
    """CREATE TABLE node(
        level INTEGER, idx INTEGER, hash BLOB NOT NULL, PRIMARY KEY(level, idx)
    ) STRICT, WITHOUT ROWID""",
    "CREATE TABLE checkpoint(size INTEGER PRIMARY KEY, note TEXT NOT NULL) STRICT",
    f"CREATE INDEX sealed ON entry(seq) WHERE {NAMES_SEALED_ROWS}",
    f"CREATE INDEX sealed_keys ON entry(seq) WHERE {NAMES_KEYS}",
)


class Storage:
    """Transactions on the log's file.

    Args:
        path: The SQLite file; it is created, private, when it is missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self._name = str(self._path)
        self._pools: dict[int, list[sqlite3.Connection]] = {}
        weakref.finalize(self, _close_own, self._pools)
        private_directory(self._path.parent)
        self._create_file()
        self._identity = self._stat()
        self._create_schema()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction that holds the write lock; durable after the block, undone on any exception."""
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A transaction that sees one state of the log."""
        with self._transaction("BEGIN") as connection:
            yield connection

    def size(self) -> int:
        """Number of entries, asked with every decision: a statement alone is a transaction."""
        try:
            connection, process = self._take()
            try:
                return log_size(connection)
            finally:
                self._give_back(connection, process)
        except sqlite3.Error as error:
            raise self._unusable(error) from None

    def close(self) -> None:
        """Close this process's idle connections."""
        _close_own(self._pools)

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        try:
            with self._borrow() as connection:
                try:
                    connection.execute(begin)
                    yield connection
                    connection.execute("COMMIT")
                finally:
                    # After a full disk SQLite has rolled back itself; another ROLLBACK would hide that error.
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise self._unusable(error) from None

    def _unusable(self, error: sqlite3.Error) -> IntegrityError | StorageError:
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        return StorageError.behind(f"The audit log {self._path}", error) or IntegrityError(
            f"The audit log {self._path} cannot be used: {name}",
            "Nothing is done without its audit entry: free the disk or repair the file, then try again.",
        )

    @contextmanager
    def _borrow(self) -> Iterator[sqlite3.Connection]:
        connection, process = self._take()
        try:
            yield connection
        finally:
            self._give_back(connection, process)

    def _take(self) -> tuple[sqlite3.Connection, int]:
        """A connection of this process, and this process."""
        if self._stat() != self._identity:
            raise IntegrityError(
                f"The audit log {self._path} was replaced while it was open", "Put the original file back."
            )
        process = os.getpid()
        # Connections of the parent stay referenced under its process id: closing them here would harm it.
        idle = self._pools.setdefault(process, [])
        try:
            return idle.pop(), process
        except IndexError:
            return self._connect(), process

    def _give_back(self, connection: sqlite3.Connection, process: int) -> None:
        if os.getpid() == process:
            self._pools[process].append(connection)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self._path.as_uri()}?mode=rw",
            uri=True,
            timeout=BUSY_TIMEOUT_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            connection.execute("PRAGMA synchronous=FULL")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _stat(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self._name)  # noqa: PTH116 - a Path takes several times as long
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino

    def _create_file(self) -> None:
        try:
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE))
        except FileExistsError:
            return

    def _create_schema(self) -> None:
        if self._has_schema():
            return
        with file_lock(self._path.with_name(f"{self._path.name}.lock"), holder="the audit log"):
            if self._has_schema():
                return
            with self._borrow() as connection:
                connection.execute("PRAGMA journal_mode=WAL")
            with self.write() as connection:
                for statement in TABLES:
                    connection.execute(statement)

    def _has_schema(self) -> bool:
        with self.read() as connection:
            found = tuple(
                row[0] for row in connection.execute("SELECT sql FROM sqlite_schema ORDER BY rowid")
            )
        if found not in ((), TABLES):
            raise IntegrityError(
                f"{self._path} is not an audit log", "Restore the file, or name another one."
            )
        return bool(found)


def log_size(connection: sqlite3.Connection) -> int:
    """Number of entries."""
    return int(connection.execute("SELECT coalesce(max(seq) + 1, 0) FROM entry").fetchone()[0])


def node_reader(connection: sqlite3.Connection) -> ReadNode:
    """Read stored nodes in the connection's transaction."""

    def read(level: int, index: int) -> bytes:
        query = "SELECT hash FROM node WHERE level = ? AND idx = ?"
        row = connection.execute(query, (level, index)).fetchone()
        if row is None:
            raise IntegrityError(
                f"The audit log lacks the hash of node {level}/{index}", "Restore the log from a copy."
            )
        return bytes(row[0])

    return read


def _close_own(pools: dict[int, list[sqlite3.Connection]]) -> None:
    idle = pools.get(os.getpid(), [])
    while idle:
        idle.pop().close()
