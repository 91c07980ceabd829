"""Every DuckDB database is an encrypted file, and a session reaches that file and nothing else.

The key travels as a bound parameter: DuckDB quotes the text around a syntax error, and so would quote a key
that stood in it. Once the file is attached, files, other databases, extensions and settings are closed for
the rest of the session. What a session spills is encrypted and lies in the home.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib import resources
from pathlib import Path
from typing import Final

import duckdb

from secure_platform.errors import (
    DataRefusedError,
    IntegrityError,
    SecurePlatformError,
    StorageError,
    UsageError,
)

CATALOG: Final = "data"
"""Name under which a session sees its database; it is also the default one."""

_CLOSED: Final = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "allow_persistent_secrets": "false",
    # Otherwise SQL could read the variables of the Python code that runs it.
    "python_enable_replacements": "false",
    "temp_file_encryption": "true",
}
# Without these DuckDB looks for them below the user's home directory.
_ABSENT: Final = {"extension_directory": "no-extensions", "secret_directory": "no-secrets"}


def connect(
    path: Path, key: bytes, *, read_only: bool, temp_directory: Path, memory_limit: str | None = None
) -> duckdb.DuckDBPyConnection:
    """Open an encrypted database; the caller closes the connection, which also flushes its write-ahead log.

    Args:
        path: The file; it is created when it is missing and `read_only` is false.
        key: 32 bytes.
        read_only: Whether any change is refused.
        temp_directory: Private directory in the home for encrypted spill files.
        memory_limit: Such as `1GB`; DuckDB's default is 80 % of the machine.

    Raises:
        IntegrityError: If the key does not open the file, or the file is damaged.
    """
    return _open(path, key, read_only=read_only, spill=str(temp_directory), memory_limit=memory_limit)


def connect_for_queries(path: Path, key: bytes, *, memory_limit: str) -> duckdb.DuckDBPyConnection:
    """Open an encrypted database read-only for SQL that a user wrote: nothing is spilled at all.

    Raises:
        IntegrityError: If the key does not open the file, or the file is damaged.
    """
    return _open(path, key, read_only=True, spill="", memory_limit=memory_limit)


def usable_memory(limit: str | None) -> str:
    """What a session may use: the limit, else DuckDB's default for this machine, spelled as a limit."""
    if limit is not None:
        return limit
    with closing(duckdb.connect(":memory:")) as session:
        return str(session.execute("SELECT current_setting('memory_limit')").fetchall()[0][0])


def httpfs_extension() -> Path:
    """The extension in the installed wheel; it brings the OpenSSL that DuckDB demands before it encrypts.

    Raises:
        UsageError: If the wheel is of another version than DuckDB.
    """
    root = Path(str(resources.files("duckdb_extension_httpfs")))
    path = root / "extensions" / f"v{duckdb.__version__}" / "httpfs.duckdb_extension"
    if not path.is_file():
        raise UsageError(
            f"duckdb-extension-httpfs does not fit DuckDB {duckdb.__version__}",
            "Install the pinned requirements again.",
        )
    return path


def quote_identifier(name: str) -> str:
    """The name as a quoted SQL identifier.

    Raises:
        UsageError: If it is empty or holds a NUL, which SQL text cannot carry.
    """
    if not name or "\x00" in name:
        raise UsageError(f"{name!r} cannot name a table or column", "Use another name.")
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def quote_literal(text: str) -> str:
    """The text as an SQL string, for the few places where DuckDB takes no parameter.

    Raises:
        UsageError: If it holds a NUL.
    """
    if "\x00" in text:
        raise UsageError("A path holds a NUL character", "Use another path.")
    escaped = text.replace("'", "''")
    return f"'{escaped}'"


@contextmanager
def value_free(doing: str) -> Iterator[None]:
    """Replace a DuckDB error by one of ours that holds neither data nor SQL.

    Args:
        doing: What was tried, after "to".
    """
    try:
        yield
    except duckdb.Error as error:
        raise StorageError.behind(f"DuckDB, to {doing},", error) or DataRefusedError(
            f"DuckDB failed to {doing} ({type(error).__name__})",
            "Its text is withheld because it may contain data; try it on data you may look at.",
        ) from None


def _open(
    path: Path, key: bytes, *, read_only: bool, spill: str, memory_limit: str | None
) -> duckdb.DuckDBPyConnection:
    absent = {option: str(path.with_name(name)) for option, name in _ABSENT.items()}
    limits = {"memory_limit": memory_limit} if memory_limit else {}
    connection = duckdb.connect(":memory:", config={**_CLOSED, **absent, **limits, "temp_directory": spill})
    try:
        confine(connection, path, key, catalog=CATALOG, read_only=read_only)
    except BaseException:
        connection.close()
        raise
    return connection


def confine(
    connection: duckdb.DuckDBPyConnection, path: Path, key: bytes, *, catalog: str, read_only: bool
) -> None:
    """Attach the encrypted database and close everything else for the rest of the session.

    Args:
        connection: A session in which nothing was run yet.
        path: The file.
        key: 32 bytes.
        catalog: Name under which the session sees the database; it becomes the default one.
        read_only: Whether any change is refused.

    Raises:
        IntegrityError: If the key does not open the file, or the file is damaged.
    """
    if not read_only:
        connection.load_extension(str(httpfs_extension()))
    _attach(connection, path, key, catalog=catalog, read_only=read_only)
    for statement in (
        f"USE {catalog}",
        "SET TimeZone = 'UTC'",
        "SET enable_external_access = false",
        "SET lock_configuration = true",
    ):
        connection.execute(statement)


def _attach(
    connection: duckdb.DuckDBPyConnection, path: Path, key: bytes, *, catalog: str, read_only: bool
) -> None:
    mode = ", READ_ONLY" if read_only else ""
    try:
        connection.execute(
            f"ATTACH {quote_literal(str(path))} AS {catalog} (ENCRYPTION_KEY $1{mode})", [key.hex()]
        )
    except duckdb.Error as error:
        raise _attach_error(error, path) from None


def _attach_error(error: duckdb.Error, path: Path) -> SecurePlatformError:
    disk = StorageError.behind(f"The database {path.name}", error)
    if disk is not None:
        return disk
    if isinstance(error, duckdb.IOException):
        return SecurePlatformError(
            f"The database {path.name} is missing, damaged or in use by another process",
            "Wait for the other process, or restore the file.",
        )
    return IntegrityError(
        f"The database {path.name} does not open with its key",
        "Restore it from a copy, or deploy the release again.",
    )
