"""Dagster's storage in the home: the stock one, with one engine for a database instead of one for a query.

A database that says its revision is whole; Dagster would read all its migrations first, in every process, to
find nothing to do.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic.runtime.migration import MigrationContext
from dagster._core.storage.event_log.sqlite.sqlite_event_log import (
    INDEX_SHARD_NAME,
    SqliteEventLogStorage,
    SqliteEventLogStorageWatchdog,
)
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage
from dagster._core.storage.schedules.sqlite.sqlite_schedule_storage import SqliteScheduleStorage
from dagster._core.storage.sqlite import create_db_conn_string
from dagster._core.storage.sqlite_storage import (
    DagsterSqliteStorage,
    _event_logs_directory,
    _runs_directory,
    _schedule_directory,
)
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, inspect
from watchdog.events import FileSystemEvent
from watchdog.observers import Observer

from secure_platform.orchestration.engines import engine_of


def _whole(engine: Engine) -> bool:
    if not Path(str(engine.url.database)).exists():
        return False
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision() is not None


class _RunWatch(SqliteEventLogStorageWatchdog):
    """Tells who looks at a run of its events; they are in the journal long before they are in the file."""

    @property
    def patterns(self) -> list[str]:
        return [self._log_path, f"{self._log_path}-wal"]

    def on_modified(self, event: FileSystemEvent) -> None:  # noqa: ARG002 - watchdog's signature
        self._process_log()


class EventLogStorage(SqliteEventLogStorage):
    """One file for every run, and one over all."""

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            engine = engine_of(self.conn_string_for_shard(shard))
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.begin() as connection:
                yield connection

    def _initdb(self, engine: Engine, for_index_shard: bool = False) -> None:  # noqa: FBT001, FBT002 - Dagster's signature
        if not _whole(engine):
            super()._initdb(engine, for_index_shard)

    def watch(self, run_id: str, cursor: str | None, callback: Callable[..., Any]) -> None:
        """As Dagster, which looks at the file alone."""
        observer: Any = self._obs
        if observer is None:
            self._obs = observer = Observer()  # type: ignore[assignment] # Dagster annotates it as None
            observer.start()
        watch = _RunWatch(self, run_id, callback, cursor)
        self._watchers[run_id][callback] = (watch, observer.schedule(watch, self._base_dir, recursive=True))

    def has_table(self, table_name: str) -> bool:
        """Asked for every check that is stored."""
        with engine_of(self.conn_string_for_shard(INDEX_SHARD_NAME)).connect() as connection:
            return inspect(connection).has_table(table_name)


class RunStorage(SqliteRunStorage):
    """Runs, their tags, and what daemons said last."""

    @classmethod
    def from_local(cls, base_dir: str, inst_data: ConfigurableClassData | None = None) -> "RunStorage":
        """As Dagster opens it."""
        address = create_db_conn_string(base_dir, "runs")
        if not _whole(engine_of(address)):
            super().from_local(base_dir, inst_data)
        return cls(address, inst_data)

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A transaction."""
        with engine_of(self._conn_string).begin() as connection:
            yield connection


class ScheduleStorage(SqliteScheduleStorage):
    """Schedules, sensors and their ticks."""

    @classmethod
    def from_local(cls, base_dir: str, inst_data: ConfigurableClassData | None = None) -> "ScheduleStorage":
        """As Dagster opens it."""
        address = create_db_conn_string(base_dir, "schedules")
        if not _whole(engine_of(address)):
            super().from_local(base_dir, inst_data)
        return cls(address, inst_data)

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A transaction."""
        with engine_of(self._conn_string).begin() as connection:
            yield connection


class HomeStorage(DagsterSqliteStorage):
    """All three, below one folder."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        # Not its own, which would open the stock parts. Dagster's has no annotation.
        super(DagsterSqliteStorage, self).__init__()  # type: ignore[no-untyped-call]
        self.base_dir = base_dir
        self._inst_data = inst_data
        self._run_storage = RunStorage.from_local(_runs_directory(base_dir))
        self._event_log_storage = EventLogStorage(_event_logs_directory(base_dir))
        self._schedule_storage = ScheduleStorage.from_local(_schedule_directory(base_dir))

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Any) -> "HomeStorage":
        """As Dagster opens it."""
        return cls.from_local(inst_data=inst_data, **config_value)
