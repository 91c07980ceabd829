"""The tables of a database, each in a transaction of its own that reads only, row after row, as text.

SQLAlchemy writes every statement and quotes every name; the database itself spells the values. A server that
hangs is waited for a bounded time, a table that may not be read is skipped. What a driver says is not
repeated: it may name the password.
"""

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import polars as pl
import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from secure_platform.errors import ServiceError, UsageError
from secure_platform.scan.report import Section
from secure_platform.scan.secrets.archives import SEPARATOR
from secure_platform.scan.sources.documents import SkippedError
from secure_platform.scan.sources.inspection import Inspection
from secure_platform.scan.sources.work import Source

FIRST_ROWS: Final = 100
ROWS: Final = 10_000
"""Rows that the server is asked for at a time, at first and at most."""
BYTES: Final = 16 << 20
"""Text that a next batch is expected to have at most, by what rows had so far."""
LONGEST_CELL: Final = 16 << 20
CONNECT_SECONDS: Final = 10
LOCK_MS: Final = 10_000
ANSWER_MS: Final = 600_000
_OWN_SCHEMAS: Final = frozenset({"information_schema"})
_DENIED: Final = "permission denied"
_LATE: Final = "the database did not answer in time: the table is locked, or too slow"
_FAILED: Final = "the database cannot give it"
_SERVICE: Final = "PGSERVICE"
_BY_STATE: Final = {"42501": _DENIED, "55P03": _LATE, "57014": _LATE}
_SQLITE: Final = "sqlite"


@dataclass(frozen=True)
class Wanted:
    """Which tables are scanned.

    Attributes:
        schemas: By name; all of the database's users if none is named.
        tables: By name, with or without their schema; all if none is named.
    """

    schemas: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()

    def has(self, schema: str | None, table: str) -> bool:
        """Whether this table is one of them."""
        return not self.tables or table in self.tables or f"{schema}.{table}" in self.tables


def database_tables(name: str, url: str, wanted: Wanted) -> Iterator[Source]:
    """The tables of a PostgreSQL database.

    Args:
        name: How the report calls the database: the reference to its URL, never the URL.
        url: `postgresql://…`; TLS is required as libpq's `verify-full` unless it says otherwise or the server
            is this machine.
        wanted: Which tables.

    Raises:
        UsageError: If the URL cannot be used, or there is no such table.
        ServiceError: If the database cannot be reached, or refuses.
    """
    yield from _tables(name, _engine(_url(name, url)), wanted)


def database_rows(
    name: str, url: str, wanted: Wanted
) -> Iterator[tuple[str, Callable[[], Iterator[pl.DataFrame]]]]:
    """The names of the tables, and a reader of each: no rows at first, then all of them, as text.

    Arguments and errors are those of `database_tables`; a reader raises SkippedError if it may not read.
    """
    engine = _engine(_url(name, url))
    for schema, table in _listed(name, engine, wanted):
        yield table, _reader(engine, schema, table)


def sqlite_tables(path: Path, name: str, inspection: Inspection) -> Section:
    """The tables of an SQLite file, which is opened for reading only."""

    def connect() -> sqlite3.Connection:
        # Nobody who writes is waited for, and nothing is written beside the file.
        connection = sqlite3.connect(f"file:{quote(os.fsencode(path))}?mode=ro&immutable=1", uri=True)
        connection.text_factory = _text
        # A few bytes of schema can promise a cell of any length.
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_CELL)
        connection.execute("PRAGMA trusted_schema=OFF")
        return connection

    section = Section()
    try:
        engine = sa.create_engine("sqlite://", creator=connect, poolclass=NullPool)
        for source in _tables(name, engine, Wanted(), within=SEPARATOR):
            section.add(source.look(inspection))
    except (ServiceError, UsageError):
        raise SkippedError("an SQLite file that is damaged, or has no table") from None
    return section


def _text(content: bytes) -> str:
    return content.decode(errors="replace")


def _url(name: str, text: str) -> URL:
    try:
        url = make_url(text.strip())
    except (ArgumentError, ValueError):
        raise UsageError(f"{name} holds no URL of a database", _FIX) from None
    if url.get_backend_name() != "postgresql":
        raise UsageError(f"{name} is not the URL of a PostgreSQL database", _FIX)
    if "sslmode" not in url.query and not all(map(_is_here, _hosts(url))):
        url = url.set(query={"sslmode": "verify-full", "sslrootcert": "system", **url.query})
    return url.set(drivername="postgresql+psycopg")


_FIX: Final = "Keep postgresql://USER:PASSWORD@HOST/DATABASE as this secret; see docs/scanning.md."


def _hosts(url: URL) -> list[str]:
    """Where libpq may connect to: what the URL names, wherever in it, else what its environment says."""
    named = url.normalized_query
    if "service" in named or _SERVICE in os.environ:
        return ["a service"]
    hosts = [*filter(None, [url.host]), *named.get("host", ())] or [os.environ.get("PGHOST", "")]
    addresses = named.get("hostaddr", ()) or [os.environ.get("PGHOSTADDR", "")]
    return [host for several in (*hosts, *addresses) for host in several.split(",")]


def _is_here(host: str) -> bool:
    try:
        return host in {"", "localhost"} or host.startswith("/") or ip_address(host).is_loopback
    except ValueError:
        return False


def _engine(url: URL) -> sa.Engine:
    return sa.create_engine(
        url,
        poolclass=NullPool,
        connect_args={
            "connect_timeout": CONNECT_SECONDS,
            "tcp_user_timeout": ANSWER_MS,
            "options": f"-c lock_timeout={LOCK_MS} -c statement_timeout={ANSWER_MS}",
        },
        execution_options={"isolation_level": "REPEATABLE READ", "postgresql_readonly": True},
        hide_parameters=True,
    )


def _tables(name: str, engine: sa.Engine, wanted: Wanted, *, within: str = "/") -> Iterator[Source]:
    listed = list(_listed(name, engine, wanted))
    if not listed:
        raise UsageError(f"There is no such table in {name}", "Name a table or schema that its user may see.")
    for schema, table in listed:
        place = ".".join(part for part in (schema, table) if part)
        source = f"{name}{within}{place}"
        yield Source(source, place, _look(source, _reader(engine, schema, table)))


def _look(source: str, rows: Callable[[], Iterator[pl.DataFrame]]) -> Callable[[Inspection], Section]:
    return lambda inspection: inspection.table(source, rows())


def _listed(name: str, engine: sa.Engine, wanted: Wanted) -> Iterable[tuple[str | None, str]]:
    with _explained(name), engine.connect() as connection:
        inspector = sa.inspect(connection)
        present = [None] if engine.name == _SQLITE else inspector.get_schema_names()
        missing = set(wanted.schemas) - set(present)
        if missing:
            raise UsageError(
                f"There is no schema {min(missing)!r} in {name}", "Name one that its user may see."
            )
        schemas = wanted.schemas or [schema for schema in present if schema not in _OWN_SCHEMAS]
        names = [(schema, table) for schema in schemas for table in sorted(_of(inspector, schema))]
        return [place for place in names if wanted.has(*place)]


def _of(inspector: sa.Inspector, schema: str | None) -> set[str]:
    views = [] if schema is None else inspector.get_materialized_view_names(schema)
    return {*inspector.get_table_names(schema), *views}


def _reader(engine: sa.Engine, schema: str | None, table: str) -> Callable[[], Iterator[pl.DataFrame]]:
    def rows() -> Iterator[pl.DataFrame]:
        try:
            with engine.connect() as connection:
                yield from _batches(connection, schema, table)
        except DBAPIError as error:
            raise SkippedError(_BY_STATE.get(getattr(error.orig, "sqlstate", ""), _FAILED)) from None
        except SQLAlchemyError:
            raise SkippedError(_FAILED) from None

    return rows


def _batches(connection: sa.Connection, schema: str | None, table: str) -> Iterator[pl.DataFrame]:
    names = [str(column["name"]) for column in sa.inspect(connection).get_columns(table, schema)]
    if not names:
        return
    columns = [sa.cast(sa.column(name), sa.Text).label(str(place)) for place, name in enumerate(names)]
    query = sa.select(*columns).select_from(sa.table(table, schema=schema))
    empty = dict.fromkeys(names, pl.String)
    yield pl.DataFrame(schema=empty)
    wanted = FIRST_ROWS
    with connection.execution_options(stream_results=True).execute(query) as result:
        while part := result.fetchmany(wanted):
            frame = _frame(part, names)
            yield frame
            wanted = max(1, min(ROWS, BYTES * frame.height // max(1, int(frame.estimated_size()))))


def _frame(rows: Sequence[Sequence[Any]], names: Sequence[str]) -> pl.DataFrame:
    columns = zip(*rows, strict=True)
    series = [
        pl.Series(name, [value or None for value in column], pl.String)
        for name, column in zip(names, columns, strict=True)
    ]
    return pl.DataFrame(series)


@contextmanager
def _explained(name: str) -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError:
        raise ServiceError(
            f"The database of {name} cannot be reached, or does not let this user in",
            "Check host, user, password and TLS (sslmode, sslrootcert) in its URL, and the network.",
        ) from None
