"""The process that runs a user's SELECT: one session, one answer, at most `RESULT_LIMIT` bytes of it.

The answer is turned into Python's values here first: for a year beyond 9999 or an interval in a list, Polars
panics, and that must not happen in the process of whoever asks.
"""

from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import duckdb
import polars as pl
import pyarrow as pa
from polars.exceptions import PanicException

from secure_platform.confined import serve
from secure_platform.errors import SecurePlatformError, UsageError
from secure_platform.store.duckdb import connect_for_queries

RESULT_LIMIT: Final = 64 << 20
_READABLE: Final = (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException)
_SHOWN: Final = 300
_BATCH: Final = 2_048


def answer(request: Mapping[str, Any]) -> Iterator[pa.Table]:
    """Run the SELECT of `store.query`, already checked, and give its rows as one table.

    Raises:
        UsageError: If it names what is not there, fails, or gives too much.
        IntegrityError: If the database does not open.
    """
    path, key = Path(request["path"]), bytes.fromhex(request["key"])
    try:
        with closing(connect_for_queries(path, key, memory_limit=request["memory_limit"])) as connection:
            table = _fetch(connection, request["sql"], request["limit"])
    except (duckdb.Error, OSError) as error:
        raise _explain(error) from None
    _require_shown(table)
    yield table


def _fetch(connection: duckdb.DuckDBPyConnection, sql: str, limit: int) -> pa.Table:
    reader = connection.execute(sql).to_arrow_reader(min(limit, _BATCH))
    batches: list[Any] = []
    rows = size = 0
    for batch in reader:
        batches.append(batch.slice(0, limit - rows))
        rows += batches[-1].num_rows
        size += batches[-1].nbytes
        if size > RESULT_LIMIT:
            raise UsageError(f"The result is larger than {RESULT_LIMIT >> 20} MiB", "Ask for less.")
        if rows == limit:
            break
    return pa.Table.from_batches(batches, schema=reader.schema)


def _require_shown(table: pa.Table) -> None:
    try:
        pl.DataFrame(table).rows()
    except MemoryError:
        raise
    except (Exception, PanicException):  # noqa: BLE001 - whatever Polars raises, its text may hold data
        raise _not_shown() from None


def _not_shown() -> UsageError:
    return UsageError(
        "The result has a type or a value that cannot be shown, such as a date beyond the years 1 to 9999",
        "Cast such columns to VARCHAR.",
    )


def _explain(error: Exception) -> SecurePlatformError:
    """What DuckDB says while its rows are fetched comes as an OSError of Arrow."""
    if isinstance(error, OSError) and "Unsupported Arrow type" in str(error):
        return _not_shown()
    if isinstance(error, _READABLE):
        reason = str(error).partition("\n")[0][:_SHOWN]
        return UsageError(f"The query cannot be run: {reason}", "Correct it.")
    if isinstance(error, duckdb.OutOfMemoryException):
        return UsageError("The query needs more memory than it may use", "Ask for less.")
    return UsageError(
        f"The query failed ({type(error).__name__})",
        "The reason is withheld because it may contain data; check its casts and arithmetic.",
    )


if __name__ == "__main__":
    serve(answer)
