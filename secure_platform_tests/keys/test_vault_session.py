"""The login at Vault: how it begins, stays, comes back, and what is said when it cannot."""

import pickle
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from key_servers import POLICY, Tenant, VaultServer, private_file
from loopback_servers import certificates
from waiting import wait_for

from secure_platform.errors import IntegrityError, SecurePlatformError, ServiceError, UsageError
from secure_platform.key_settings import VaultSettings
from secure_platform.keys.providers.vault_session import TRIES, VaultSession

PLAIN = {"plaintext": "cGxhaW4="}
SLEEP = "secure_platform.keys.providers.vault_session.time.sleep"
LOGIN = "auth/approle/login"


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def tenant(vault_server: VaultServer, tmp_path: Path) -> Tenant:
    return vault_server.tenant(tmp_path)


@pytest.fixture
def asked(vault_server: VaultServer) -> Callable[[], list[str]]:
    """What was asked since this test began, but for what the test itself asked as root."""
    before = len(vault_server.requests())
    return lambda: [path for path in vault_server.requests()[before:] if not path.startswith("sys/polic")]


def encrypt(session: VaultSession, tenant: Tenant) -> str:
    return str(session.write(f"transit/encrypt/{tenant.name}", PLAIN)["data"]["ciphertext"])


def changed(tenant: Tenant, **settings: Any) -> VaultSettings:
    return VaultSettings.model_validate({**tenant.settings.model_dump(), **settings})


def refused(session: VaultSession, path: str, kind: type[SecurePlatformError] = ServiceError) -> str:
    with pytest.raises(kind) as refusal:
        session.write(path, PLAIN)
    assert refusal.value.__cause__ is None
    return str(refusal.value)


def test_one_login_serves_every_call(tenant: Tenant, asked: Callable[[], list[str]]) -> None:
    session = VaultSession(tenant.settings)
    before = len(asked())
    for _ in range(3):
        assert encrypt(session, tenant).startswith("vault:v1:")
    assert asked()[before:] == [LOGIN, *[f"transit/encrypt/{tenant.name}"] * 3]


def test_a_namespace_is_another_server(vault_server: VaultServer, tmp_path: Path) -> None:
    tenant = vault_server.tenant(tmp_path, namespace="ns-of-session")
    assert encrypt(VaultSession(tenant.settings), tenant)
    said = refused(VaultSession(changed(tenant, namespace=None)), "transit/encrypt/x")
    assert "does not accept the role id and secret id" in said


def test_nothing_is_taken_from_the_environment(
    tenant: Tenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "s.stranger")
    monkeypatch.setenv("VAULT_NAMESPACE", "stranger")
    monkeypatch.setenv("VAULT_ADDR", "https://stranger.example.org")
    monkeypatch.setenv("HTTPS_PROXY", "http://stranger.example.org")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "stranger.pem"))
    assert encrypt(VaultSession(tenant.settings), tenant)


def test_a_token_is_renewed_in_its_last_third(tenant: Tenant, asked: Callable[[], list[str]]) -> None:
    clock = Clock()
    session = VaultSession(tenant.settings, clock)
    for clock.now in (0, 399, 401, 402, 1100):
        encrypt(session, tenant)
    renew = "auth/token/renew-self"
    assert [path for path in asked() if path in {LOGIN, renew}] == [LOGIN, renew, LOGIN]


def test_a_token_that_cannot_be_renewed_further_is_made_anew(
    vault_server: VaultServer, tmp_path: Path, asked: Callable[[], list[str]]
) -> None:
    tenant = vault_server.tenant(tmp_path, token_ttl="10m", token_max_ttl="10m")
    tenant.admin.auth.approle.create_or_update_approle(tenant.name, token_type="batch")
    clock = Clock()
    session = VaultSession(tenant.settings, clock)
    for clock.now in (0, 401):
        encrypt(session, tenant)
    assert asked().count(LOGIN) == 2


def test_a_revoked_token_is_made_anew_once(tenant: Tenant, asked: Callable[[], list[str]]) -> None:
    session = VaultSession(tenant.settings)
    encrypt(session, tenant)
    tenant.admin.auth.token.revoke(session._client.token)
    assert encrypt(session, tenant)
    assert asked().count(LOGIN) == 2


def test_a_token_that_ended_while_the_clock_stood_still_is_made_anew(
    vault_server: VaultServer, tmp_path: Path, asked: Callable[[], list[str]]
) -> None:
    tenant = vault_server.tenant(tmp_path, token_ttl="1s", token_max_ttl="1s")
    session = VaultSession(tenant.settings, Clock())
    encrypt(session, tenant)
    token, accessors = session._client.token, tenant.admin.auth.token
    assert wait_for(lambda: _is_gone(accessors, token), 20)
    assert encrypt(session, tenant)
    assert asked().count(LOGIN) == 2


def _is_gone(tokens: Any, token: str) -> bool:
    from hvac.exceptions import VaultError

    try:
        tokens.lookup(token)
    except VaultError:
        return True
    return False


def test_a_right_that_was_taken_away_is_not_asked_for_again(
    tenant: Tenant, asked: Callable[[], list[str]]
) -> None:
    session = VaultSession(tenant.settings)
    encrypt(session, tenant)
    tenant.allow('path "secret/*" { capabilities = ["read"] }')
    said = refused(session, f"transit/encrypt/{tenant.name}")
    assert f"does not allow transit/encrypt/{tenant.name}" in said
    assert "policy of the role" in said
    assert asked().count(LOGIN) == 1


def test_a_right_that_was_given_again_is_used(tenant: Tenant) -> None:
    session = VaultSession(tenant.settings)
    tenant.allow('path "secret/*" { capabilities = ["read"] }')
    refused(session, f"transit/encrypt/{tenant.name}")
    tenant.allow(POLICY.format(name=tenant.name))
    assert encrypt(session, tenant)


@pytest.mark.parametrize("what", ["role_id", "secret_id"])
def test_a_wrong_or_revoked_login_says_what_to_do(tenant: Tenant, tmp_path: Path, what: str) -> None:
    wrong = f"secret://file/{private_file(tmp_path / 'wrong', 'canary-of-a-login')}"
    said = refused(VaultSession(changed(tenant, **{what: wrong})), "transit/encrypt/x")
    assert "issue a new secret id" in said
    assert "canary" not in said


def test_a_role_that_was_shut_out_after_wrong_logins_is_told(tenant: Tenant, tmp_path: Path) -> None:
    wrong = f"secret://file/{private_file(tmp_path / 'wrong', 'canary-of-a-login')}"
    session = VaultSession(changed(tenant, secret_id=wrong))
    said = [refused(session, "transit/encrypt/x") for _ in range(6)]
    assert "issue a new secret id" in said[0]
    assert "unlock it there, or wait" in said[-1]


def test_a_new_secret_id_is_read_without_a_restart(tenant: Tenant, tmp_path: Path) -> None:
    clock, file = Clock(), tmp_path / f"{tenant.name}.secret"
    session = VaultSession(tenant.settings, clock)
    encrypt(session, tenant)
    tenant.admin.auth.approle.destroy_secret_id(tenant.name, file.read_text())
    clock.now = 10_000
    assert "issue a new secret id" in refused(session, f"transit/encrypt/{tenant.name}")
    file.write_text(tenant.new_secret_id())
    assert encrypt(session, tenant)


def test_a_missing_secret_id_names_its_file(tenant: Tenant, tmp_path: Path) -> None:
    (tmp_path / f"{tenant.name}.secret").unlink()
    assert f"{tenant.name}.secret" in refused(VaultSession(tenant.settings), "transit/x", UsageError)


def test_a_sealed_server_says_so_and_serves_again(tenant: Tenant, vault_server: VaultServer) -> None:
    session = VaultSession(tenant.settings)
    encrypt(session, tenant)
    with vault_server.sealed():
        said = refused(session, f"transit/encrypt/{tenant.name}")
        assert "is sealed or in maintenance" in said
        assert "Unseal it" in said
        assert "Unseal it" in refused(VaultSession(tenant.settings), "transit/encrypt/x")
    assert encrypt(session, tenant)


@pytest.fixture
def quota(tenant: Tenant) -> Iterator[None]:
    """One request a minute for this tenant's key, and it is used up."""
    path = f"transit/encrypt/{tenant.name}"
    limits = tenant.admin.adapter
    limits.post(f"/v1/sys/quotas/rate-limit/{tenant.name}", json={"rate": 1, "interval": "60s", "path": path})
    tenant.admin.secrets.transit.encrypt_data(tenant.name, PLAIN["plaintext"])
    yield
    limits.delete(f"/v1/sys/quotas/rate-limit/{tenant.name}")


@pytest.mark.usefixtures("quota")
def test_a_busy_server_is_asked_a_few_times(
    tenant: Tenant, asked: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(SLEEP, pauses.append)
    said = refused(VaultSession(tenant.settings), f"transit/encrypt/{tenant.name}")
    assert "is busy and puts off" in said
    assert len(pauses) == TRIES - 1
    assert pauses == sorted(pauses)
    assert len(set(pauses)) == len(pauses)
    assert asked().count(LOGIN) == 1


@pytest.mark.usefixtures("quota")
def test_a_server_that_is_no_longer_busy_answers(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    lift = f"/v1/sys/quotas/rate-limit/{tenant.name}"
    monkeypatch.setattr(SLEEP, lambda _: tenant.admin.adapter.delete(lift))
    assert encrypt(VaultSession(tenant.settings), tenant)


def test_another_authority_is_not_believed(tenant: Tenant, tmp_path: Path) -> None:
    other = certificates(tmp_path).ca
    said = refused(VaultSession(changed(tenant, ca=other)), "transit/encrypt/x")
    assert "does not prove by TLS who it is" in said
    assert "clocks" in said
    assert "prove by TLS" in refused(VaultSession(changed(tenant, ca=None)), "transit/encrypt/x")


def test_another_name_is_not_believed(tenant: Tenant) -> None:
    address = tenant.settings.address.replace("localhost", "127.0.0.1")
    assert "prove by TLS" in refused(VaultSession(changed(tenant, address=address)), "transit/encrypt/x")


def test_a_server_that_is_not_there_is_named(tenant: Tenant) -> None:
    said = refused(VaultSession(changed(tenant, address="https://localhost:1")), "transit/encrypt/x")
    assert said.startswith("Vault at https://localhost:1 cannot be reached")


@pytest.mark.parametrize("mount", ["transot", "secret"])
def test_a_wrong_mount_names_the_path(tenant: Tenant, mount: str) -> None:
    said = refused(VaultSession(tenant.settings), f"{mount}/encrypt/{tenant.name}")
    assert f"{mount}/encrypt/{tenant.name}" in said
    assert "mount" in said


def test_a_wrong_login_mount_names_the_path(tenant: Tenant) -> None:
    assert "auth/else/login" in refused(VaultSession(changed(tenant, auth_mount="else")), "transit/x")


def test_a_key_that_opens_nothing_is_a_matter_of_integrity(tenant: Tenant) -> None:
    session, body = VaultSession(tenant.settings), encrypt(VaultSession(tenant.settings), tenant)
    with pytest.raises(IntegrityError, match="it was changed, or it belongs to something else"):
        session.write(f"transit/decrypt/{tenant.name}", {"ciphertext": body, "associated_data": "eA=="})
    with pytest.raises(IntegrityError, match="it never had that version"):
        session.write(f"transit/decrypt/{tenant.name}", {"ciphertext": body.replace("v1", "v9")})


def test_what_is_not_there_is_said(tenant: Tenant) -> None:
    with pytest.raises(ServiceError, match=f"has nothing at secret/data/{tenant.name}/none"):
        VaultSession(tenant.settings).read(f"secret/data/{tenant.name}/none")


def test_a_session_is_shown_and_copied_by_nobody(tenant: Tenant) -> None:
    session = VaultSession(tenant.settings)
    encrypt(session, tenant)
    assert session._client.token not in repr(session)
    with pytest.raises(UsageError, match="cannot be pickled"):
        pickle.dumps(session)


class TestWrapped:
    """The secret id came wrapped."""

    @pytest.fixture
    def wrapped(self, tenant: Tenant, tmp_path: Path) -> VaultSettings:
        (tmp_path / f"{tenant.name}.secret").write_text(tenant.new_secret_id(wrapped=True))
        return changed(tenant, wrapped=True)

    def test_it_is_opened_once_for_all_processes(
        self, tenant: Tenant, wrapped: VaultSettings, asked: Callable[[], list[str]], tmp_path: Path
    ) -> None:
        for _ in range(3):
            assert encrypt(VaultSession(wrapped), tenant)
        assert asked().count("sys/wrapping/unwrap") == 1
        kept = tmp_path / f"{tenant.name}.secret.opened"
        assert kept.stat().st_mode & 0o777 == 0o600
        assert (tmp_path / f"{tenant.name}.secret").read_text() not in kept.read_text()

    def test_a_new_token_is_opened_in_its_turn(
        self, tenant: Tenant, wrapped: VaultSettings, asked: Callable[[], list[str]], tmp_path: Path
    ) -> None:
        encrypt(VaultSession(wrapped), tenant)
        (tmp_path / f"{tenant.name}.secret").write_text(tenant.new_secret_id(wrapped=True))
        encrypt(VaultSession(wrapped), tenant)
        assert asked().count("sys/wrapping/unwrap") == 2

    def test_one_that_somebody_opened_is_an_alarm(
        self, vault_server: VaultServer, wrapped: VaultSettings, tmp_path: Path, tenant: Tenant
    ) -> None:
        thief = vault_server.admin()
        thief.token = (tmp_path / f"{tenant.name}.secret").read_text()
        thief.sys.unwrap()
        said = refused(VaultSession(wrapped), "transit/encrypt/x")
        assert said.startswith("ALARM")
        assert "Revoke the role's secret ids" in said
        assert not (tmp_path / f"{tenant.name}.secret.opened").exists()

    def test_one_that_wraps_something_else_is_an_alarm(
        self, wrapped: VaultSettings, tmp_path: Path, tenant: Tenant
    ) -> None:
        made = tenant.admin.adapter.post(
            "/v1/sys/wrapping/wrap", json={"secret_id": "of a thief"}, wrap_ttl="60s"
        )
        (tmp_path / f"{tenant.name}.secret").write_text(made["wrap_info"]["token"])
        assert "does not come from the login" in refused(VaultSession(wrapped), "transit/encrypt/x")

    def test_a_sealed_server_is_no_alarm(
        self, vault_server: VaultServer, wrapped: VaultSettings, tenant: Tenant
    ) -> None:
        with vault_server.sealed():
            assert "Unseal it" in refused(VaultSession(wrapped), "transit/encrypt/x")
        assert encrypt(VaultSession(wrapped), tenant)


@contextmanager
def answering(directory: Path, status: int, headers: dict[str, str], body: bytes) -> Iterator[VaultSettings]:
    """A server that gives everybody the same answer, over TLS."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"] or 0))
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    made = certificates(directory)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = made.context().wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=lambda: server.serve_forever(0.02), daemon=True)
    thread.start()
    login = f"secret://file/{private_file(directory / 'login', 'canary-login')}"
    address = f"https://localhost:{server.server_address[1]}"
    try:
        yield VaultSettings(address=address, ca=made.ca, role_id=login, secret_id=login, timeout_seconds=2)
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (307, b"", "Set vault.address to the active server"),
        (200, b"<html>canary</html>", "something else than JSON"),
        (200, b"[]", "something else than JSON"),
        (200, b'{"auth": null}', "gave no token"),
        (204, b"", "gave no token"),
        (501, b'{"errors": ["canary"]}', "Initialise and unseal it"),
        (418, b'{"errors": ["canary"]}', "Look into its own log"),
        (403, b"canary", "Several wrong secret ids"),
    ],
)
def test_a_server_that_is_no_vault_or_not_ready_is_told(
    tmp_path: Path, status: int, body: bytes, told: str
) -> None:
    headers = {"Location": "https://stranger.example.org/v1/steal"} if status == 307 else {}
    with answering(tmp_path, status, headers, body) as settings:
        said = refused(VaultSession(settings), "transit/encrypt/x")
    assert told in said
    assert "canary" not in said


def test_a_server_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    login = f"secret://file/{private_file(tmp_path / 'login', 'canary-login')}"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = VaultSettings(
            address=f"http://127.0.0.1:{silent.getsockname()[1]}",
            role_id=login,
            secret_id=login,
            timeout_seconds=0.2,
        )
        assert "did not answer within 0.2 s" in refused(VaultSession(settings), "transit/encrypt/x")
