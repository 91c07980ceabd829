"""Dagster's storage in a home: what ours writes the stock one reads; a database has one engine."""

from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage import sqlite_storage
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage

from secure_platform.orchestration.home import dagster_home, open_instance
from secure_platform.orchestration.storage import EventLogStorage, HomeStorage, RunStorage, _engine
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


def test_an_engine_is_made_once_for_a_database_and_keeps_no_connection(settings: Settings) -> None:
    with open_instance(settings) as instance:
        dg.materialize([made], instance=instance)
        before = _engine.cache_info()
        dg.materialize([made], instance=instance)
    after = _engine.cache_info()
    assert after.misses - before.misses == 1, "The file of the new run."
    assert after.hits - before.hits > 30
    assert _engine(f"sqlite:///{settings.home}/x").pool.status() == "NullPool"


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
    assert sqlite_storage._runs_directory("x") == "x/history/"
