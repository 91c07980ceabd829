"""One database holds the control state; a transaction either wholly happens or does not.

On SQLite a writing transaction takes the write lock when it begins (`BEGIN IMMEDIATE`): a transaction that
reads first and upgrades later fails under concurrency. Journal WAL, `synchronous=FULL`.
"""

import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event

from secure_platform.control.witness import Witness
from secure_platform.files import PRIVATE_FILE, private_directory

BUSY_TIMEOUT_SECONDS: Final = 30
MIGRATIONS: Final = Path(__file__).parent / "migrations"


class ControlDatabase:
    """Transactions on the control database.

    Args:
        url: SQLAlchemy URL, e.g. `sqlite:////home/control.db` or `postgresql+psycopg://…`.
    """

    def __init__(self, url: str) -> None:
        self._engine = _open(url)
        weakref.finalize(self, self._engine.dispose)
        file = self._engine.url.database if self._engine.dialect.name == "sqlite" else None
        self._witness = Witness(Path(file)) if file else None

    @classmethod
    def at(cls, path: Path) -> "ControlDatabase":
        """The embedded database in this file; it is created, private, when it is missing."""
        private_directory(path.parent)
        # Only a missing file is opened here: closing a descriptor of an open one would drop SQLite's locks.
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE))
        return cls(f"sqlite:///{path}")

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may write; it commits on success and rolls back on any exception."""
        with self._engine.connect().execution_options(immediate=True) as connection, connection.begin():
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads one consistent state."""
        with self._engine.connect() as connection, connection.begin():
            yield connection

    def state(self) -> object:
        """What equals another state only if nobody, in any process, committed anything between the two.

        Ask before reading. Only an SQLite file can tell; another database is always in another state.
        """
        return object() if self._witness is None else self._witness.state()

    def scrub(self) -> None:
        """Let go of the former content of changed pages, as far as no reader still needs it.

        SQLite overwrites what is deleted (`secure_delete`); its journal holds it until it is emptied.
        """
        if self._witness is not None:
            with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    @staticmethod
    def newest_revision() -> str:
        """The revision that `migrate` leads to."""
        return max(path.name[:4] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))

    def migrate(self) -> None:
        """Bring the schema to the newest revision. Call it under the home's lock only."""
        from alembic import command  # noqa: PLC0415 - only a fresh home, or one of an older version, needs it
        from alembic.config import Config  # noqa: PLC0415

        with self.write() as connection:
            config = Config()
            config.set_main_option("script_location", str(MIGRATIONS))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def close(self) -> None:
        """Release all connections."""
        self._engine.dispose()
        if self._witness is not None:
            self._witness.close()


def utc_now() -> datetime:
    """The present moment, aware, UTC."""
    return datetime.now(UTC)


def as_utc(moment: datetime) -> datetime:
    """A moment read from the database; SQLite returns it without its zone, which is always UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _open(url: str) -> Engine:
    # An error must not print the parameters of its statement.
    engine = create_engine(
        url,
        hide_parameters=True,
        # A thread holds a connection while it asks for another; with a bound, many would wait for ever.
        max_overflow=-1,
        connect_args={"timeout": BUSY_TIMEOUT_SECONDS} if url.startswith("sqlite") else {},
    )
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    os.register_at_fork(after_in_child=partial(_forget_connections, weakref.ref(engine)))
    return engine


def _forget_connections(engine: "weakref.ref[Engine]") -> None:
    """A database connection belongs to the process that opened it; a child opens its own."""
    alive = engine()
    if alive is not None:
        alive.dispose(close=False)


def _prepare_sqlite(connection: Any, _: Any) -> None:
    # The driver must not begin transactions of its own: `_begin_sqlite` does.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
