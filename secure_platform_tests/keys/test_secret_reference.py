"""A reference means what it says, or is none."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_platform.errors import UsageError
from secure_platform.key_settings import RotatedSecret, SecretSettings, VaultSettings
from secure_platform.secret_reference import SecretReference
from secure_platform.settings import load_settings

GOOD = {
    "secret://vault/secret/data/app#password": SecretReference("vault", "secret/data/app", "password"),
    "secret://env/DB_PASSWORD": SecretReference("env", "DB_PASSWORD"),
    "secret://file//run/secrets/x": SecretReference("file", "/run/secrets/x"),
    "secret://file/certs/a b.pem": SecretReference("file", "certs/a b.pem"),
    "secret://file/a..b/...": SecretReference("file", "a..b/..."),
    "secret://aws/arn:aws:secretsmanager:eu-central-1:1:secret:db-AbCdEf#user": SecretReference(
        "aws", "arn:aws:secretsmanager:eu-central-1:1:secret:db-AbCdEf", "user"
    ),
}
BAD = [
    "",
    "hunter2",
    "secret:/vault/x",
    "secret://",
    "secret://vault",
    "secret://vault/",
    "secret:///x",
    "secret://Vault/x",
    "secret://va ult/x",
    "SECRET://vault/x",
    " secret://vault/x",
    "secret://vault//etc/x",
    "secret://vault/x/",
    "secret://vault/x//y",
    "secret://vault/../sys/seal",
    "secret://vault/secret/../sys/raw",
    "secret://vault/secret/./x",
    "secret://vault/secret/..",
    "secret://vault/secret/ ../x",
    "secret://vault/%2e%2e/sys/seal",
    "secret://vault/secret%2fx",
    "secret://vault/secret\\..\\x",
    "secret://vault/secret?version=1",
    "secret://vault/secret#",
    "secret://vault/secret#a#b",
    "secret://vault/#a",
    "secret://vault/a\n/b",
    "secret://vault/a\x00b",
    "secret://vault/a\u200b",
    "secret://vault/a\u202eb",
    "secret://vault/x#a\nb",
    "secret://file//",
    "secret://file///etc/passwd",
    "secret://file//run/../etc/x",
    "secret://file/../x",
    "secret://vault/" + "x" * 1024,
]


@pytest.mark.parametrize("text", GOOD)
def test_a_reference_is_read_and_said_again(text: str) -> None:
    reference = SecretReference.parse(text)
    assert reference == GOOD[text]
    assert str(reference) == text


@pytest.mark.parametrize("text", BAD)
def test_anything_else_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        SecretReference.parse(text)
    assert refused.value.culprit.startswith("This ")
    assert len(text) < len("secret://v") or text not in refused.value.culprit


@given(provider=st.text(max_size=8), path=st.text(max_size=30), field=st.none() | st.text(max_size=8))
def test_whatever_is_read_stays_where_it_is(provider: str, path: str, field: str | None) -> None:
    text = f"secret://{provider}/{path}" + ("" if field is None else f"#{field}")
    try:
        reference = SecretReference.parse(text)
    except UsageError:
        return
    assert str(reference) == text
    inside = Path("/mount") / reference.path.lstrip("/")
    assert Path("/mount") in inside.resolve().parents
    assert not set(reference.path) & set("%?\\#\n\x00")


def test_a_relative_file_is_relative_to_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep").mkdir()
    config = tmp_path / "deep" / "platform.yaml"
    config.write_text(
        "vault: {address: 'https://v', role_id: 'secret://file/role', secret_id: 'secret://env/ID'}\n"
        "secrets:\n"
        "  rotated: [{secret: 'secret://vault/kv/x#y'}]\n"
        "  environment: {place: {PASSWORD: 'secret://file/sub/password', ELSE: 'secret://file//abs'}}\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("SECURE_PLATFORM_CONFIG", str(config))
    settings = load_settings(home=tmp_path / "home")
    assert settings.vault is not None
    assert settings.vault.role_id == f"secret://file/{tmp_path}/deep/role"
    assert settings.vault.secret_id == "secret://env/ID"
    assert [each.secret for each in settings.secrets.rotated] == ["secret://vault/kv/x#y"]
    assert settings.secrets.environment["place"] == {
        "PASSWORD": f"secret://file/{tmp_path}/deep/sub/password",
        "ELSE": "secret://file//abs",
    }


@pytest.mark.parametrize(
    "reference", ["secret://vault/kv/x", "secret://local/x", "hunter2", "secret://file/.."]
)
def test_what_opens_vault_is_not_in_vault(reference: str) -> None:
    with pytest.raises(ValueError, match="role_id") as refused:
        VaultSettings(address="https://v", role_id=reference, secret_id="secret://env/X")
    assert reference not in str(refused.value)


def test_a_secret_in_place_of_its_reference_is_refused_without_showing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in (
        lambda: RotatedSecret(secret="hunter2-in-the-wrong-place"),
        lambda: SecretSettings(environment={"place": {"X": "hunter2-in-the-wrong-place"}}),
    ):
        with pytest.raises(ValueError, match="reference") as refused:
            part()
        assert "hunter2" not in str(refused.value)
    monkeypatch.setenv("SECURE_PLATFORM_SECRETS", '{"rotated": [{"secret": "hunter2-in-the-wrong-place"}]}')
    with pytest.raises(UsageError, match=r"secrets\.rotated") as told:
        load_settings(home=tmp_path)
    assert "hunter2" not in str(told.value)
