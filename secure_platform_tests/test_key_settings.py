"""Every setting about keys and secrets is in the document, and the documents' settings are settings."""

import re
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel, ValidationError
from secrets_document import documented

from secure_platform.key_settings import (
    AwsSettings,
    KeySettings,
    LocalKeySettings,
    RotatedSecret,
    SecretSettings,
    VaultSettings,
)
from secure_platform.keys.catalog import ALGORITHMS
from secure_platform.settings import PACKAGE, load_settings

DOCS = PACKAGE.parent / "docs"
PARTS: dict[str, type[BaseModel]] = {
    "keys": KeySettings,
    "keys.local": LocalKeySettings,
    "vault": VaultSettings,
    "aws": AwsSettings,
    "secrets": SecretSettings,
}


@pytest.mark.parametrize("part", PARTS)
def test_every_field_is_documented(part: str) -> None:
    section = (DOCS / "settings.md").read_text("utf-8").partition("## Keys and secrets")[2]
    first_cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    named = {name for cell in first_cells if f"`{part}." in cell for name in re.findall(r"`([\w.]+)`", cell)}
    fields = {name.removeprefix(f"{part}.") for name in named}
    missing = {name for name in PARTS[part].model_fields if (part, name) != ("keys", "local")} - fields
    assert missing == set()


def test_the_settings_of_the_document_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "platform.yaml").write_text(documented("yaml"), "utf-8")
    monkeypatch.setenv("SECURE_PLATFORM_PROJECT", str(tmp_path))
    settings = load_settings()
    assert settings.secrets.environment["reports"]["MAIL_PASSWORD"].endswith("mail#password")
    assert [type(each) for each in settings.secrets.rotated] == [RotatedSecret] * 3
    assert settings.vault is not None
    assert settings.vault.ca == tmp_path / "vault-ca.pem"


def test_a_kind_of_key_that_does_not_exist_has_no_age() -> None:
    for kind in ALGORITHMS:
        assert KeySettings(rotate_after_days={kind: 90}).rotate_after_days == {kind: 90}
    for kind in ("signing", "token/patient", ""):
        with pytest.raises(ValidationError):
            KeySettings(rotate_after_days={kind: 90})


def test_what_cannot_be_rotated_from_here_is_not_rotated_by_schedule() -> None:
    assert RotatedSecret(secret="secret://local/mail").every_days == 30
    for reference in ("secret://file//run/x", "secret://env/X"):
        with pytest.raises(ValidationError, match="where it was made"):
            RotatedSecret(secret=reference)


@pytest.mark.parametrize("document", ["notices.md", "identity.md"])
def test_the_settings_of_other_documents_are_read(
    document: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = re.findall(
        r"^```yaml\n(.*?)^```$", (DOCS / document).read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    assert blocks
    monkeypatch.setenv("SECURE_PLATFORM_PROJECT", str(tmp_path))
    for block in blocks:
        if isinstance(yaml.safe_load(block), dict):
            (tmp_path / "platform.yaml").write_text(block, "utf-8")
            load_settings()


@pytest.mark.parametrize(
    "address", ["https://user:canary@vault.example.org", "https://canary@127.0.0.1:8200"]
)
def test_a_secret_in_an_address_is_refused_and_not_repeated(address: str) -> None:
    """Errors name the address."""
    with pytest.raises(ValidationError, match="no user name or password") as refusal:
        VaultSettings(address=address, role_id="secret://env/R", secret_id="secret://env/S")
    assert "canary" not in str(refusal.value)
