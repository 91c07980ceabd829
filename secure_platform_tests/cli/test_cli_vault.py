"""The main job on the command line with keys that Vault keeps: settings alone make the difference.

What opens nothing here leaves what is in production as it is.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from built_home import Built
from cli_support import Cli, clean_environment
from key_servers import AwsServer, Tenant, VaultServer
from loopback_servers import Inbox, http_server

from secure_platform.errors import IntegrityError
from secure_platform.orchestration.steps.context import StepContext
from secure_platform.orchestration.steps.protect import protect
from secure_platform.orchestration.steps.pull import pull
from secure_platform.sample.generate import generate

pytestmark = [pytest.mark.slow, pytest.mark.system]

PRODUCT = "healthcare"
PATIENTS = 30
QUESTION = "select count(*) as n from patient_summary"


class Line:
    """A home whose settings are what was chosen last."""

    def __init__(self, home: Path, source: Path) -> None:
        self.cli = Cli(home)
        self.source = source

    def choose(self, provider: str, **settings: Any) -> None:
        """From here on, these settings."""
        path = self.cli.home.parent / "platform.yaml"
        path.write_text(yaml.safe_dump({"keys": {"provider": provider}, **settings}), encoding="utf-8")
        os.environ["SECURE_PLATFORM_CONFIG"] = str(path)

    def do(self, *words: str, token: str | None = None) -> Any:
        result = self.cli(*words, "--json", token=token)
        assert result.code == 0, result.out + result.err
        return result.json

    def build(self) -> Any:
        return self.do("run", PRODUCT, "--source", str(self.source), token="dana")

    def decide_and_deploy(self) -> None:
        self.do("release", "approve", PRODUCT, "--reason", "reviewed", token="sam")
        self.do("deploy", PRODUCT)

    def ask(self) -> Any:
        """What production says, after it was verified."""
        self.do("release", "verify", PRODUCT)
        return self.do("sql", PRODUCT, QUESTION, "--purpose", "research", token="ana")


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    with clean_environment():
        yield


@pytest.fixture
def tenant(vault_server: VaultServer, tmp_path: Path) -> Tenant:
    return vault_server.tenant(tmp_path)


def vault_settings(tenant: Tenant) -> dict[str, Any]:
    return {**tenant.settings.model_dump(mode="json"), "signing_key": f"{tenant.name}-sign"}


def channel(inbox: Inbox, name: str, secret: str) -> dict[str, Any]:
    slack = {"name": name, "kind": "slack", "url": inbox.url, "allow": ["127.0.0.0/8"]}
    return {**slack, "secret": secret, "events": ["release.pending"]}


@pytest.mark.usefixtures("aws_credentials")
def test_the_whole_way_with_keys_and_secrets_in_vault_and_aws(
    vault_server: VaultServer, tenant: Tenant, moto_server: AwsServer, tmp_path: Path
) -> None:
    """Vault wraps the keys and signs the release; channels get their secrets from Vault and AWS."""
    line = Line(tmp_path / "home", tmp_path / "source")
    generate(line.source, patients=PATIENTS)
    moto_server.client("secretsmanager").create_secret(Name=tenant.name, SecretString="A0/of-aws")
    path = f"{tenant.name}/slack"
    tenant.admin.secrets.kv.v2.create_or_update_secret(path, {"url": "V0/of-vault"})
    with http_server() as inbox:
        line.choose(
            "vault",
            vault=vault_settings(tenant),
            aws=moto_server.settings().model_dump(mode="json"),
            channels=[
                channel(inbox, "by-vault", f"secret://vault/secret/{path}#url"),
                channel(inbox, "by-aws", f"secret://aws/{tenant.name}"),
            ],
        )
        assert line.cli("init").code == 0
        for name, role in (("dana", "data_engineer"), ("sam", "data_steward"), ("ana", "analyst")):
            line.cli.add(name, role)
        line.build()
        notices = line.do("notify", "deliver", token="admin")
    assert {notice["state"] for notice in notices} == {"delivered"}
    assert {path for path, _, _ in inbox.received} == {"/hook/V0/of-vault", "/hook/A0/of-aws"}
    with vault_server.sealed():
        refused = line.cli("release", "approve", PRODUCT, "--reason", "x", "--json", token="sam")
    assert refused.code != 0
    assert "Unseal it" in refused.json["fix"]
    line.decide_and_deploy()
    assert line.ask() == [{"n": PATIENTS}]
    assert not (line.cli.home / "keys" / "root.key").exists()
    keys = {key["name"]: key for key in line.do("keys", "list", token="admin")["keys"]}
    assert keys["sign"]["reference"] == f"{tenant.name}-sign:1"
    assert {key["provider"] for key in keys.values()} == {"vault"}


@pytest.mark.usefixtures("aws_credentials")
def test_a_home_moves_to_vault_and_on_to_aws_and_goes_on(
    built: Built, tenant: Tenant, moto_server: AwsServer
) -> None:
    """The release that waited is deployed; what was there is read; what changed gets the same tokens."""
    line = Line(built.home, built.source)
    both = {"vault": vault_settings(tenant), "aws": moto_server.settings().model_dump(mode="json")}
    line.choose("local", **both)
    line.cli.add("ana", "analyst")
    line.do("keys", "rewrap", "--to", "vault", token="admin")
    stayed = line.cli("keys", "check", "--json")
    assert stayed.code != 0
    assert "Open this home with the key provider 'vault'" in stayed.json["fix"]
    (line.cli.home / "keys" / "root.key").unlink()
    line.choose("vault", **both)
    line.decide_and_deploy()
    before, tokens = line.ask(), rebuilt(built, "Springfield")
    line.do("keys", "rotate", "sign", token="admin")
    line.do("keys", "rewrap", "--to", "aws", token="admin")
    line.choose("aws", **both)
    assert line.ask() == before
    assert rebuilt(built, "Shelbyville") == tokens
    with pytest.raises(IntegrityError, match=r"is held by vault.*keys rotate sign"):
        built.services.keys.sign(b"a release")
    line.do("keys", "rotate", "sign", token="admin")
    keys = line.do("keys", "list", token="admin")["keys"]
    assert [key["provider"] for key in keys if key["name"] == "sign"] == ["aws", "vault", "aws"]


def rebuilt(built: Built, city: str) -> list[str]:
    """The tokens of the patients, after all moved to this city; written anew with the keys of now."""
    patients = pl.read_csv(built.source / "patients.csv", infer_schema=False)
    patients.with_columns(CITY=pl.lit(city)).write_csv(built.source / "patients.csv")
    context = StepContext(built.services, built.product, city, "dana", built.source)
    assert not pull(context, "patients").snapshot.reused
    snapshot = protect(context, "patients").snapshot
    return context.services.store.scan(snapshot).select("Id").collect()["Id"].sort().to_list()
