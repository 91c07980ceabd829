"""The build warehouse is one encrypted database for one run of dbt, gone when the run is over.

Its key is random, is kept in memory and in the environment of the dbt process only, and dies with both:
whatever a killed run leaves on the disk is unreadable. dbt is given tables, not the key ring: the protected
snapshots are loaded before it starts and the marts are read after it ended.
"""

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Final, Self

import polars as pl

from secure_platform import files
from secure_platform.errors import UsageError
from secure_platform.store import duckdb, parquet, temporary

SOURCES: Final = "protected"
"""Schema of the tables that dbt reads."""

BUILD_FILE: Final = "SECURE_PLATFORM_BUILD_FILE"
BUILD_DIRECTORY: Final = "SECURE_PLATFORM_BUILD_DIRECTORY"
BUILD_MEMORY: Final = "SECURE_PLATFORM_BUILD_MEMORY"
BUILD_KEY: Final = "DBT_ENV_SECRET_BUILD_KEY"
"""dbt lets no model read a variable of this prefix."""

KEY_BYTES: Final = 32
_ROWS: Final = 122_880  # A row group of DuckDB.


class BuildWarehouse:
    """Tables in, dbt, tables out.

    Args:
        temporary_directory: Private scratch space in the home.
        memory_limit: Such as `4GB`, for our sessions and dbt's each; DuckDB's default is 80 % of the machine.
    """

    def __init__(self, temporary_directory: Path, memory_limit: str | None = None) -> None:
        self._temporary = temporary_directory
        self._memory_limit = memory_limit
        self._key = secrets.token_bytes(KEY_BYTES)
        self._stack = ExitStack()
        self._directory: Path | None = None

    def __enter__(self) -> Self:
        files.private_directory(self._temporary)
        claim = temporary.claimed_directory(self._temporary, "build")
        self._directory = self._stack.enter_context(claim)
        files.private_directory(self._directory / "spill")
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self._directory = None

    def load(self, name: str, frame: pl.LazyFrame) -> int:
        """Create the table `protected.<name>` from these rows, in their order and in bounded memory.

        Returns:
            Number of rows.

        Raises:
            DataRefusedError: If the rows cannot be read or stored.
        """
        doing = f"load {name} into the build warehouse"
        table = f"{SOURCES}.{duckdb.quote_identifier(name)}"
        with (
            parquet.value_free(doing),
            duckdb.value_free(doing),
            closing(self._open(read_only=False)) as build,
        ):
            build.register("arriving", _arrow(frame.collect_schema().to_frame()))
            build.begin()
            build.execute(f"CREATE SCHEMA IF NOT EXISTS {SOURCES}")
            build.execute(f"CREATE TABLE {table} AS FROM arriving")
            rows = 0
            for batch in frame.collect_batches(chunk_size=_ROWS, maintain_order=True):
                build.register("arriving", _arrow(batch))
                build.execute(f"INSERT INTO {table} FROM arriving")
                rows += batch.height
            build.commit()
        return rows

    def table(self, schema: str, name: str) -> pl.LazyFrame:
        """A table that dbt built, its rows sorted by all columns.

        Sorted, because DuckDB promises no order and the content digest of a table depends on it.

        Raises:
            DataRefusedError: If there is no such table.
        """
        relation = f"{duckdb.quote_identifier(schema)}.{duckdb.quote_identifier(name)}"
        doing = f"read {schema}.{name} from the build warehouse"
        select = f"FROM {relation}"
        with duckdb.value_free(doing), closing(self._open(read_only=True)) as build:
            schema_of = pl.DataFrame(build.execute(f"{select} LIMIT 0").to_arrow_table()).schema

        def batches() -> Iterator[pl.DataFrame]:
            with duckdb.value_free(doing), closing(self._open(read_only=True)) as build:
                for batch in build.execute(f"{select} ORDER BY ALL").to_arrow_reader(_ROWS):
                    yield pl.DataFrame(batch)

        return parquet.from_batches(schema_of, batches)

    def environment(self) -> dict[str, str]:
        """What dbt needs to open the database: see `orchestration/dbt_plugin.py`."""
        directory = self._entered()
        return {
            BUILD_KEY: self._key.hex(),
            BUILD_FILE: str(self._file()),
            BUILD_DIRECTORY: str(directory),
            BUILD_MEMORY: duckdb.usable_memory(self._memory_limit),
        }

    def _open(self, *, read_only: bool) -> Any:
        spill = self._entered() / "spill"
        return duckdb.connect(
            self._file(),
            self._key,
            read_only=read_only,
            temp_directory=spill,
            memory_limit=self._memory_limit,
        )

    def _file(self) -> Path:
        return self._entered() / "build.duckdb"

    def _entered(self) -> Path:
        if self._directory is None:
            raise UsageError("The build warehouse is not open", "Use it in a with block.")
        return self._directory


def _arrow(frame: pl.DataFrame) -> Any:
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())
