"""SQL that a user wrote: what it may do, and every way out that it tries."""

import resource
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import duckdb
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from secure_platform.errors import SecurePlatformError, UsageError
from secure_platform.store.duckdb import connect
from secure_platform.store.query import MAX_SQL_BYTES, PROCESS_MEMORY, query, require_select

KEY = bytes(range(32))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("query")
    with closing(connect(folder / "x.duckdb", KEY, read_only=False, temp_directory=folder)) as session:
        session.execute("CREATE SCHEMA healthcare")
        session.execute("CREATE TABLE t AS SELECT range AS n, 'value' || range AS s FROM range(1000)")
        session.execute("CREATE TABLE healthcare.m AS SELECT 1 AS n")
    return folder / "x.duckdb"


def run(path: Path, sql: str, limit: int = 10) -> pl.DataFrame:
    return query(path, KEY, sql, limit=limit)


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("SELECT * FROM t", 10),
        ("FROM t WHERE n < 3;", 3),
        ("-- a comment\nSELECT count(*) FROM t -- another", 1),
        ("WITH a AS (SELECT n FROM t WHERE n > 996) SELECT * FROM a", 3),
        ("SELECT a.n FROM t AS a JOIN healthcare.m AS b USING (n)", 1),
        ("SELECT 'from read_csv(''/etc/passwd'')'", 1),
        ("VALUES (1), (2)", 2),
        ("SELECT * FROM range(5)", 5),
        ("SELECT unnest([1, 2])", 2),
        ("DESCRIBE t", 2),
        ("SUMMARIZE t", 2),
        ("SHOW TABLES", 1),
        ("SELECT table_name FROM information_schema.tables ORDER BY 1", 2),
        ("SELECT n, sum(n) OVER (ORDER BY n) FROM t QUALIFY row_number() OVER (ORDER BY n) <= 4", 4),
        ("SELECT * FROM t LIMIT 0", 0),
        ("WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 6) SELECT * FROM r", 6),
    ],
)
def test_a_select_is_answered(path: Path, sql: str, rows: int) -> None:
    assert run(path, sql).height == rows


@pytest.mark.parametrize(
    "sql",
    [
        "COPY t TO '/tmp/out.csv'",
        "COPY (SELECT * FROM t) TO '/tmp/out.csv'",
        "ATTACH ':memory:' AS n",
        "DETACH data",
        "USE memory",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET memory_limit = '100GB'",
        "RESET memory_limit",
        "SET VARIABLE a = 1",
        "PRAGMA enable_profiling",
        "PRAGMA database_list",
        "CALL enable_logging()",
        "CALL pragma_version()",
        "CREATE TABLE x AS SELECT 1",
        "CREATE TEMP TABLE x AS SELECT 1",
        "CREATE MACRO m(a) AS a",
        "INSERT INTO t VALUES (1, 'a')",
        "UPDATE t SET n = 1",
        "DELETE FROM t",
        "DROP TABLE t",
        "ALTER TABLE t ADD COLUMN x INTEGER",
        "CHECKPOINT",
        "VACUUM",
        "BEGIN",
        "EXPLAIN SELECT 1",
        "EXPLAIN ANALYZE SELECT 1",
        "PREPARE p AS SELECT 1",
        "EXECUTE p",
        "EXPORT DATABASE '/tmp/out'",
        "IMPORT DATABASE '/tmp/out'",
        "SELECT 1; SELECT 2",
        "SELECT 1; DROP TABLE t",
        "WITH x AS (INSERT INTO t VALUES (1, 'a') RETURNING *) FROM x",
        "",
        "   ",
        "-- nothing",
        "nonsense",
        "SELECT '\x00'",
    ],
)
def test_anything_but_one_select_is_refused(path: Path, sql: str) -> None:
    with pytest.raises(UsageError):
        run(path, sql)


@pytest.mark.parametrize(
    "sql",
    [
        "FROM read_csv('/etc/passwd')",
        "FROM READ_CSV_AUTO('/etc/passwd')",
        "FROM read_parquet('/x')",
        "FROM parquet_scan('/x')",
        "FROM read_json('/x')",
        "FROM read_text('/etc/passwd')",
        "FROM read_blob('/etc/passwd')",
        "FROM glob('/etc/*')",
        "FROM sniff_csv('/etc/passwd')",
        "FROM query('SELECT 1')",
        "FROM query_table('t')",
        "FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))",
        "FROM duckdb_settings()",
        "FROM duckdb_secrets()",
        "FROM duckdb_extensions()",
        "FROM duckdb_databases()",
        "SELECT current_setting('secret_directory')",
        "FROM pragma_storage_info('t')",
        "FROM checkpoint()",
        # These two end or break a closed session of DuckDB 1.5.5.
        "FROM enable_logging(storage = 'file', storage_path = '/tmp/out')",
        "FROM enable_profiling(save_location = '/tmp/out.json')",
        "FROM system.main.enable_logging()",
        "FROM ENABLE_LOGGING()",
        'FROM "enable_logging"()',
        "SELECT (SELECT count(*) FROM enable_logging())",
        "SELECT * FROM t WHERE n IN (FROM enable_logging())",
        "WITH a AS (FROM enable_logging()) SELECT 1 FROM a",
        "DESCRIBE FROM enable_logging()",
        "SUMMARIZE FROM enable_logging()",
        "SELECT * FROM t, LATERAL (FROM enable_logging())",
        "SELECT 1 UNION ALL FROM enable_logging()",
        "SELECT * FROM (VALUES (1)) AS v(a) JOIN enable_logging() ON true",
        "SELECT [x FOR x IN (SELECT list(a) FROM enable_logging() AS e(a))]",
        "SELECT write_log('x')",
        "SELECT json_serialize_plan('FROM enable_logging()')",
    ],
)
def test_a_function_that_leads_out_is_refused_before_it_runs(path: Path, sql: str) -> None:
    with pytest.raises(UsageError, match=r"The function \w+ is not available"):
        run(path, sql)


@pytest.mark.parametrize(
    "sql",
    ["FROM '/etc/passwd'", "FROM '/tmp/x.csv'", "SELECT * FROM 'https://example.org/x.csv'", "FROM frame"],
)
def test_a_table_name_is_neither_a_file_nor_a_variable(path: Path, sql: str) -> None:
    frame = pl.DataFrame({"a": [1]})
    with pytest.raises(UsageError):
        run(path, sql)
    assert frame.height == 1


def test_the_result_is_limited(path: Path) -> None:
    assert run(path, "FROM t ORDER BY n", limit=3)["n"].to_list() == [0, 1, 2]
    assert run(path, "FROM t", limit=5_000).height == 1_000
    assert run(path, "SELECT * FROM range(10000)", limit=3_000).height == 3_000
    assert run(path, "SELECT * FROM range(1000000000000)", limit=4).height == 4
    with pytest.raises(UsageError, match="limit"):
        run(path, "FROM t", limit=0)


def test_a_long_query_is_stopped(path: Path) -> None:
    begun = time.monotonic()
    with pytest.raises(UsageError, match="took too long"):
        query(
            path,
            KEY,
            "SELECT count(*) FROM range(100000000) a, range(100000) b WHERE a.range * b.range = 7",
            limit=1,
            timeout_seconds=0.3,
        )
    assert time.monotonic() - begun < 20


def test_a_large_query_is_stopped_and_spills_nothing(path: Path) -> None:
    with pytest.raises(UsageError, match="more memory"):
        query(
            path,
            KEY,
            "SELECT md5(range::VARCHAR) AS s FROM range(5000000) ORDER BY s",
            limit=1,
            memory_limit="50MB",
        )
    assert sorted(file.name for file in path.parent.iterdir()) == ["x.duckdb"]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT length(repeat('x', 3000000000))",
        "SELECT length(string_agg(repeat('x', 1000000), '')) FROM range(4000)",
    ],
)
def test_one_huge_value_is_stopped_before_it_fills_this_machine(path: Path, sql: str) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    with pytest.raises(UsageError, match="more memory"):
        run(path, sql)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert peak <= max(before, PROCESS_MEMORY >> 10)


def test_a_huge_result_is_refused(path: Path) -> None:
    with pytest.raises(UsageError, match="larger than 64 MiB"):
        run(path, "SELECT repeat('x', 10000000) FROM range(8)")


def test_the_key_is_on_no_command_line_and_in_no_environment(path: Path) -> None:
    sql = "SELECT count(*) FROM range(1000000000) a, range(1000000000) b WHERE a.range * b.range = 7"
    seen: set[bool] = set()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(query, path, KEY, sql, limit=1, timeout_seconds=3.0)
        while not running.done():
            seen |= {KEY.hex().encode() in told for told in told_of_processes("query_process")}
            time.sleep(0.05)
    assert isinstance(running.exception(), UsageError)
    assert seen == {False}


def told_of_processes(name: str) -> list[bytes]:
    """Command line and environment of every process with this name in its command line."""
    told = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            line = (process / "cmdline").read_bytes()
            if name.encode() in line:
                told.append(line + (process / "environ").read_bytes())
    return told


def test_an_error_shows_names_but_no_values(path: Path) -> None:
    with pytest.raises(UsageError, match="Table with name nothing does not exist"):
        run(path, "FROM nothing")
    with pytest.raises(UsageError) as caught:
        run(path, "SELECT CAST(s AS INTEGER) FROM t")
    assert "value" not in str(caught.value).replace("data value", "")


@pytest.mark.parametrize(
    "value",
    [
        "DATE '290000-01-01'",
        "DATE '10000-01-01'",
        "DATE '0001-01-01 (BC)'",
        "'infinity'::TIMESTAMP",
        "TIMESTAMPTZ '20000-01-01'",
        "[DATE '290000-01-01']",
        "{'a': DATE '290000-01-01'}",
        "MAP {[1]: 2}",
        "INTERVAL 1 DAY",
        "[INTERVAL 1 DAY]",
        "{'a': 1}::VARIANT",
        "union_value(a := 1)",
    ],
)
def test_what_python_has_no_value_for_is_refused_and_may_be_cast(
    path: Path, value: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match="cannot be shown"):
        run(path, f"SELECT {value} AS v")
    assert capfd.readouterr().err == ""
    assert run(path, f"SELECT ({value})::VARCHAR AS v").height == 1


@pytest.mark.parametrize("name", ["duckdb_databases", "pg_settings", "PG_Settings", "pragma_database_list"])
@pytest.mark.parametrize("sql", ["FROM {}", "SELECT (SELECT count(*) FROM {})", "SUMMARIZE {}"])
def test_what_tells_paths_of_this_machine_is_refused(name: str, sql: str) -> None:
    with pytest.raises(UsageError, match=rf"The table {name.lower()} is not available"):
        require_select(sql.format(name))
    with pytest.raises(UsageError, match="is not available"):
        require_select(sql.format(f"pg_catalog.{name}"))


def test_a_query_gets_nothing_of_the_environment_but_what_a_program_needs(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_PASSWORD", "sesame-and-more")
    told = []
    sql = "SELECT count(*) FROM range(1000000000) a, range(1000000000) b WHERE a.range * b.range = 7"
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(query, path, KEY, sql, limit=1, timeout_seconds=2.0)
        while not running.done():
            told += told_of_processes("query_process")
            time.sleep(0.05)
    assert told
    assert not any(b"sesame-and-more" in each for each in told)


def test_a_wrong_key_is_told(path: Path) -> None:
    with pytest.raises(SecurePlatformError, match="does not open with its key"):
        query(path, bytes(32), "SELECT 1", limit=1)


def test_a_query_that_is_too_long_is_refused() -> None:
    with pytest.raises(UsageError, match="too long"):
        require_select("SELECT 1 " + " " * MAX_SQL_BYTES)


@pytest.mark.parametrize("depth", [400, 2_000, 8_000])
@pytest.mark.parametrize(
    ("opened", "closed"), [("(SELECT ", ")"), ("[", "]"), ("NOT ", ""), ("- ", ""), ("(FROM ", ")")]
)
def test_a_query_that_is_too_deep_does_no_harm(opened: str, closed: str, depth: int) -> None:
    with suppress(UsageError):
        require_select("SELECT " + opened * depth + "1" + closed * depth)


WORDS = [
    "SELECT",
    "FROM",
    "t",
    "n",
    "1",
    "(",
    ")",
    ",",
    "*",
    "'a'",
    ";",
    "enable_logging()",
    "WITH",
    "x",
    "AS",
    "WHERE",
]


def bound(sql: str) -> None:
    require_select(sql)
    duckdb.execute(f"EXPLAIN {sql}")


@given(st.lists(st.sampled_from(WORDS), max_size=10))
@example(["SELECT", "enable_logging()"])
def test_no_arrangement_of_words_calls_a_refused_function(words: list[str]) -> None:
    """Where a single value belongs there is no such function: DuckDB does not even plan it."""
    if "enable_logging()" in words:
        with pytest.raises((UsageError, duckdb.Error)):
            bound(" ".join(words))
