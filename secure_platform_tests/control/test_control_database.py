"""The schema is the one that is declared, and a transaction loses nothing under concurrency."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from control_support import increment
from sqlalchemy import Connection, insert, inspect, select, text, update
from sqlalchemy.exc import IntegrityError as ConstraintError
from sqlalchemy.schema import CreateTable

from secure_platform.control.database import ControlDatabase, as_utc, utc_now
from secure_platform.control.tables import approval, metadata, principal, profile, release, token

PROGRAM = Path(__file__).with_name("control_support.py")
NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.db"


@pytest.fixture
def database(path: Path) -> ControlDatabase:
    database = ControlDatabase.at(path)
    database.migrate()
    return database


def add_release(connection: Connection, **changes: Any) -> None:
    values = {
        "digest": "sha256:0",
        "product": "healthcare",
        "number": 0,
        "environment": "production",
        "state": "pending",
        "classification": "internal",
        "requested_by": "alice",
        "run_id": "run",
        "input_key": "key",
        "approver_groups": [],
        "second_approver_groups": [],
        "created_at": NOW,
        "expires_at": NOW,
    }
    connection.execute(insert(release).values(**{**values, **changes}))


def normal(ddl: str) -> list[str]:
    """The parts of a CREATE TABLE statement, whatever their order and layout."""
    body = ddl[ddl.index("(") + 1 : ddl.rindex(")")].replace(", ", ",\n")
    return sorted(filter(None, (part.strip(" ,\t") for part in body.split("\n"))))


def test_the_migrations_create_what_is_declared(database: ControlDatabase) -> None:
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        assert set(inspect(connection).get_table_names()) == {*metadata.tables, "alembic_version"}


@pytest.mark.parametrize("table", metadata.tables.values(), ids=lambda table: str(table.name))
def test_constraints_and_nullability_are_those_declared(database: ControlDatabase, table: Any) -> None:
    with database.read() as connection:
        query = text("SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = :name")
        stored: str = connection.execute(query, {"name": table.name}).scalar_one()
        declared = str(CreateTable(table).compile(dialect=connection.dialect))
    assert normal(stored) == normal(declared)


def test_migrating_again_changes_nothing(database: ControlDatabase) -> None:
    with database.write() as connection:
        add_release(connection)
    database.migrate()
    with database.read() as connection:
        assert connection.execute(select(release.c.digest)).scalars().all() == ["sha256:0"]


def test_the_journal_is_wal_and_every_commit_is_durable(database: ControlDatabase) -> None:
    with database.read() as connection:
        for pragma, value in (("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)):
            assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar_one() == value


def test_what_was_removed_is_not_left_in_the_file(database: ControlDatabase, path: Path) -> None:
    with database.write() as connection:
        add_release(connection, requested_by="CANARY-OF-A-NAME")
    with database.write() as connection:
        connection.execute(release.delete())
    with database.read() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    assert b"CANARY" not in path.read_bytes()


def test_an_exception_undoes_the_whole_transaction(database: ControlDatabase) -> None:
    def fail() -> None:
        with database.write() as connection:
            add_release(connection)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with database.read() as connection:
        assert connection.execute(select(release)).all() == []


@pytest.mark.parametrize(
    ("table", "values"),
    [
        (principal, {"name": "a", "kind": "robot", "roles": [], "active": True, "created_at": NOW}),
        (principal, {"name": "a", "kind": "user", "roles": [], "active": None, "created_at": NOW}),
        (
            token,
            {
                "token_id": "t",
                "principal": "nobody",
                "secret_hash": b"",
                "created_at": NOW,
                "expires_at": NOW,
            },
        ),
        (
            approval,
            {
                "release": "sha256:f",
                "principal": "a",
                "decision": "approve",
                "reason": b"",
                "bundle": "",
                "created_at": NOW,
            },
        ),
    ],
)
def test_rows_that_break_a_rule_are_refused(
    database: ControlDatabase, table: Any, values: dict[str, Any]
) -> None:
    with pytest.raises(ConstraintError), database.write() as connection:
        connection.execute(insert(table).values(**values))


def test_one_vote_per_principal_and_one_number_per_product(database: ControlDatabase) -> None:
    vote = {
        "release": "sha256:0",
        "principal": "a",
        "decision": "approve",
        "reason": b"",
        "bundle": "",
        "created_at": NOW,
    }
    with database.write() as connection:
        add_release(connection)
        connection.execute(insert(approval).values(**vote))
    with pytest.raises(ConstraintError), database.write() as connection:
        connection.execute(insert(approval).values(**vote))
    with pytest.raises(ConstraintError), database.write() as connection:
        add_release(connection, digest="sha256:1")


def test_one_record_of_the_metrics_history_per_snapshot(database: ControlDatabase) -> None:
    point = {
        "product": "p",
        "dataset": "d",
        "zone": "raw",
        "numbers": {"rows": 1.0},
        "sketches": {},
        "columns": {},
        "findings": {},
        "verdicts": {},
        "snapshot_id": "s",
        "recorded_at": NOW,
        "sequence": 1,
        "content": "c",
        "seal": "s",
    }
    with database.write() as connection:
        connection.execute(insert(profile).values(**point))
    with pytest.raises(ConstraintError), database.write() as connection:
        connection.execute(insert(profile).values(**point))


def test_four_processes_that_read_and_then_write_lose_nothing(database: ControlDatabase, path: Path) -> None:
    with database.write() as connection:
        add_release(connection)
    command = [sys.executable, str(PROGRAM), "count", str(path), "40"]
    writers = [subprocess.Popen(command) for _ in range(4)]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0, 0, 0]
    with database.read() as connection:
        assert connection.execute(select(release.c.number)).scalar_one() == 160


def test_threads_of_one_process_lose_nothing(database: ControlDatabase, path: Path) -> None:
    with database.write() as connection:
        add_release(connection)
    threads = [threading.Thread(target=increment, args=(path, 25)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as connection:
        assert connection.execute(select(release.c.number)).scalar_one() == 75


def test_a_reader_sees_one_state_while_others_write(database: ControlDatabase) -> None:
    with database.write() as connection:
        add_release(connection)
    with database.read() as reader:
        before: int = reader.execute(select(release.c.number)).scalar_one()
        with database.write() as writer:
            writer.execute(update(release).values(number=9))
        assert reader.execute(select(release.c.number)).scalar_one() == before == 0
    with database.read() as reader:
        assert reader.execute(select(release.c.number)).scalar_one() == 9


def test_a_forked_child_writes_through_the_same_handle(database: ControlDatabase) -> None:
    with database.write() as connection:
        add_release(connection)
        parents = connection.connection.dbapi_connection
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with database.write() as connection:
                assert connection.connection.dbapi_connection is not parents
                connection.execute(update(release).values(number=release.c.number + 1))
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with database.write() as connection:
        connection.execute(update(release).values(number=release.c.number + 1))
    with database.read() as connection:
        assert connection.execute(select(release.c.number)).scalar_one() == 2


def test_moments_come_back_as_utc(database: ControlDatabase) -> None:
    with database.write() as connection:
        add_release(connection)
    with database.read() as connection:
        assert as_utc(connection.execute(select(release.c.created_at)).scalar_one()) == NOW
    assert as_utc(NOW.astimezone(timezone(timedelta(hours=5)))) == NOW
    assert utc_now().tzinfo is UTC


def test_the_file_is_private(database: ControlDatabase, path: Path) -> None:
    with database.write() as connection:
        add_release(connection)
    assert {oct(file.stat().st_mode & 0o777) for file in path.parent.iterdir()} == {"0o600"}


def test_many_threads_that_each_read_within_a_reading_do_not_wait_for_each_other(tmp_path: Path) -> None:
    database = ControlDatabase.at(tmp_path / "control.db")
    threads = 40
    together = Barrier(threads)

    def nested(_: int) -> int:
        with database.read() as outer:
            outer.execute(text("SELECT 1"))
            together.wait(60)
            with database.read() as inner:
                return int(inner.execute(text("SELECT 1")).scalar_one())

    with ThreadPoolExecutor(threads) as pool:
        assert list(pool.map(nested, range(threads))) == [1] * threads
    database.close()
