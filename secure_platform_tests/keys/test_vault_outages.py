"""Vault fails: nothing opens, nothing is half-written, what to do is said, and nothing is lost."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import polars as pl
import pytest
from key_places import ADMIN, SNAPSHOT, Interrupted, Kept, Place, refused
from key_servers import POLICY, Tenant, VaultServer
from loopback_servers import certificates, http_server

from secure_platform.errors import IntegrityError, ServiceError
from secure_platform.key_settings import VaultSettings
from secure_platform.keys.provider import KeyProvider
from secure_platform.keys.providers.local import LocalKeyProvider
from secure_platform.keys.providers.vault import VaultKeyProvider
from secure_platform.keys.providers.vault_session import VaultSession
from secure_platform.store.snapshot import Zone
from secure_platform.store.snapshots import SnapshotStore


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.new(tmp_path)


@dataclass(frozen=True)
class VaultCase:
    """A tenant, and the settings it is used with from now on."""

    server: VaultServer
    tenant: Tenant
    folder: Path

    def provider(self, **changed: Any) -> VaultKeyProvider:
        settings = VaultSettings.model_validate({**self.tenant.settings.model_dump(), **changed})
        return VaultKeyProvider(VaultSession(settings))

    @property
    def transit(self) -> Any:
        return self.tenant.admin.secrets.transit


Fault: TypeAlias = Callable[[VaultCase], AbstractContextManager[None]]


@contextmanager
def sealed(case: VaultCase) -> Iterator[None]:
    with case.server.sealed():
        yield


@contextmanager
def revoked(case: VaultCase) -> Iterator[None]:
    """The secret id is revoked, and with it every token that it opened; a few tries later, the role."""
    file = case.folder / f"{case.tenant.name}.secret"
    admin = case.tenant.admin
    admin.auth.approle.destroy_secret_id(case.tenant.name, file.read_text())
    admin.sys.revoke_prefix("auth/approle/login")
    yield
    file.write_text(case.tenant.new_secret_id())
    accessor = admin.sys.list_auth_methods()["data"]["approle/"]["accessor"]
    role_id = admin.auth.approle.read_role_id(case.tenant.name)["data"]["role_id"]
    admin.adapter.post(f"/v1/sys/locked-users/{accessor}/unlock/{role_id}")


@contextmanager
def denied(case: VaultCase) -> Iterator[None]:
    """The right is taken away between reading and using."""
    case.tenant.allow('path "secret/*" { capabilities = ["read"] }')
    yield
    case.tenant.allow(POLICY.format(name=case.tenant.name))


@contextmanager
def throttled(case: VaultCase) -> Iterator[None]:
    """One request a minute for each of the key's paths, and they are used up."""
    limits, name = case.tenant.admin.adapter, case.tenant.name
    for operation in ("decrypt", "encrypt", "datakey/plaintext"):
        limit = {"rate": 1, "interval": "60s", "path": f"transit/{operation}/{name}"}
        limits.post(f"/v1/sys/quotas/rate-limit/{name}-{operation[:7]}", json=limit)
    made = case.transit.encrypt_data(name, "eA==")["data"]["ciphertext"]
    case.transit.decrypt_data(name, made)
    case.transit.generate_data_key(name, "plaintext")
    yield
    for operation in ("decrypt", "encrypt", "datakey/plaintext"):
        limits.delete(f"/v1/sys/quotas/rate-limit/{name}-{operation[:7]}")


@contextmanager
def lost(case: VaultCase) -> Iterator[None]:
    """Somebody deletes the key; it comes back from Vault's backup of it."""
    name = case.tenant.name
    case.transit.update_key_configuration(name, exportable=True, allow_plaintext_backup=True)
    case.transit.update_key_configuration(name, deletion_allowed=True)
    backup = case.transit.backup_key(name)["data"]["backup"]
    case.transit.delete_key(name)
    yield
    case.transit.restore_key(backup, name=name)


FAULTS: dict[str, tuple[Fault, str]] = {
    "sealed": (sealed, "Unseal it"),
    "revoked": (revoked, "issue a new secret id|unlock it there"),
    "denied": (denied, "the policy of the role allows it"),
    "throttled": (throttled, "raise its rate limit"),
    "lost": (lost, "restore it from Vault's backup"),
}


@pytest.fixture
def case(vault_server: VaultServer, tmp_path: Path) -> VaultCase:
    return VaultCase(vault_server, vault_server.tenant(tmp_path), tmp_path)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that is tried again does not wait."""
    monkeypatch.setattr("secure_platform.keys.providers.vault_session.time.sleep", lambda _: None)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_at_vault_stops_everything_and_loses_nothing(
    name: str, case: VaultCase, place: Place
) -> None:
    fault, told = FAULTS[name]
    running = place.keys(case.provider())
    kept = Kept.made(running.ring)
    starting = place.keys(case.provider())
    with fault(case):
        refused(place, kept.attempts(starting), told)
        # What this process has opened before works on; nothing new is made.
        assert running.ring.open_data_key(kept.wrapped, SNAPSHOT) == kept.plaintext
        refused(place, {"new": lambda: running.ring.token_key("order")}, told)
        refused(place, {"rotate": lambda: running.ring.lifecycle.rotate("data", actor=ADMIN)}, told)
    assert starting.ring.open_data_key(kept.wrapped, SNAPSHOT) == kept.plaintext
    assert running.ring.token_key("order") == place.keys(case.provider()).ring.token_key("order")
    kept.require(place.keys(case.provider()))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"transit_mount": "transot"}, "Check the mount and name"),
        ({"transit_key": "another"}, "Check the mount and name, and that the policy"),
        ({"auth_mount": "another"}, "Check the mount and name"),
        ({"namespace": "another"}, "in the namespace 'another'"),
        ({"address": "https://localhost:1"}, "correct vault.address"),
        ({"ca": None}, "Check vault.ca"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_wrong_settings_open_nothing_and_the_right_ones_everything(
    changed: dict[str, Any], told: str, case: VaultCase, place: Place
) -> None:
    kept = Kept.made(place.keys(case.provider()).ring)
    refused(place, kept.attempts(place.keys(case.provider(**changed))), told)
    kept.require(place.keys(case.provider()))


def test_the_key_of_somebody_else_opens_nothing(case: VaultCase, place: Place, tmp_path: Path) -> None:
    kept = Kept.made(place.keys(case.provider()).ring)
    other = VaultCase(case.server, case.server.tenant(tmp_path), tmp_path)
    refused(place, kept.attempts(place.keys(other.provider())), "name the mount and key that wrapped it")
    kept.require(place.keys(case.provider()))


def test_a_certificate_that_is_not_valid_yet_tells_of_clocks(
    case: VaultCase, place: Place, tmp_path: Path
) -> None:
    """A machine whose clock is behind sees the same."""
    kept = Kept.made(place.keys(case.provider()).ring)
    (tmp_path / "tls").mkdir()
    with tomorrow(tmp_path / "tls") as changed:
        refused(place, kept.attempts(place.keys(case.provider(**changed))), "the clocks of both machines")
    kept.require(place.keys(case.provider()))


@contextmanager
def tomorrow(folder: Path) -> Iterator[dict[str, Any]]:
    made = certificates(folder, days=1)
    with http_server(tls=made.context()) as inbox:
        yield {"address": inbox.url.removesuffix("/hook"), "ca": made.ca}


@pytest.mark.usefixtures("at_once")
def test_a_move_to_vault_that_is_cut_off_moved_nothing(case: VaultCase, place: Place) -> None:
    local = LocalKeyProvider.create(place.folder / "keys")
    keys = place.keys(local)
    kept = Kept.made(keys.ring)
    before = place.rows()
    seal = Interrupted(case.provider(), 4, case.tenant.admin.sys.seal)
    try:
        with pytest.raises(ServiceError, match="Unseal it"):
            keys.ring.lifecycle.rewrap(actor=ADMIN, to=seal)
    finally:
        case.server.unseal()
    assert place.rows() == before
    assert keys.ring.lifecycle.rewrap(actor=ADMIN, to=case.provider()) == len(before)
    with pytest.raises(IntegrityError, match="Open this home with the key provider 'vault'"):
        place.keys(local).ring.open_data_key(kept.wrapped, SNAPSHOT)
    kept.require(place.keys(case.provider()))


def test_vaults_key_is_rotated_in_the_middle_of_wrapping_anew(case: VaultCase, place: Place) -> None:
    keys = place.keys(case.provider())
    kept = Kept.made(keys.ring)
    rotating = Interrupted(case.provider(), 4, lambda: case.transit.rotate_key(case.tenant.name))
    place.keys(rotating).ring.lifecycle.rewrap(actor=ADMIN)
    versions = {row.wrapped[:9] for row in place.rows()}
    assert versions == {b"vault:v1:", b"vault:v2:"}
    keys.ring.lifecycle.rewrap(actor=ADMIN)
    assert {row.wrapped[:9] for row in place.rows()} == {b"vault:v2:"}
    case.transit.update_key_configuration(case.tenant.name, min_decryption_version=2)
    kept.require(place.keys(case.provider()))


@pytest.mark.usefixtures("at_once")
def test_a_snapshot_that_vault_stops_at_any_call_is_not_there(case: VaultCase, place: Place) -> None:
    Kept.made(place.keys(case.provider()).ring)
    for folder in ("lake", "tmp"):
        (place.folder / folder).mkdir(mode=0o700)

    def write(provider: KeyProvider) -> None:
        keys = place.keys(provider)
        store = SnapshotStore(place.folder / "lake", place.folder / "tmp", keys.ring, keys.audit)
        with store.draft("shop", "orders", Zone.RAW, actor="service:scheduler") as draft:
            draft.write(pl.LazyFrame({"n": [1, 2]}))
            draft.commit(input_key="k", contract_version="1.0.0", contract_digest="d", provenance={})

    def written() -> list[Path]:
        return [path for folder in ("lake", "tmp") for path in (place.folder / folder).rglob("*.parquet")]

    told: list[str] = []
    while not written():
        try:
            write(Interrupted(case.provider(), len(told) + 1, case.tenant.admin.sys.seal))
        except ServiceError as error:
            told.append(str(error))
            case.server.unseal()
    assert len(told) >= 3
    assert all("Unseal it" in each for each in told)
    place.keys(case.provider()).audit.verify()
