"""The main job on the command line, with keys that Vault or AWS keeps: settings alone make the difference."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli_support import Cli, clean_environment
from key_servers import Tenant, VaultServer

from secure_platform.sample.generate import generate

pytestmark = [pytest.mark.slow, pytest.mark.system]

PRODUCT = "healthcare"
PATIENTS = 30


def settings_file(directory: Path, **settings: Any) -> Path:
    """A `platform.yaml`."""
    path = directory / "platform.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def vault_settings(tenant: Tenant) -> dict[str, Any]:
    return {**tenant.settings.model_dump(mode="json"), "signing_key": f"{tenant.name}-sign"}


class Line:
    """A home and its source."""

    def __init__(self, directory: Path) -> None:
        self.source = directory / "source"
        self.cli = Cli(directory / "home")
        generate(self.source, patients=PATIENTS)

    def people(self) -> None:
        assert self.cli("init").code == 0
        self.cli.add("dana", "data_engineer")
        self.cli.add("sam", "data_steward")
        self.cli.add("ana", "analyst")

    def built(self) -> None:
        result = self.cli("run", PRODUCT, "--source", str(self.source), "--json", token="dana")
        assert result.code == 0, result.out + result.err

    def approved(self) -> None:
        result = self.cli("release", "approve", PRODUCT, "--reason", "reviewed", token="sam")
        assert result.code == 0, result.out + result.err

    def deployed(self) -> None:
        result = self.cli("deploy", PRODUCT, "--json")
        assert result.code == 0, result.out + result.err

    def verified(self) -> None:
        result = self.cli("release", "verify", PRODUCT, "--json")
        assert result.code == 0, result.out + result.err

    def asked(self) -> Any:
        question = "select count(*) as n from patient_summary"
        result = self.cli("sql", PRODUCT, question, "--purpose", "research", "--json", token="ana")
        assert result.code == 0, result.out + result.err
        return result.json

    def whole(self) -> None:
        self.people()
        self.built()
        self.approved()
        self.deployed()


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    with clean_environment():
        yield Line(tmp_path)


def choose(directory: Path, **settings: Any) -> None:
    """From here on, these settings."""
    os.environ["SECURE_PLATFORM_CONFIG"] = str(settings_file(directory, **settings))


def test_the_whole_way_with_keys_in_vault(line: Line, vault_server: VaultServer, tmp_path: Path) -> None:
    tenant = vault_server.tenant(tmp_path)
    choose(tmp_path, keys={"provider": "vault"}, vault=vault_settings(tenant))
    line.whole()
    line.verified()
    assert line.asked()
    assert not (line.cli.home / "keys" / "root.key").exists()
