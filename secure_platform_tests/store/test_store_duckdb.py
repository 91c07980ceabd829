"""DuckDB sessions: encrypted on the disk, closed to everything but their file, silent about their key."""

import hashlib
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import duckdb as library
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_support import CANARY, flip, in_clear

from secure_platform.errors import DataRefusedError, IntegrityError, SecurePlatformError, UsageError
from secure_platform.store.duckdb import (
    connect,
    connect_for_queries,
    httpfs_extension,
    quote_identifier,
    quote_literal,
    value_free,
)

KEY = bytes.fromhex("c0ffee" * 10 + "0102")
KILLED = """
import sys
from pathlib import Path
from secure_platform.store.duckdb import connect
session = connect(Path(sys.argv[1]), bytes(32), read_only=False, temp_directory=Path(sys.argv[2]))
session.execute("CREATE TABLE t (secret BLOB)")
session.executemany("INSERT INTO t VALUES ($1)", [[bytes.fromhex(sys.argv[3])]] * 50)
print("written", flush=True)
sys.stdin.readline()
"""
UNTOUCHED = """
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from secure_platform.store.duckdb import connect
from secure_platform.store.query import query
path, temporary = Path(sys.argv[1]), Path(sys.argv[2])
with closing(connect(path, bytes(32), read_only=False, temp_directory=temporary)) as session:
    session.execute("CREATE TABLE t AS SELECT range AS n FROM range(10)")
print(query(path, bytes(32), "SELECT sum(n) FROM t", limit=1).item())
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.duckdb"


def session(path: Path, *, key: bytes = KEY, read_only: bool = False) -> library.DuckDBPyConnection:
    return connect(path, key, read_only=read_only, temp_directory=path.parent / "spill")


def create(path: Path) -> None:
    with closing(session(path)) as open_session:
        open_session.execute("CREATE TABLE t (n BIGINT, secret BLOB)")
        open_session.executemany("INSERT INTO t VALUES ($1, $2)", [[n, CANARY] for n in range(20)])


def test_what_is_written_is_read(path: Path) -> None:
    create(path)
    with closing(session(path, read_only=True)) as again:
        assert again.execute("SELECT count(*), sum(n) FROM t").fetchone() == (20, 190)


def test_the_file_is_encrypted_and_closed_without_a_log(path: Path, tmp_path: Path) -> None:
    create(path)
    assert [file.name for file in tmp_path.iterdir()] == ["x.duckdb"]
    assert in_clear(tmp_path) == []
    with closing(library.connect(tmp_path / "plain.duckdb")) as plain:
        plain.execute("CREATE TABLE t (secret BLOB)")
        plain.execute("INSERT INTO t VALUES ($1)", [CANARY])
    assert in_clear(tmp_path) == ["plain.duckdb"]


def test_a_killed_session_leaves_no_plaintext_in_its_log(path: Path, tmp_path: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", KILLED, path, tmp_path / "spill", CANARY.hex()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "written\n"
        writer.kill()
    assert (tmp_path / "x.duckdb.wal").stat().st_size > 0
    assert in_clear(tmp_path) == []
    with closing(session(path, key=bytes(32))) as again:
        assert again.execute("SELECT count(*) FROM t").fetchone() == (50,)


def spilled(path: Path, session: library.DuckDBPyConnection) -> tuple[int, int]:
    """Keep more rows than fit into memory: number of spill files, and of known cells in them."""
    # Digests do not compress, so that they lie in a plain file as they are.
    cell = " || ".join(f"unhex(sha256(n || '{letter}'))" for letter in "abcdefgh")
    session.execute(f"CREATE TEMP TABLE kept AS SELECT {cell} AS s FROM range(300000) AS r(n)")  # noqa: S608 - constants
    contents = [file.read_bytes() for file in path.iterdir()]
    cells = [hashlib.sha256(f"{row}a".encode()).digest() for row in range(0, 300_000, 10_000)]
    return len(contents), sum(cell in content for content in contents for cell in cells)


def test_spilled_data_is_encrypted(path: Path, tmp_path: Path) -> None:
    spill = tmp_path / "spill"
    spill.mkdir()
    with closing(connect(path, KEY, read_only=False, temp_directory=spill, memory_limit="60MB")) as closed:
        files, cells = spilled(spill, closed)
    assert files > 0
    assert cells == 0


def test_the_test_above_would_see_plain_spill_files(tmp_path: Path) -> None:
    spill = tmp_path / "spill"
    spill.mkdir()
    plain: dict[str, str | bool | int | float | list[str]] = {
        "temp_directory": str(spill),
        "memory_limit": "60MB",
    }
    with closing(library.connect(":memory:", config=plain)) as careless:
        files, cells = spilled(spill, careless)
    assert files > 0
    assert cells > 0


def test_nothing_is_written_outside_the_given_directories(tmp_path: Path) -> None:
    for name in ("home", "work", "tmp", "data"):
        (tmp_path / name).mkdir()
    environment = {
        "HOME": str(tmp_path / "home"),
        "TMPDIR": str(tmp_path / "tmp"),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run(
        [sys.executable, "-c", UNTOUCHED, tmp_path / "data" / "x.duckdb", tmp_path / "data" / "spill"],
        env=environment,
        cwd=tmp_path / "work",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "45"
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()] == [
        "data/x.duckdb"
    ]


def test_a_wrong_key_or_none_does_not_open_it(path: Path) -> None:
    create(path)
    for read_only in (True, False):
        with pytest.raises(IntegrityError, match="does not open with its key"):
            session(path, key=bytes(32), read_only=read_only)
    with pytest.raises(library.Error):
        library.connect(path, read_only=True)


def test_a_plain_database_is_not_taken_for_an_encrypted_one(path: Path) -> None:
    library.connect(path).close()
    with pytest.raises(SecurePlatformError):
        session(path, read_only=True)


def test_a_missing_database_is_told(path: Path) -> None:
    with pytest.raises(SecurePlatformError, match=r"x\.duckdb is missing, damaged or in use"):
        session(path, read_only=True)
    assert not path.exists()


def test_no_flipped_byte_changes_what_is_read(path: Path) -> None:
    create(path)
    size = path.stat().st_size
    noticed = 0
    for position in range(0, size, size // 60):
        flip(path, position)
        try:
            with closing(session(path, read_only=True)) as again:
                rows = again.execute("SELECT n, secret FROM t ORDER BY n").fetchall()
            assert rows == [(n, CANARY) for n in range(20)]
        except (SecurePlatformError, library.Error):
            noticed += 1
        flip(path, position)
    assert noticed


def fails_to_open(path: Path) -> list[Callable[[], object]]:
    return [
        lambda: session(path, key=KEY[::-1]),
        lambda: session(path.with_name("none.duckdb"), read_only=True),
        lambda: session(path.with_name("no' such") / "x.duckdb"),
        lambda: session(path.parent, read_only=True),
        lambda: session(Path("/proc/version"), read_only=True),
        lambda: connect_for_queries(path, KEY[::-1], memory_limit="1GB"),
        lambda: connect_for_queries(path, KEY, memory_limit="a lot"),
    ]


def test_no_error_shows_the_key(path: Path) -> None:
    create(path)
    for attempt in fails_to_open(path):
        with pytest.raises((SecurePlatformError, library.Error)) as caught:
            attempt()
        shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
        for key in (KEY, KEY[::-1]):
            digits = key.hex()
            assert not any(digits[start : start + 8] in shown for start in range(len(digits) - 8))


def test_no_table_of_the_session_shows_the_key(path: Path) -> None:
    create(path)
    with closing(session(path)) as open_session:
        for source in ("duckdb_databases()", "duckdb_settings()", "duckdb_secrets()", "duckdb_logs"):
            assert KEY.hex() not in str(open_session.execute(f"FROM {source}").fetchall())
        assert KEY.hex() not in str(open_session.execute("SELECT sql FROM duckdb_tables()").fetchall())


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize(
    "statement",
    [
        "COPY t TO '{there}/out.csv'",
        "COPY t TO '{there}/out.parquet' (FORMAT parquet)",
        "EXPORT DATABASE '{there}/out'",
        "ATTACH '{there}/new.duckdb' AS n",
        "FROM read_csv('{there}/in.csv')",
        "FROM read_text('{there}/in.csv')",
        "FROM read_blob('/etc/passwd')",
        "FROM '{there}/in.csv'",
        "FROM glob('{there}/*')",
        "INSTALL spatial",
        "FROM read_text('https://example.org/x')",
        "SET enable_external_access = true",
        "RESET enable_external_access",
        "SET lock_configuration = false",
        "SET temp_file_encryption = false",
        "SET temp_directory = '{there}'",
        "SET profile_output = '{there}/out'",
        "FROM hidden",
        "CREATE PERSISTENT SECRET s (TYPE http)",
    ],
)
def test_a_session_reaches_nothing_but_its_file(path: Path, statement: str, *, read_only: bool) -> None:
    hidden = pl.DataFrame({"a": [1]})
    create(path)
    there = path.parent / "there"
    there.mkdir()
    (there / "in.csv").write_text("a\n1\n")
    with closing(session(path, read_only=read_only)) as closed, pytest.raises(library.Error):
        closed.execute(statement.format(there=there))
    assert [file.name for file in there.iterdir()] == ["in.csv"]
    assert hidden.height == 1


@pytest.mark.parametrize("name", ["httpfs", "{extension}"])
def test_a_read_only_session_has_no_extension_and_loads_none(path: Path, name: str) -> None:
    create(path)
    with closing(session(path, read_only=True)) as closed, pytest.raises(library.Error):
        closed.load_extension(name.format(extension=httpfs_extension()))


def test_a_read_only_session_changes_nothing(path: Path) -> None:
    create(path)
    before = path.read_bytes()
    with closing(session(path, read_only=True)) as reader:
        for statement in ("DELETE FROM t", "DROP TABLE t", "CREATE TABLE u AS FROM t", "UPDATE t SET n = 0"):
            with pytest.raises(library.Error):
                reader.execute(statement)
    assert path.read_bytes() == before


def test_times_come_back_in_utc(path: Path) -> None:
    frame = pl.DataFrame({"t": pl.Series([datetime(2026, 1, 1, tzinfo=UTC)], dtype=pl.Datetime("us", "UTC"))})
    with closing(session(path)) as writer:
        writer.register("arriving", frame.to_arrow())
        writer.execute("CREATE TABLE t AS FROM arriving")
        assert pl.DataFrame(writer.execute("FROM t").to_arrow_table()).equals(frame)


@pytest.fixture(scope="module")
def memory() -> Iterator[library.DuckDBPyConnection]:
    with closing(library.connect()) as connection:
        yield connection


@settings(deadline=None)
@given(
    name=st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=40)
)
def test_any_name_is_quoted_whole(memory: library.DuckDBPyConnection, name: str) -> None:
    quoted = quote_identifier(name)
    memory.execute(f"CREATE TABLE {quoted} AS SELECT {quote_literal(name)} AS {quoted}")
    columns = "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal"
    assert memory.execute(columns).fetchall() == [(name, name)]
    assert memory.execute(f"FROM {quoted}").fetchone() == (name,)
    memory.execute(f"DROP TABLE {quoted}")


@pytest.mark.parametrize("name", ["", "a\x00b"])
def test_names_that_sql_cannot_carry_are_refused(name: str) -> None:
    with pytest.raises(UsageError):
        quote_identifier(name)
    if name:
        with pytest.raises(UsageError):
            quote_literal(name)


def test_errors_tell_neither_values_nor_sql() -> None:
    with closing(library.connect()) as memory, pytest.raises(DataRefusedError) as caught, value_free("try"):
        memory.execute("SELECT CAST('hidden value' AS INTEGER)")
    assert str(caught.value).startswith("DuckDB failed to try (ConversionException).")
    assert "hidden" not in "".join(traceback.format_exception(caught.value))
