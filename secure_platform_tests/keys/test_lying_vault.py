"""A server that took Vault's place, or half of it, answers what it likes: nothing of it becomes a key."""

import json
import math
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from key_servers import private_file

from secure_platform.errors import ServiceError
from secure_platform.key_settings import VaultSettings
from secure_platform.keys.providers.vault import VaultKeyProvider
from secure_platform.keys.providers.vault_session import VaultSession
from secure_platform.keys.secrets.vault import VaultSecrets
from secure_platform.keys.secrets.vault_database import VaultDatabaseSecrets

CANARY = "canary-8c1f"
LOGIN = {"auth": {"client_token": "t", "lease_duration": 3600, "renewable": True}}
USER = {"username": "u", "password": "p"}


class Server(ThreadingHTTPServer):
    """Lets everybody in, and then gives one answer to everything."""

    answer: Any = None


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        body = json.dumps(LOGIN if self.path.endswith("/login") else self.server.answer).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=lambda: server.serve_forever(0.02), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join(10)
    server.server_close()


@pytest.fixture
def session(server: Server, tmp_path: Path) -> VaultSession:
    secret = f"secret://file/{private_file(tmp_path / 'secret', 's')}"
    return VaultSession(
        VaultSettings(
            address=f"http://127.0.0.1:{server.server_address[1]}",
            role_id=secret,
            secret_id=secret,
            signing_key="sign",
        )
    )


@pytest.mark.parametrize("answer", [{}, {"plaintext": None}, {"plaintext": 5}, {"plaintext": "é"}])
def test_an_answer_without_a_key_opens_as_none(
    session: VaultSession, server: Server, answer: dict[str, Any]
) -> None:
    """`None` as text would be three bytes that everybody knows."""
    server.answer = {"data": answer}
    with pytest.raises(ServiceError, match="not of Vault's form"):
        VaultKeyProvider(session).unwrap(b"vault:v1:AAAA", context={"name": "data"})


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"latest_version": CANARY, "keys": {}, "type": "ecdsa-p256"},
        {"latest_version": 1, "keys": [CANARY], "type": "ecdsa-p256"},
        {"latest_version": 1, "keys": {"1": CANARY}, "type": "ecdsa-p256"},
        {"latest_version": 1, "keys": {"1": {}}, "type": "ecdsa-p256"},
        {"latest_version": 1, "keys": {"1": {"public_key": CANARY}}, "type": "ecdsa-p256"},
    ],
)
def test_what_is_no_key_does_not_sign(session: VaultSession, server: Server, answer: dict[str, Any]) -> None:
    server.answer = {"data": answer}
    with pytest.raises(ServiceError) as refusal:
        VaultKeyProvider(session).signer()
    assert CANARY not in str(refusal.value)


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"version": 1, "created_time": CANARY},
        {"version": CANARY, "created_time": "2025-01-01T00:00:00Z"},
        {"version": math.inf, "created_time": "2025-01-01T00:00:00Z"},
    ],
)
def test_a_secret_of_no_version_or_time_is_none(
    session: VaultSession, server: Server, metadata: dict[str, Any]
) -> None:
    server.answer = {"data": {"data": {"field": "value"}, "metadata": metadata}}
    with pytest.raises(ServiceError, match="is not in a KV engine") as refusal:
        VaultSecrets(session).read("secret/mail")
    assert CANARY not in str(refusal.value)


def test_the_age_of_a_secret_is_known_whatever_zone_it_is_told_in(
    session: VaultSession, server: Server
) -> None:
    moment = {"version": 1, "created_time": "2025-01-01T00:00:00"}
    server.answer = {"data": {"data": {"field": "value"}, "metadata": moment}}
    changed_at = VaultSecrets(session).read("secret/mail").changed_at
    assert changed_at is not None
    assert changed_at.tzinfo is not None


@pytest.mark.parametrize("seconds", [math.nan, math.inf, None, CANARY])
def test_a_login_that_never_ends_is_not_lent(session: VaultSession, server: Server, seconds: object) -> None:
    server.answer = {"lease_id": "x", "lease_duration": seconds, "data": USER}
    with pytest.raises(ServiceError, match="is not in a database engine"):
        VaultDatabaseSecrets(session).lease("database/creds/reports")
