"""A witness misses no commit of anybody, and what is kept is what is there."""

import multiprocessing
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from secure_platform.control.database import ControlDatabase
from secure_platform.control.witness import Kept, Witness

WRITE = (
    "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('UPDATE t SET n = n + 1'); c.commit()"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "some.db"
    create(path)
    return path


@pytest.fixture
def database(path: Path) -> Iterator[ControlDatabase]:
    database = ControlDatabase.at(path)
    # The first connection turns the file to its journal mode.
    count(database)
    yield database
    database.close()


def create(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t(n INTEGER)")
    connection.execute("INSERT INTO t VALUES (0)")
    connection.commit()
    connection.close()


def count(database: ControlDatabase) -> int:
    with database.read() as connection:
        return int(connection.exec_driver_sql("SELECT n FROM t").scalar_one())


def increment(database: ControlDatabase) -> None:
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE t SET n = n + 1")


def increment_elsewhere(path: Path) -> None:
    subprocess.run([sys.executable, "-c", WRITE, str(path)], check=True)


def test_reading_and_undoing_change_nothing(database: ControlDatabase) -> None:
    state = database.state()
    assert count(database) == 0
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE t SET n = 5")
        connection.rollback()
    assert database.state() == state


def test_every_commit_of_this_process_is_another_state(database: ControlDatabase) -> None:
    states = [database.state()]
    for _ in range(3):
        increment(database)
        states.append(database.state())
    assert all(one != other for one in states for other in states if one is not other)


def test_a_commit_of_another_process_is_another_state(database: ControlDatabase, path: Path) -> None:
    state = database.state()
    increment_elsewhere(path)
    assert database.state() != state


def test_rows_that_are_as_they_were_again_are_another_state(database: ControlDatabase) -> None:
    state = database.state()
    for statement in ("UPDATE t SET n = 1", "UPDATE t SET n = 0"):
        with database.write() as connection:
            connection.exec_driver_sql(statement)
    assert database.state() != state


def test_a_checkpoint_into_the_file_hides_no_commit(database: ControlDatabase, path: Path) -> None:
    state = database.state()
    increment(database)
    other = sqlite3.connect(path)
    other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    other.close()
    assert database.state() != state


def test_a_file_in_place_of_the_watched_one_is_never_in_a_known_state(
    database: ControlDatabase, path: Path
) -> None:
    states = [database.state()]
    create(path.with_name("other.db"))
    path.with_name("other.db").replace(path)
    states += [database.state(), database.state()]
    path.unlink()
    states += [database.state(), database.state()]
    assert all(one != other for one in states for other in states if one is not other)


def test_what_cannot_be_watched_is_in_another_state_always(tmp_path: Path) -> None:
    missing = Witness(tmp_path / "missing.db")
    assert missing.state() != missing.state()
    (tmp_path / "noise.db").write_bytes(os.urandom(4096))
    noise = Witness(tmp_path / "noise.db")
    assert noise.state() != noise.state()
    noise.close()


def test_states_of_two_witnesses_are_never_the_same(path: Path) -> None:
    one, other = Witness(path), Witness(path)
    assert one.state() != other.state()
    before = one.state()
    one.close()
    assert one.state() != before
    one.close()
    other.close()


def test_threads_share_a_witness(database: ControlDatabase) -> None:
    with ThreadPoolExecutor(8) as pool:
        states = list(pool.map(lambda _: database.state(), range(400)))
    assert all(state == states[0] for state in states)
    increment(database)
    assert database.state() != states[0]


def compare(database: ControlDatabase, state: object, queue: "multiprocessing.Queue[bool]") -> None:
    own = database.state()
    queue.put(own == database.state() and own != state)


def test_a_child_watches_for_itself(database: ControlDatabase, path: Path) -> None:
    """The parent's connection is not its; and the parent goes on with its own."""
    context = multiprocessing.get_context("fork")
    queue: multiprocessing.Queue[bool] = context.Queue()
    state = database.state()
    child = context.Process(target=compare, args=(database, state, queue))
    child.start()
    assert queue.get(timeout=30)
    child.join()
    assert database.state() == state
    increment_elsewhere(path)
    assert database.state() != state


def test_what_is_kept_is_read_again_after_a_commit_of_anybody(database: ControlDatabase, path: Path) -> None:
    kept, reads = Kept[str, int](database.state), 0

    def read() -> int:
        nonlocal reads
        reads += 1
        return 10 + count(database)

    assert [kept.get("n", read) for _ in range(3)] == [10] * 3
    increment(database)
    assert [kept.get("n", read) for _ in range(3)] == [11] * 3
    increment_elsewhere(path)
    assert [kept.get("n", read) for _ in range(3)] == [12] * 3
    assert reads == 3


def test_what_is_committed_while_it_is_read_is_read_the_next_time(database: ControlDatabase) -> None:
    kept = Kept[str, int](database.state)

    def read_old() -> int:
        value = 10 + count(database)
        increment(database)
        return value

    assert kept.get("n", read_old) == 10
    assert kept.get("n", lambda: 10 + count(database)) == 11


def test_nothing_and_failures_are_not_kept() -> None:
    kept = Kept[str, int | None](lambda: "always the same")
    assert kept.get("n", lambda: None) is None
    assert not kept._kept[1], "who asks for what is not there fills no memory"
    with pytest.raises(ZeroDivisionError):
        kept.get("n", lambda: 1 // 0)
    assert kept.get("n", lambda: 1) == 1
    assert kept.get("n", lambda: 2) == 1
