"""After the root key or the provider is lost, a backup lets all data be read again."""

import json
from pathlib import Path
from typing import Any

import pytest
from built_home import PRODUCT, Built
from cli_support import Cli
from key_servers import Tenant, VaultServer

from secure_platform.orchestration.steps.deploy import deploy
from secure_platform.store.snapshot import Zone

pytestmark = pytest.mark.slow

PASSPHRASE = "slow brass otter 9 kites"


@pytest.fixture
def deployed(built: Built) -> Built:
    built.approve()
    deploy(built.services, built.product)
    return built


@pytest.fixture
def given(tmp_path: Path) -> tuple[str, str]:
    path = tmp_path / "passphrase"
    path.write_text(f"{PASSPHRASE}\n")
    path.chmod(0o600)
    return "--passphrase-file", str(path)


def do(cli: Cli, *words: str, token: str | None = "admin") -> Any:
    result = cli(*words, "--json", token=token)
    assert result.code == 0, result.out + result.err
    return result.json


def everything(built: Built) -> dict[str, Any]:
    """Every row of every snapshot, what is kept as a secret, and why the release was approved."""
    services, rows = built.services, {}
    for sidecar in sorted((built.home / "lake").rglob("sidecar.json")):
        product, zone, dataset, snapshot_id = sidecar.relative_to(built.home / "lake").parts[:4]
        loaded = services.store.load(product, dataset, Zone(zone), snapshot_id)
        rows[snapshot_id] = services.store.scan(loaded).collect().to_dicts()
    assert len(rows) > 10
    reasons = [each.reason for each in services.gate.approvals(built.newest().digest)]
    return {"rows": rows, "reasons": reasons, "secret": services.local_secrets.read("mail").value}


def keep_a_secret(built: Built) -> None:
    built.services.local_secrets.set("mail", b"hunter2", actor="admin")


def destroy_a_key(built: Built) -> None:
    """It stays with the provider that the others leave."""
    keys = built.services.keys
    keys.cell_key("former")
    keys.lifecycle.rotate("cell/former", actor="admin")
    keys.lifecycle.destroy("cell/former", 1, actor="petra")


def read_again(built: Built, before: dict[str, Any]) -> None:
    assert everything(built) == before
    cli = Cli(built.home)
    assert do(cli, "release", "verify", PRODUCT, token=None)["verified"]
    do(cli, "audit", "verify", token=None)
    services = built.services
    assert services.target.current(PRODUCT) is not None
    assert do(cli, "keys", "check", token=None)["unsaved"] == []


def test_all_data_is_read_again_after_the_root_key_was_lost(
    deployed: Built, given: tuple[str, str], tmp_path: Path
) -> None:
    cli, file = Cli(deployed.home), str(tmp_path / "keys.backup")
    keep_a_secret(deployed)
    do(cli, "keys", "backup", file, *given)
    before = everything(deployed)
    (deployed.home / "keys" / "root.key").unlink()
    for lost in (("release", "verify", PRODUCT), ("keys", "check"), ("audit", "verify")):
        assert cli(*lost, "--json").code == 5
    do(cli, "keys", "restore", file, *given, token=None)
    read_again(deployed, before)


def test_a_backup_made_before_the_root_key_was_renewed_still_opens_all(
    deployed: Built, given: tuple[str, str], tmp_path: Path
) -> None:
    cli, file = Cli(deployed.home), str(tmp_path / "keys.backup")
    keep_a_secret(deployed)
    do(cli, "keys", "backup", file, *given)
    before = everything(deployed)
    do(cli, "keys", "rewrap")
    do(cli, "keys", "rewrap")
    (deployed.home / "keys" / "root.key").unlink()
    do(cli, "keys", "restore", file, *given, token=None)
    read_again(deployed, before)


def move_to_vault(cli: Cli, tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECURE_PLATFORM_VAULT", tenant.settings.model_dump_json())
    do(cli, "keys", "rewrap", "--to", "vault")
    monkeypatch.setenv("SECURE_PLATFORM_KEYS", json.dumps({"provider": "vault"}))


@pytest.mark.system
def test_keys_of_a_vault_that_is_gone_come_back_into_the_home(
    deployed: Built,
    given: tuple[str, str],
    vault_tenant: Tenant,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cli, file = Cli(deployed.home), str(tmp_path / "keys.backup")
    keep_a_secret(deployed)
    destroy_a_key(deployed)
    move_to_vault(cli, vault_tenant, monkeypatch)
    do(cli, "keys", "backup", file, *given)
    before = everything(deployed)
    monkeypatch.delenv("SECURE_PLATFORM_VAULT")
    monkeypatch.delenv("SECURE_PLATFORM_KEYS")
    do(cli, "keys", "restore", file, *given, token=None)
    read_again(deployed, before)


@pytest.mark.system
def test_a_backup_older_than_a_key_of_vault_says_so_and_changes_nothing(
    deployed: Built,
    given: tuple[str, str],
    vault_tenant: Tenant,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cli, old, new = Cli(deployed.home), str(tmp_path / "old"), str(tmp_path / "new")
    keep_a_secret(deployed)
    move_to_vault(cli, vault_tenant, monkeypatch)
    do(cli, "keys", "backup", old, *given)
    do(cli, "keys", "rotate", "data")
    do(cli, "keys", "backup", new, *given)
    monkeypatch.delenv("SECURE_PLATFORM_VAULT")
    monkeypatch.delenv("SECURE_PLATFORM_KEYS")
    refused = cli("keys", "restore", old, *given, "--json")
    assert (refused.code, refused.json["culprit"]) == (5, "The backup is older than version 2 of key 'data'")
    before = (deployed.home / "control.db").read_bytes()
    assert cli("keys", "restore", old, *given).code == 5
    assert (deployed.home / "control.db").read_bytes() == before
    do(cli, "keys", "restore", new, *given, token=None)
    assert do(cli, "release", "verify", PRODUCT, token=None)["verified"]


@pytest.fixture
def vault_tenant(vault_server: VaultServer, tmp_path: Path) -> Tenant:
    return vault_server.tenant(tmp_path)
