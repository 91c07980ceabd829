"""What docs/key-providers.md says of rights, settings and errors is what is needed, read and said."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from key_servers import AwsServer, VaultServer
from provider_document import TEXT, examples

from secure_platform.key_settings import AwsSettings, VaultSettings
from secure_platform.keys.provider import KeyProvider
from secure_platform.keys.providers.aws import AwsKeyProvider
from secure_platform.keys.providers.aws_session import AwsSession
from secure_platform.keys.providers.vault import VaultKeyProvider
from secure_platform.keys.providers.vault_session import VaultSession
from secure_platform.keys.signing import verify_pem
from secure_platform.settings import PACKAGE, Settings, load_settings

CONTEXT = {"name": "data", "version": "1"}
PROVIDERS = PACKAGE / "keys" / "providers"


def works(provider: KeyProvider) -> None:
    plaintext, generated = provider.generate(CONTEXT)
    assert provider.unwrap(generated, context=CONTEXT) == plaintext
    assert provider.unwrap(provider.wrap(b"secret", context=CONTEXT), context=CONTEXT) == b"secret"


def test_the_policy_for_vault_is_enough(vault_server: VaultServer, tmp_path: Path) -> None:
    (policy,) = examples("hcl")
    tenant = vault_server.tenant(tmp_path, policy=policy_of(policy))
    settings = tenant.settings.model_copy(update={"signing_key": f"{tenant.name}-sign"})
    provider = VaultKeyProvider(VaultSession(settings))
    works(provider)
    rewrapped = provider.rewrap(provider.wrap(b"secret", context=CONTEXT), context=CONTEXT)
    assert provider.unwrap(rewrapped, context=CONTEXT) == b"secret"
    signer = provider.signer()
    assert signer is not None
    verify_pem(signer.public_key_pem, b"message", signer.sign(b"message").value)


def policy_of(text: str) -> str:
    """The policy with the name of a tenant in place of the platform's."""
    return re.sub(r"[{}]", r"\g<0>\g<0>", text).replace("secure-platform", "{name}")


@pytest.mark.usefixtures("aws_credentials")
def test_the_policy_for_aws_is_enough_to_wrap(
    ministack_server: AwsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ministack enforces it, but cannot sign or encrypt anew."""
    settings, rights = ministack_server.settings(), ministack_server.client("iam")
    (text,) = examples("json")
    policy = json.loads(text)
    assert policy["Statement"][0]["Action"][-1] == "kms:ReEncrypt*"
    assert policy["Statement"][1]["Action"] == ["kms:Sign", "kms:GetPublicKey"]
    policy["Statement"][0]["Resource"] = settings.key_id
    rights.create_user(UserName="documented")
    rights.put_user_policy(UserName="documented", PolicyName="kms", PolicyDocument=json.dumps(policy))
    made = rights.create_access_key(UserName="documented")["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", made["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", made["SecretAccessKey"])
    works(AwsKeyProvider(AwsSession(settings)))


@pytest.mark.parametrize("number", range(3))
def test_the_settings_are_read(number: int, tmp_path: Path) -> None:
    given: dict[str, Any] = yaml.safe_load(examples("yaml")[number])
    settings: Settings = load_settings(home=tmp_path, **given)
    assert settings.keys.provider == ("vault", "aws", "hsm")[number]
    assert isinstance(
        (settings.vault, settings.aws, settings.keys.options)[number], (VaultSettings, AwsSettings, dict)
    )


def test_each_error_in_the_table_is_one_that_is_said() -> None:
    said = "".join(path.read_text("utf-8") for path in PROVIDERS.glob("vault*.py"))
    said += (PROVIDERS / "aws_errors.py").read_text("utf-8")
    (rows,) = re.findall(r"\| it says \| do \|\n\|---\|---\|\n((?:\|.*\n)+)", TEXT)
    phrases = re.findall(r"`([^`]+)`", "".join(row.split("|")[1] for row in rows.splitlines()))
    assert len(phrases) >= 15
    missing = [each for each in phrases if each.removesuffix(" …/login") not in said]
    assert not missing
