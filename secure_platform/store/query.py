"""SQL that a user wrote is a single SELECT over the tables of one database, or it is refused.

The statement is parsed before it runs. Table functions outside a short list are refused, although the session
is closed already: in a closed session `enable_logging` ends the process and `enable_profiling` breaks it
(DuckDB 1.5.5), and both may stand in a SELECT. So is what tells
paths of this machine. A query runs in a process of its own, because DuckDB does not
count single values against its memory limit: the kernel does, and it is stopped after its time.
"""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import duckdb
import polars as pl

from secure_platform.canonical import is_unicode
from secure_platform.confined import Limits, tables
from secure_platform.errors import UsageError
from secure_platform.store import query_process

MAX_SQL_BYTES: Final = 65_536
TABLE_FUNCTIONS: Final = frozenset({"range", "generate_series", "unnest"})
# They parse or plan a text again, out of sight of the check, or tell paths of this machine.
REFUSED_FUNCTIONS: Final = frozenset({"json_serialize_plan", "write_log", "current_setting"})
REFUSED_TABLES: Final = frozenset({"duckdb_databases", "pragma_database_list", "pg_settings"})
"""Views of DuckDB that hold paths of this machine."""
PROCESS_MEMORY: Final = 2 << 30
_SHOWN: Final = 300


def query(
    path: Path,
    key: bytes,
    sql: str,
    *,
    limit: int,
    timeout_seconds: float = 60.0,
    memory_limit: str = "1GB",
) -> pl.DataFrame:
    """Run a user's SELECT in a session and process of its own.

    Args:
        path: The encrypted database.
        key: Its key, 32 bytes.
        sql: One SELECT (or VALUES, FROM, WITH, DESCRIBE, SUMMARIZE, SHOW TABLES).
        limit: Most rows to return, at least 1.
        timeout_seconds: When the query is stopped.
        memory_limit: What DuckDB plans with; nothing is spilled. Its process ends at `PROCESS_MEMORY`.

    Raises:
        UsageError: If it is not such a statement, names what is not there, fails, or takes too long.
        IntegrityError: If the database does not open.
    """
    if limit < 1:
        raise UsageError(f"The limit {limit} is not a number of rows", "Ask for at least one row.")
    require_select(sql)
    request = {
        "path": str(path),
        "key": key.hex(),
        "sql": sql,
        "limit": limit,
        "memory_limit": memory_limit,
    }
    limits = Limits(
        memory=PROCESS_MEMORY,
        seconds=timeout_seconds,
        too_long=UsageError("The query took too long and was stopped", "Ask for less."),
        failed=UsageError(
            "The query ended before it was finished: it needs more memory than it may use, or breaks DuckDB",
            "Ask for less, or ask in another way.",
        ),
    )
    (table,) = tables(query_process.__name__, request, limits)
    return pl.DataFrame(table)


def require_select(sql: str) -> None:
    """Refuse everything but one SELECT over tables.

    Raises:
        UsageError: If it is something else, is too long, or calls a function that is not allowed.
    """
    if not is_unicode(sql) or len(sql.encode()) > MAX_SQL_BYTES or "\x00" in sql:
        raise UsageError("The query is too long or holds what is no character", "Write a shorter query.")
    try:
        statements = _parse(sql)
        functions, named = list(_functions(statements)), set(_tables(statements))
    except RecursionError:
        raise UsageError("The query is nested too deeply", "Write a simpler query.") from None
    if len(statements) != 1:
        raise UsageError("The query is not exactly one statement", "Write one SELECT.")
    for name in named & REFUSED_TABLES:
        raise UsageError(
            f"The table {name} is not available to queries", "Read from the tables of the product."
        )
    for name, is_table in functions:
        if name in REFUSED_FUNCTIONS or (is_table and name not in TABLE_FUNCTIONS):
            raise UsageError(
                f"The function {name[:80]} is not available to queries",
                "Read from the tables of the product.",
            )


def _parse(sql: str) -> list[Any]:
    with closing(duckdb.connect(":memory:")) as parser:
        row = parser.execute("SELECT json_serialize_sql($1)", [sql]).fetchone()
    document = json.loads(row[0]) if row else {"error": True}
    if document["error"]:
        reason = str(document.get("error_message", ""))[:_SHOWN]
        raise UsageError(f"The query is not a SELECT that can be read: {reason}", "Write one SELECT.")
    return list(document["statements"])


def _tables(node: Any) -> Iterator[str]:
    """Every table's name in the syntax tree, of whatever schema."""
    for found in _nodes(node):
        if found.get("type") == "BASE_TABLE":
            yield str(found["table_name"]).lower()


def _functions(node: Any) -> Iterator[tuple[str, bool]]:
    """Every function in the syntax tree: its name, and whether it stands where a table does."""
    for found in _nodes(node):
        if found.get("type") == "TABLE_FUNCTION":
            yield str(found["function"]["function_name"]).lower(), True
        elif "function_name" in found:
            yield str(found["function_name"]).lower(), False


def _nodes(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, list):
        for item in node:
            yield from _nodes(item)
    elif isinstance(node, dict):
        yield node
        for value in node.values():
            yield from _nodes(value)
