"""Secrets in a real OpenBao: fields of its KV engine, and logins that it makes at a real PostgreSQL."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from database_logins import connect_vault, database_role
from key_servers import Tenant, VaultServer
from postgres_server import PostgresServer
from secrets_document import POLICY
from waiting import wait_for

from secure_platform.audit.log import AuditLog
from secure_platform.errors import SecurePlatformError, ServiceError, UsageError
from secure_platform.homes import initialise
from secure_platform.keys.providers.vault_session import VaultSession
from secure_platform.keys.secrets.resolver import HeldSecrets, Secrets, held
from secure_platform.keys.secrets.vault import VaultSecrets
from secure_platform.keys.secrets.vault_database import VaultDatabaseSecrets
from secure_platform.services import Services
from secure_platform.settings import load_settings

pytestmark = pytest.mark.slow

CANARY = "canary-7d20c1"
SECONDS = 20


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> AuditLog:
    home = tmp_path_factory.mktemp("audited") / "home"
    initialise(load_settings(home=home))
    return Services(load_settings(home=home)).audit


@pytest.fixture
def tenant(vault_server: VaultServer, tmp_path: Path) -> Tenant:
    return vault_server.tenant(tmp_path, policy=POLICY)


@pytest.fixture
def secrets(tenant: Tenant) -> Secrets:
    session = VaultSession(tenant.settings)
    return Secrets(
        {"vault": lambda: VaultSecrets(session), "vault-database": lambda: VaultDatabaseSecrets(session)},
        ttl_seconds=300,
    )


@pytest.fixture(scope="module")
def database(vault_server: VaultServer, postgres_server: PostgresServer) -> PostgresServer:
    """Vault may make roles in PostgreSQL, whose name and certificate it checks."""
    connect_vault(vault_server, postgres_server)
    return postgres_server


@pytest.fixture
def role(database: PostgresServer, tenant: Tenant) -> str:
    """The reference to the login that Vault makes, for a minute at a time."""
    assert database.port
    return database_role(tenant, "minute", "60s", "10m")


def _put(tenant: Tenant, name: str, **fields: str) -> str:
    tenant.admin.secrets.kv.v2.create_or_update_secret(
        f"{tenant.name}/{name}", secret=fields, mount_point="secret"
    )
    return f"secret://vault/secret/{tenant.name}/{name}"


# ── KV ──


def test_a_field_of_the_newest_version_is_read(tenant: Tenant, secrets: Secrets) -> None:
    reference = _put(tenant, "mail", user="u", password="one")
    assert [secrets.get(f"{reference}#{field}").line for field in ("user", "password")] == ["u", "one"]
    _put(tenant, "mail", user="u", password="two")
    newest = secrets.newest(f"{reference}#password")
    assert (newest.line, newest.version) == ("two", "2")
    assert newest.changed_at is not None
    assert json.loads(secrets.get(reference).value) == {"user": "u", "password": "two"}


@pytest.mark.parametrize("value", ["a\nb\r\n", "a\x00b", "ü" * 30_000, "\u2028"])
def test_any_text_comes_back_as_it_was(tenant: Tenant, secrets: Secrets, value: str) -> None:
    assert secrets.get(_put(tenant, "odd", text=value) + "#text").value == value.encode()


def test_what_was_deleted_or_never_there_is_an_error_that_says_so(tenant: Tenant, secrets: Secrets) -> None:
    reference = _put(tenant, "gone", password=CANARY)
    tenant.admin.secrets.kv.v2.delete_latest_version_of_secret(f"{tenant.name}/gone", mount_point="secret")
    for missing in (reference, f"secret://vault/secret/{tenant.name}/never"):
        with pytest.raises(ServiceError, match="has nothing at") as refused:
            secrets.get(missing)
        assert CANARY not in str(refused.value)
    with pytest.raises(UsageError, match="not there"):
        secrets.get(_put(tenant, "mail", user="u") + "#password")


def test_another_mount_or_another_tenant_is_refused(
    tenant: Tenant, secrets: Secrets, vault_server: VaultServer, tmp_path: Path
) -> None:
    other = vault_server.tenant(tmp_path, policy=POLICY)
    stolen = _put(other, "mail", password=CANARY)
    for reference in (
        stolen,
        f"secret://vault/sys/{tenant.name}",
        f"secret://vault/nowhere/{tenant.name}/mail",
    ):
        with pytest.raises(ServiceError, match=r"does not allow|has nothing"):
            secrets.get(reference)
    with pytest.raises(UsageError, match="names no mount"):
        secrets.get("secret://vault/secret")


def test_a_permission_that_was_revoked_counts_at_the_next_reading(tenant: Tenant, secrets: Secrets) -> None:
    used = secrets.get(_put(tenant, "mail", password="one") + "#password")
    tenant.allow('path "secret/data/nothing" { capabilities = ["read"] }')
    assert secrets.get(used.name).line == "one"
    with pytest.raises(ServiceError, match="does not allow"):
        secrets.newest(used.name)
    with pytest.raises(ServiceError, match="does not allow"):
        secrets.get(used.name)


def test_a_rotation_changes_one_field_and_keeps_the_others(tenant: Tenant, secrets: Secrets) -> None:
    reference = _put(tenant, "mail", user="u", password="one")
    secrets.rotate(f"{reference}#password", actor="ada")
    rotated = secrets.get(f"{reference}#password")
    assert (len(rotated.line), rotated.version) == (43, "2")
    assert secrets.get(f"{reference}#user").line == "u"
    for wrong in (reference, f"{reference}#pin"):
        with pytest.raises(UsageError, match="by its field"):
            secrets.rotate(wrong, actor="ada")
    assert secrets.newest(reference).version == "2"


def test_of_two_rotations_at_once_one_is_refused(tenant: Tenant) -> None:
    reference = _put(tenant, "mail", password="one").removeprefix("secret://vault/")
    meeting = threading.Barrier(2, timeout=SECONDS)

    class Slow(VaultSession):
        """Both have read before either writes."""

        def write(self, path: str, body: Any = None) -> dict[str, Any]:
            meeting.wait()
            return super().write(path, body)

    results: list[str] = []

    def rotate() -> None:
        try:
            VaultSecrets(Slow(tenant.settings)).rotate(reference, "password", actor="ada")
            results.append("rotated")
        except SecurePlatformError:
            results.append("refused")

    threads = [threading.Thread(target=rotate) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert sorted(results) == ["refused", "rotated"]
    assert VaultSecrets(VaultSession(tenant.settings)).read(reference).version == "2"


# ── logins at a database ──


def test_a_login_is_made_for_a_run_and_revoked_at_its_end(
    database: PostgresServer, secrets: Secrets, role: str, audit: AuditLog
) -> None:
    with held(secrets, lambda: audit, actor="dana") as lent:
        user, password = (lent.get(f"{role}#{field}").line for field in ("username", "password"))
        assert database.lets_in(user, password)
        assert lent.get(f"{role}#username").line == user
    assert not database.lets_in(user, password)
    assert user not in database.roles("%")
    recorded = [(entry.body["action"], entry.body["phase"]) for entry in audit.tail(4)]
    assert recorded == [
        (f"secret.{action}", phase) for action in ("lend", "return") for phase in ("intent", "done")
    ]
    assert not any(
        word in json.dumps(dict(entry.body)) for entry in audit.tail(4) for word in (user, password)
    )


def test_it_is_revoked_after_a_failure_too(
    database: PostgresServer, secrets: Secrets, role: str, audit: AuditLog
) -> None:
    made: list[str] = []

    def work() -> None:
        with held(secrets, lambda: audit, actor="dana") as lent:
            made.append(lent.get(f"{role}#username").line)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert made[0] not in database.roles("%")


def test_who_is_refused_gets_another_login_and_the_refused_one_ends(
    database: PostgresServer, secrets: Secrets, role: str, audit: AuditLog
) -> None:
    with held(secrets, lambda: audit, actor="dana") as lent:
        first = lent.get(f"{role}#username")
        with database.connect() as connection:
            connection.execute(f'DROP ROLE "{first.line}"')
        second = lent.refresh(first).line
        assert database.lets_in(second, lent.get(f"{role}#password").line)
        assert database.roles(f"%{first.line}%") == []


def test_a_login_is_prolonged_while_it_is_held(
    database: PostgresServer, tenant: Tenant, secrets: Secrets, audit: AuditLog
) -> None:
    role = database_role(tenant, "short", "6s", "60s")
    with held(secrets, lambda: audit, actor="dana") as lent:
        user, password = (lent.get(f"{role}#{field}").line for field in ("username", "password"))
        threading.Event().wait(9)
        assert lent.get(f"{role}#username").line == user
        assert user in database.roles("%")
    assert not database.lets_in(user, password)


def test_it_is_held_on_to_when_the_token_would_have_ended_before_it(
    database: PostgresServer, vault_server: VaultServer, tmp_path: Path, audit: AuditLog
) -> None:
    tenant = vault_server.tenant(tmp_path, policy=POLICY, token_ttl="6s")
    role = database_role(tenant, "long", "60s", "10m")
    keeper = VaultDatabaseSecrets(VaultSession(tenant.settings))
    with held(Secrets({"vault-database": lambda: keeper}, ttl_seconds=0), lambda: audit, actor="d") as lent:
        user = lent.get(f"{role}#username").line
        threading.Event().wait(9)
        assert user in database.roles("%")
    assert user not in database.roles("%")


def test_a_login_that_cannot_be_prolonged_is_not_given_any_more(
    database: PostgresServer, tenant: Tenant, secrets: Secrets, audit: AuditLog
) -> None:
    role = database_role(tenant, "brief", "1s", "2s")
    with held(secrets, lambda: audit, actor="dana") as lent:
        user = lent.get(f"{role}#username")
        assert wait_for(lambda: _is_refused(lent, role), SECONDS)
        assert wait_for(lambda: user.line not in database.roles("%"), SECONDS)
        assert lent.refresh(user).line != user.line


def _is_refused(lent: HeldSecrets, role: str) -> bool:
    try:
        lent.get(role)
    except ServiceError as error:
        return "has ended" in str(error)
    return False


def test_when_vault_is_sealed_at_the_end_of_a_run_the_login_ends_by_itself(
    database: PostgresServer,
    tenant: Tenant,
    secrets: Secrets,
    audit: AuditLog,
    vault_server: VaultServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    role = database_role(tenant, "sealed", "5s", "60s")
    lent = HeldSecrets(secrets, lambda: audit, "dana")
    user, password = (lent.get(f"{role}#{field}").line for field in ("username", "password"))
    with vault_server.sealed():
        lent.close()
    assert "was not revoked and ends by itself: ServiceError" in caplog.text
    assert user not in caplog.text
    assert password not in caplog.text
    assert audit.tail(1)[0].body["phase"] == "failed"
    assert wait_for(lambda: user not in database.roles("%"), SECONDS)


def test_a_login_is_lent_for_a_run_only(secrets: Secrets, role: str) -> None:
    with pytest.raises(UsageError, match="made for one run"):
        secrets.get(role)
    with pytest.raises(UsageError, match="another one for each run"):
        secrets.rotate(role, actor="ada")
    for path in ("database/creds", "database/roles/x", "database/creds/x/y", "x"):
        with pytest.raises(UsageError, match="names no role"):
            secrets.get(f"secret://vault-database/{path}")


def test_what_vault_does_not_lend_is_recorded_as_failed(
    tenant: Tenant, secrets: Secrets, audit: AuditLog
) -> None:
    with held(secrets, lambda: audit, actor="dana") as lent, pytest.raises(ServiceError):
        lent.get(f"secret://vault-database/database/creds/{tenant.name}-absent")
    assert [entry.body["phase"] for entry in audit.tail(2)] == ["intent", "failed"]


@pytest.mark.parametrize(
    "wrong", [{"host": "127.0.0.1"}, {"port": "1"}], ids=["a name that is not in the certificate", "down"]
)
def test_when_vault_cannot_reach_the_database_nothing_is_lent(
    wrong: dict[str, str],
    database: PostgresServer,
    vault_server: VaultServer,
    tenant: Tenant,
    secrets: Secrets,
    audit: AuditLog,
) -> None:
    before = database.roles("%")
    connect_vault(vault_server, database, tenant.name, **wrong)
    role = database_role(tenant, "unreachable", "60s", "10m", at=tenant.name)
    with (
        held(secrets, lambda: audit, actor="dana") as lent,
        pytest.raises(ServiceError, match=f"error to database/creds/{tenant.name}-unreachable"),
    ):
        lent.get(role)
    assert audit.tail(1)[0].body["phase"] == "failed"
    assert database.roles("%") == before


def test_the_password_of_a_static_role_is_rotated(
    database: PostgresServer, tenant: Tenant, secrets: Secrets
) -> None:
    with database.connect() as connection:
        connection.execute(f"CREATE ROLE {tenant.name} LOGIN PASSWORD 'first'")
    tenant.admin.secrets.database.create_static_role(
        name=f"{tenant.name}-static",
        db_name="postgres",
        username=tenant.name,
        rotation_statements=[],
        rotation_period="24h",
    )
    reference = f"secret://vault-database/database/static-creds/{tenant.name}-static#password"
    before = secrets.get(reference)
    assert before.changed_at is not None
    assert database.lets_in(tenant.name, before.line)
    secrets.rotate(reference, actor="ada")
    after = secrets.get(reference)
    assert not database.lets_in(tenant.name, before.line)
    assert database.lets_in(tenant.name, after.line)
