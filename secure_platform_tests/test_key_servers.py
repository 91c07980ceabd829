"""The servers of the tests are real, and each test has its own corner of them."""

from pathlib import Path

import pytest
from key_servers import AwsServer, VaultServer


def test_a_tenant_sees_its_own_and_nothing_else(vault_server: VaultServer, tmp_path: Path) -> None:
    import hvac

    tenant, other = vault_server.tenant(tmp_path), vault_server.tenant(tmp_path)
    client = hvac.Client(url=vault_server.address, verify=str(vault_server.ca))
    role = (tmp_path / f"{tenant.name}.role").read_text()
    client.auth.approle.login(role, (tmp_path / f"{tenant.name}.secret").read_text())
    answer = client.secrets.transit.encrypt_data(tenant.name, "cGxhaW4=")
    assert answer["data"]["ciphertext"].startswith("vault:v1:")
    with pytest.raises(hvac.exceptions.Forbidden):
        client.secrets.transit.encrypt_data(other.name, "cGxhaW4=")
    assert vault_server.requests(f"transit/encrypt/{tenant.name}") == [f"transit/encrypt/{tenant.name}"]


def test_a_tenant_lives_in_a_namespace(vault_server: VaultServer, tmp_path: Path) -> None:
    tenant = vault_server.tenant(tmp_path, namespace="team")
    assert tenant.settings.namespace == "team"
    assert tenant.admin.secrets.transit.read_key(tenant.name)["data"]["name"] == tenant.name


def test_a_sealed_server_serves_again(vault_server: VaultServer, tmp_path: Path) -> None:
    import hvac

    tenant = vault_server.tenant(tmp_path)
    with vault_server.sealed(), pytest.raises(hvac.exceptions.VaultDown):
        tenant.new_secret_id()
    assert tenant.new_secret_id()


@pytest.mark.parametrize("name", ["moto_server", "ministack_server"])
def test_an_emulator_wraps(name: str, request: pytest.FixtureRequest) -> None:
    server: AwsServer = request.getfixturevalue(name)
    kms = server.client("kms")
    blob = kms.encrypt(KeyId=server.settings().key_id, Plaintext=b"plain")["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"plain"


def test_an_emulator_signs(moto_server: AwsServer) -> None:
    key, kms = moto_server.signing_key(), moto_server.client("kms")
    assert kms.sign(KeyId=key, Message=b"m", SigningAlgorithm="ECDSA_SHA_256")["Signature"]
