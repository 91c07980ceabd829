"""Dagster's storage in a home: what ours writes the stock one reads; a database has one engine."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from queue import Queue

import dagster as dg
import pytest
from dagster._core.storage import sqlite_storage
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from secure_platform.orchestration.engines import MOST_OPEN, engine_of
from secure_platform.orchestration.home import dagster_home, open_instance
from secure_platform.orchestration.storage import EventLogStorage, HomeStorage, RunStorage
from secure_platform.settings import Settings, load_settings


@dg.asset
def made() -> int:
    return 1


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("SECURE_PLATFORM_HOME", str(tmp_path / "home"))
    return load_settings()


def test_the_stock_storage_reads_what_ours_wrote_and_ours_what_that_wrote(settings: Settings) -> None:
    base = str(dagster_home(settings))
    with open_instance(settings) as instance:
        assert isinstance(instance.event_log_storage, EventLogStorage)
        first = dg.materialize([made], instance=instance).run_id
    parts = {"run_storage", "event_log_storage", "schedule_storage"}
    stock, ours = DagsterSqliteStorage.from_local(base), HomeStorage.from_local(base)
    assert {type(getattr(ours, part)).__mro__[1] for part in parts} == {
        type(getattr(stock, part)) for part in parts
    }
    with dg.DagsterInstance.from_ref(dg.DagsterInstance.local_temp(base).get_ref()) as instance:
        second = dg.materialize([made], instance=instance).run_id
    for storage in (stock, ours):
        assert {run.run_id for run in storage.run_storage.get_runs()} == {first, second}
        assert [
            record.run_id
            for record in storage.event_log_storage.fetch_materializations(
                dg.AssetKey("made"), limit=9
            ).records
        ] == [second, first]


def test_a_database_has_one_engine_and_one_kept_connection(settings: Settings) -> None:
    with open_instance(settings) as instance:
        dg.materialize([made], instance=instance)
        engine = engine_of(address(instance))
        opened: list[object] = []
        event.listen(engine, "connect", lambda connection, _: opened.append(connection))
        dg.materialize([made], instance=instance)
        assert engine is engine_of(address(instance))
    assert len(opened) <= 1, "Only where Dagster asks while it asks."
    assert engine.pool.status().startswith("Pool size: 1  Connections in pool: 1 ")


def address(instance: dg.DagsterInstance) -> str:
    storage = instance.event_log_storage
    assert isinstance(storage, EventLogStorage)
    return storage.conn_string_for_shard(INDEX_SHARD_NAME)


def counted(database: Path) -> int:
    with engine_of(f"sqlite:///{database}").connect() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM t").scalar_one())


def filled(database: Path, rows: int) -> None:
    with engine_of(f"sqlite:///{database}").begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t(n)")
        for number in range(rows):
            connection.exec_driver_sql("INSERT INTO t VALUES (?)", (number,))


def test_another_file_in_the_place_is_read_and_written_instead(tmp_path: Path) -> None:
    first, second = tmp_path / "a.db", tmp_path / "b.db"
    filled(first, 1)
    filled(second, 2)
    assert (counted(first), counted(second)) == (1, 2)
    with closing(sqlite3.connect(second)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    second.replace(first)
    assert counted(first) == 2
    first.unlink()
    with pytest.raises(OperationalError, match="no such table"):
        counted(first)


def test_a_child_of_fork_opens_a_connection_of_its_own(tmp_path: Path) -> None:
    database = tmp_path / "a.db"
    filled(database, 1)
    engine = engine_of(f"sqlite:///{database}")
    kept = engine.pool
    child = os.fork()
    if child == 0:
        os._exit(0 if engine.pool is not kept and counted(database) == 1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert engine.pool is kept
    assert counted(database) == 1


def test_of_many_databases_only_the_newest_stay_open(tmp_path: Path) -> None:
    def held() -> int:
        links = [link.resolve() for link in Path("/proc/self/fd").iterdir()]
        return sum(link.is_relative_to(tmp_path) for link in links)

    for number in range(2 * MOST_OPEN):
        filled(tmp_path / f"{number}.db", 1)
    assert held() == MOST_OPEN
    assert counted(tmp_path / "0.db") == 1


def test_who_looks_at_a_run_hears_of_its_events_while_they_are_in_the_journal(settings: Settings) -> None:
    heard: Queue[str] = Queue()
    with open_instance(settings) as instance:
        run = dg.materialize([made], instance=instance).dagster_run
        instance.watch_event_logs(run.run_id, None, lambda entry, _: heard.put(str(entry.message)))
        instance.report_engine_event("looked at", run)
        while "looked at" not in heard.get(timeout=60):
            continue


def fails_half_way(storage: RunStorage) -> None:
    with storage.connect() as connection:
        connection.exec_driver_sql("INSERT INTO kvs (key, value) VALUES ('k', 'v')")
        raise KeyError


def test_what_fails_half_way_is_not_written(settings: Settings) -> None:
    with open_instance(settings) as instance:
        storage = instance.run_storage
        assert isinstance(storage, RunStorage)
        with pytest.raises(KeyError):
            fails_half_way(storage)
        with storage.connect() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM kvs WHERE key = 'k'").scalar() == 0


def test_the_private_names_that_ours_overrides_are_as_we_know_them() -> None:
    assert {"_run_storage", "_event_log_storage", "_schedule_storage"} <= set(
        DagsterSqliteStorage.__init__.__code__.co_names
    )
    names = set(sqlite_event_log.SqliteEventLogStorage._connect.__wrapped__.__code__.co_names)  # type: ignore[attr-defined]
    assert names >= {"_db_lock", "_initialized_dbs", "_initdb", "conn_string_for_shard"}
    names = set(sqlite_event_log.SqliteEventLogStorage.watch.__code__.co_names)
    assert names == {
        "_obs",
        "Observer",
        "start",
        "SqliteEventLogStorageWatchdog",
        "_watchers",
        "schedule",
        "_base_dir",
    }
    assert "_process_log" in sqlite_event_log.SqliteEventLogStorageWatchdog.on_modified.__code__.co_names
    assert sqlite_storage._runs_directory("x") == "x/history/"
