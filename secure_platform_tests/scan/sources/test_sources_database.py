"""Tables of a real PostgreSQL: whole, quoted by the library, read only; no error has a word of the URL."""

import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl
import pytest
import sqlalchemy as sa
from inspected import EMAILS, INSPECTION, found
from postgres_server import PostgresServer
from sqlalchemy.exc import SQLAlchemyError

from secure_platform.errors import SecurePlatformError, ServiceError, UsageError
from secure_platform.scan.report import Section
from secure_platform.scan.sources import database as module
from secure_platform.scan.sources.database import Wanted, database_tables

NAME = "secret://env/URL"
ODD = 'pe"ople; DROP TABLE x --'


@dataclass(frozen=True)
class Database:
    """A database of its own with a user who may read most of it."""

    server: PostgresServer
    name: str

    @property
    def url(self) -> str:
        """As the secret holds it."""
        return (
            f"postgresql://scan_reader:only-reads@localhost:{self.server.port}/{self.name}"
            f"?hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert={self.server.ca}"
        )

    def execute(self, *statements: str, values: Sequence[tuple[object, ...]] = ()) -> None:
        """As the administrator; the last statement once for each of the values."""
        with self.server.connect(dbname=self.name) as connection:
            for statement in statements[: len(statements) - bool(values)]:
                connection.execute(statement)
            for each in values:
                connection.execute(statements[-1], each)


@pytest.fixture(scope="module")
def database(postgres_server: PostgresServer) -> Iterator[Database]:
    with postgres_server.connect() as connection:
        connection.execute("CREATE ROLE scan_reader LOGIN PASSWORD 'only-reads'")
        connection.execute("CREATE DATABASE scanned")
    made = Database(postgres_server, "scanned")
    quoted = ODD.replace('"', '""')
    made.execute(
        f'CREATE TABLE "{quoted}" (id int, "e""mail" text, document jsonb)',
        "CREATE TABLE hidden (email text)",
        "CREATE SCHEMA crm",
        "CREATE TABLE crm.types (d date, b bytea, a text[], n numeric, nothing text)",
        "INSERT INTO crm.types VALUES ('1980-02-03', 'x', ARRAY['anna.meyer@example.org'], 1.50, NULL)",
        "CREATE MATERIALIZED VIEW crm.seen AS SELECT a[1] AS email FROM crm.types",
        "GRANT USAGE ON SCHEMA crm TO scan_reader",
        f'GRANT SELECT ON "{quoted}", crm.types, crm.seen TO scan_reader',
        f'INSERT INTO "{quoted}" VALUES (%s, %s, %s)',  # noqa: S608 - a name of ours
        values=[(n, email, f'{{"mail": "{email}"}}') for n, email in enumerate(EMAILS)],
    )
    yield made
    with postgres_server.connect() as connection:
        connection.execute("DROP DATABASE scanned WITH (FORCE)")
        connection.execute("DROP ROLE scan_reader")


def scanned(url: str, wanted: Wanted | None = None) -> Section:
    whole = Section()
    for source in database_tables(NAME, url, wanted or Wanted()):
        whole.add(source.look(INSPECTION))
    return whole


def test_every_table_is_scanned_and_one_that_may_not_be_read_is_told(database: Database) -> None:
    section = scanned(database.url)
    odd = f"{NAME}/public.{ODD}"
    assert {
        (odd, 'e"mail', "EMAIL"),
        (odd, "document", "EMAIL"),
        (f"{NAME}/crm.types", "a", "EMAIL"),
        (f"{NAME}/crm.seen", "email", "EMAIL"),
    } <= found(section)
    assert [(each.source, each.reason) for each in section.skipped] == [
        (f"{NAME}/public.hidden", "permission denied")
    ]
    assert {each.source: each.rows for each in section.scanned}[odd] == 3


def test_rows_come_in_batches(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_ROWS", 2)
    monkeypatch.setattr(module, "ROWS", 2)
    sizes: list[int] = []
    frame = module._frame

    def watched(rows: Sequence[Sequence[str]], names: Sequence[str]) -> pl.DataFrame:
        sizes.append(len(rows))
        return frame(rows, names)

    monkeypatch.setattr(module, "_frame", watched)
    scanned(database.url, Wanted(schemas=("public",), tables=(ODD,)))
    assert sizes == [2, 1]


def test_a_transaction_of_a_scan_cannot_write(database: Database) -> None:
    engine = module._engine(module._url(NAME, database.url))
    with engine.connect() as connection, pytest.raises(SQLAlchemyError, match="read-only"):
        connection.execute(sa.text("CREATE TABLE x (y int)"))


def test_schemas_and_tables_can_be_chosen(database: Database) -> None:
    assert [each.source for each in scanned(database.url, Wanted(schemas=("crm",))).scanned] == [
        f"{NAME}/crm.seen",
        f"{NAME}/crm.types",
    ]
    assert [each.source for each in scanned(database.url, Wanted(tables=("crm.types",))).scanned] == [
        f"{NAME}/crm.types"
    ]
    for wanted in (Wanted(schemas=("none",)), Wanted(tables=("none",))):
        with pytest.raises(UsageError, match="no s"):
            scanned(database.url, wanted)


def test_a_locked_table_is_waited_for_a_bounded_time(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOCK_MS", 100)
    with database.server.connect(dbname=database.name, autocommit=False) as connection:
        connection.execute("LOCK TABLE crm.types IN ACCESS EXCLUSIVE MODE")
        section = scanned(database.url, Wanted(tables=("crm.types",)))
        connection.rollback()
    assert [each.reason for each in section.skipped] == [module._LATE]
    assert section.scanned == []


@pytest.fixture
def silent() -> Iterator[int]:
    """A server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken: list[socket.socket] = []
        thread = threading.Thread(target=lambda: taken.append(server.accept()[0]), daemon=True)
        thread.start()
        yield int(server.getsockname()[1])
        for each in taken:
            each.close()


PASSWORD = "hunter2-is-mine"


def test_a_server_that_hangs_is_not_waited_for_without_end(
    silent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CONNECT_SECONDS", 2)
    with pytest.raises(ServiceError) as raised:
        scanned(f"postgresql://user:{PASSWORD}@127.0.0.1:{silent}/db")
    assert PASSWORD not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://scan_reader:{PASSWORD}@127.0.0.1:PORT/scanned",
        f"postgresql://scan_reader:{PASSWORD}@127.0.0.1:1/scanned",
        f"postgresql://scan_reader:{PASSWORD}@127.0.0.1:PORT/none?sslmode=wrong",
        f"mysql://scan_reader:{PASSWORD}@127.0.0.1/scanned",
        f"postgresql+asyncpg:/{PASSWORD}",
        f"postgresql://x:{PASSWORD}@h:port/db",
        PASSWORD,
    ],
    ids=["password", "port", "option", "kind", "driver", "number", "no URL"],
)
def test_no_part_of_the_url_is_in_an_error(database: Database, url: str) -> None:
    with pytest.raises(SecurePlatformError) as raised:
        scanned(url.replace("PORT", str(database.server.port)))
    assert not any(part in str(raised.value) for part in (PASSWORD, "scan_reader", "127.0.0.1"))
    assert NAME in str(raised.value)
    assert raised.value.__context__ is None or raised.value.__suppress_context__


def test_a_server_elsewhere_must_prove_who_it_is_unless_the_url_says_otherwise() -> None:
    assert dict(module._url(NAME, "postgresql://u:p@db.example.org/x").query) == {
        "sslmode": "verify-full",
        "sslrootcert": "system",
    }
    for url in (
        "postgresql://u:p@localhost/x",
        "postgresql://u:p@127.0.0.2/x",
        "postgresql:///x?host=/run/pg",
    ):
        assert "sslmode" not in module._url(NAME, url).query
    assert dict(module._url(NAME, "postgresql://u@db.example.org/x?sslmode=require").query) == {
        "sslmode": "require"
    }


def test_the_certificate_that_the_url_names_is_the_one_that_is_asked_for() -> None:
    url = module._url(NAME, "postgresql://u:p@db.example.org/x?sslrootcert=/etc/crm.pem")
    assert dict(url.query) == {"sslmode": "verify-full", "sslrootcert": "/etc/crm.pem"}


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p@/x?host=db.example.org",
        "postgresql://u:p@localhost/x?host=db.example.org",
        "postgresql://u:p@/x?host=localhost,db.example.org",
        "postgresql://u:p@/x?host=localhost:5432&host=db.example.org:5432",
        "postgresql://u:p@localhost/x?hostaddr=192.0.2.7",
        "postgresql://u:p@localhost/x?service=crm",
    ],
)
def test_a_server_elsewhere_is_seen_wherever_the_url_names_it(url: str) -> None:
    assert module._url(NAME, url).query["sslmode"] == "verify-full"


@pytest.mark.parametrize("name", ["PGHOST", "PGHOSTADDR", "PGSERVICE"])
def test_a_server_elsewhere_is_seen_when_the_environment_names_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(name, raising=False)
    assert "sslmode" not in module._url(NAME, "postgresql://u:p@/x").query
    monkeypatch.setenv(name, "192.0.2.7")
    assert module._url(NAME, "postgresql://u:p@/x").query["sslmode"] == "verify-full"
