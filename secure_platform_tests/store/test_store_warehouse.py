"""The build warehouse: tables in, tables out, and nothing that remains."""

import os
import subprocess
import sys
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import duckdb as library
import polars as pl
import pytest
from store_support import in_clear, table

from secure_platform.errors import DataRefusedError, UsageError
from secure_platform.keys.material import DigestKey
from secure_platform.store.digest import content_digest
from secure_platform.store.duckdb import connect, httpfs_extension, quote_literal
from secure_platform.store.temporary import sweep
from secure_platform.store.warehouse import BuildWarehouse

ALL_TYPES = pl.DataFrame(
    {
        "text": ["a", None, ""],
        "Mixed Case": pl.Series([1, None, -1], dtype=pl.Int32),
        "real": [0.5, None, -0.0],
        "flag": [True, None, False],
        "day": [date(2020, 1, 1), None, date(1900, 1, 1)],
        "time": pl.Series([datetime(2020, 1, 1, tzinfo=UTC), None, None], dtype=pl.Datetime("us", "UTC")),
        "money": pl.Series([Decimal("1.50"), None, Decimal(0)], dtype=pl.Decimal(18, 2)),
        "raw": [b"\x00\xff", None, b""],
        'qu"ote': ["x", "y", "z"],
    }
)
ABANDONED = """
import os, signal, sys
import polars as pl
from pathlib import Path
from secure_platform.store.warehouse import BuildWarehouse
with BuildWarehouse(Path(sys.argv[1])) as warehouse:
    warehouse.load("t", pl.LazyFrame({"secret": [bytes.fromhex(sys.argv[2])] * 100}))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def like_dbt(warehouse: BuildWarehouse, *statements: str) -> None:
    """What dbt does with the environment it is given."""
    given = warehouse.environment()
    with closing(library.connect()) as session:
        session.load_extension(str(httpfs_extension()))
        file = quote_literal(given["SECURE_PLATFORM_BUILD_FILE"])
        session.execute(f"ATTACH {file} AS build (ENCRYPTION_KEY $1)", [given["DBT_ENV_SECRET_BUILD_KEY"]])
        for statement in ("CREATE SCHEMA IF NOT EXISTS build.healthcare", *statements):
            session.execute(statement)


def copied(name: str) -> str:
    return f"CREATE TABLE build.healthcare.{name} AS FROM build.protected.{name}"


def test_a_table_goes_in_and_comes_out(tmp_path: Path) -> None:
    with BuildWarehouse(tmp_path) as warehouse:
        assert warehouse.load("t", ALL_TYPES.lazy()) == 3
        like_dbt(warehouse, copied("t"))
        output = warehouse.table("healthcare", "t").collect()
    assert output.schema == ALL_TYPES.schema
    assert output.sort("text", nulls_last=True).equals(ALL_TYPES.sort("text", nulls_last=True))


def test_the_order_does_not_depend_on_how_dbt_wrote_it(tmp_path: Path) -> None:
    rows = table(1000)
    digests = set()
    for order in ("n", "n DESC", "md5(id)"):
        with BuildWarehouse(tmp_path) as warehouse:
            warehouse.load("t", rows.lazy())
            like_dbt(warehouse, f"{copied('t')} ORDER BY {order}")
            digests.add(content_digest(DigestKey(1, bytes(32)), warehouse.table("healthcare", "t")))
    assert len(digests) == 1


def test_long_tables_keep_every_row_and_their_order(tmp_path: Path) -> None:
    rows = 300_000
    frame = pl.LazyFrame({"n": range(rows)})
    with BuildWarehouse(tmp_path) as warehouse:
        assert warehouse.load("t", frame) == rows
        like_dbt(warehouse, copied("t"))
        assert warehouse.table("healthcare", "t").collect()["n"].to_list() == list(range(rows))
        loaded = warehouse.environment()
        with closing(
            connect(
                Path(loaded["SECURE_PLATFORM_BUILD_FILE"]),
                bytes.fromhex(loaded["DBT_ENV_SECRET_BUILD_KEY"]),
                read_only=True,
                temp_directory=tmp_path,
            )
        ) as session:
            rowids = "SELECT count(*) FROM protected.t WHERE rowid <> n"
            assert session.execute(rowids).fetchone() == (0,)


def test_an_empty_table_keeps_its_columns(tmp_path: Path) -> None:
    with BuildWarehouse(tmp_path) as warehouse:
        assert warehouse.load("t", ALL_TYPES.clear().lazy()) == 0
        like_dbt(warehouse, copied("t"))
        assert warehouse.table("healthcare", "t").collect().equals(ALL_TYPES.clear())


def test_nothing_remains_and_nothing_is_in_clear(tmp_path: Path) -> None:
    with BuildWarehouse(tmp_path) as warehouse:
        warehouse.load("t", table(500).lazy())
        like_dbt(warehouse, copied("t"))
        (build,) = [path for path in tmp_path.iterdir() if path.is_dir()]
        assert build.stat().st_mode & 0o777 == 0o700
        assert (build / "build.duckdb").is_file()
        assert in_clear(tmp_path) == []
        assert sweep(tmp_path) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["claims.lock"]


def test_nothing_remains_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataRefusedError), BuildWarehouse(tmp_path) as warehouse:
        warehouse.load("t", pl.LazyFrame({"a": ["x"]}).cast(pl.Int64))
    assert [path.name for path in tmp_path.iterdir()] == ["claims.lock"]


def test_what_a_killed_run_leaves_is_unreadable_and_is_swept(tmp_path: Path) -> None:
    secret = table()["secret"][0].hex()
    subprocess.run([sys.executable, "-c", ABANDONED, tmp_path, secret], check=False)
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 1
    assert in_clear(tmp_path) == []
    assert sweep(tmp_path) == 1


def test_dbt_is_told_how_much_memory_it_may_use(tmp_path: Path) -> None:
    with BuildWarehouse(tmp_path, "100MB") as little, BuildWarehouse(tmp_path) as usual:
        assert little.environment()["SECURE_PLATFORM_BUILD_MEMORY"] == "100MB"
        limit = usual.environment()["SECURE_PLATFORM_BUILD_MEMORY"]
    with closing(library.connect(config={"memory_limit": limit})) as session:
        assert session.execute("SELECT 1").fetchone() == (1,)


def test_each_run_has_its_own_key(tmp_path: Path) -> None:
    with BuildWarehouse(tmp_path) as one, BuildWarehouse(tmp_path) as two:
        keys = {warehouse.environment()["DBT_ENV_SECRET_BUILD_KEY"] for warehouse in (one, two)}
        files = {warehouse.environment()["SECURE_PLATFORM_BUILD_FILE"] for warehouse in (one, two)}
    assert len(keys) == len(files) == 2
    assert all(len(key) == 64 for key in keys)


def test_the_key_is_in_no_file_and_not_in_our_own_environment(tmp_path: Path) -> None:
    with BuildWarehouse(tmp_path) as warehouse:
        warehouse.load("t", table().lazy())
        key = warehouse.environment()["DBT_ENV_SECRET_BUILD_KEY"]
        contents = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
        assert not any(key.encode() in content or bytes.fromhex(key) in content for content in contents)
        assert key not in os.environ.values()
        assert key not in repr(warehouse)


def test_names_are_quoted(tmp_path: Path) -> None:
    name = 'x"; DROP SCHEMA protected; --'
    with BuildWarehouse(tmp_path) as warehouse:
        warehouse.load(name, table().lazy())
        warehouse.load("t", table().lazy())
        assert warehouse.table("protected", name).collect().height == 5
        assert warehouse.table("protected", "t").collect().height == 5


def test_a_missing_table_is_told(tmp_path: Path) -> None:
    with BuildWarehouse(tmp_path) as warehouse:
        warehouse.load("t", table().lazy())
        with pytest.raises(DataRefusedError, match=r"read healthcare\.none from the build warehouse"):
            warehouse.table("healthcare", "none")


def test_a_table_is_loaded_once(tmp_path: Path) -> None:
    with BuildWarehouse(tmp_path) as warehouse:
        warehouse.load("t", table().lazy())
        with pytest.raises(DataRefusedError, match="load t into the build warehouse"):
            warehouse.load("t", table().lazy())


def test_a_failing_frame_tells_no_value_and_loads_nothing(tmp_path: Path) -> None:
    failing = pl.LazyFrame({"a": ["hidden"]}).select(pl.col("a").cast(pl.Int64))
    with BuildWarehouse(tmp_path) as warehouse:
        with pytest.raises(DataRefusedError) as caught:
            warehouse.load("t", failing)
        assert "hidden" not in str(caught.value)
        with pytest.raises(DataRefusedError):
            warehouse.table("protected", "t")


def test_outside_its_block_it_does_nothing(tmp_path: Path) -> None:
    warehouse = BuildWarehouse(tmp_path)
    for use in (
        lambda: warehouse.load("t", table().lazy()),
        lambda: warehouse.table("healthcare", "t"),
        warehouse.environment,
    ):
        with pytest.raises(UsageError, match="with block"):
            use()
