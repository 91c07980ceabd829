"""The PostgreSQL of the tests refuses what a real one should."""

from pathlib import Path

import pytest
from loopback_servers import certificates
from postgres_server import ADMINISTRATOR, PostgresServer


def test_it_speaks_tls(postgres_server: PostgresServer) -> None:
    with postgres_server.connect() as connection:
        version = connection.execute(
            "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        ).fetchone()
        assert version == ("TLSv1.3",)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sslmode": "disable"}, "pg_hba.conf rejects"),
        ({"host": "127.0.0.1"}, "server certificate"),
        ({"sslrootcert": "other"}, "certificate verify failed"),
        ({"password": "wrong"}, "password authentication failed"),
    ],
)
def test_it_refuses_everything_else(
    postgres_server: PostgresServer, options: dict[str, str], said: str, tmp_path: Path
) -> None:
    import psycopg

    if "sslrootcert" in options:
        options = {"sslrootcert": str(certificates(tmp_path).ca)}

    with pytest.raises(psycopg.OperationalError, match=said):
        postgres_server.connect(**{"user": ADMINISTRATOR, **options})
