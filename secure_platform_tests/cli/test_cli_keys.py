"""`keys` from the command line: what it shows, what it asks, and what it never shows."""

import json
from datetime import timedelta
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest
from cli_support import Cli, execute

from secure_platform.control.database import utc_now


@pytest.fixture
def staffed(cli: Cli) -> Cli:
    cli.add("petra", "privacy_officer")
    cli.add("dan", "data_engineer")
    return cli


def test_list_shows_every_version_without_material(cli: Cli) -> None:
    shown = cli("keys", "list", "--json", token="admin")
    assert shown.code == 0
    names = {key["name"] for key in shown.json["keys"]}
    assert {"data", "mac", "sign", "log", "digest", "subject"} <= names
    assert all(key["state"] == "active" and key["due"] is None for key in shown.json["keys"])
    assert "wrapped" not in shown.out
    assert shown.json["last_backup"] is None
    assert set(shown.json["unsaved"]) == names
    text = cli("keys", "list", token="admin").out
    assert "In no backup, and lost with this home" in text


def test_who_may_not_look_is_told_so(staffed: Cli) -> None:
    for token in ("dan", None):
        refused = staffed("keys", "list", token=token)
        assert (refused.code, refused.out) == (4, "")


def test_a_key_is_rotated_disabled_and_destroyed(staffed: Cli) -> None:
    assert staffed("keys", "rotate", "data", "--json", token="admin").json["made"][0]["version"] == 2
    shown = staffed("keys", "show", "data", "--json", token="admin").json
    assert [each["state"] for each in shown["versions"]] == ["decrypt-only", "active"]
    disabled = staffed("keys", "disable", "data", "1", "--json", token="admin")
    assert (disabled.code, disabled.json["state"]) == (0, "disabled")
    alone = staffed("keys", "destroy", "data", "1", "--yes-destroy", "data", token="admin")
    assert alone.code == 4
    assert "another administrator or privacy officer" in alone.err
    unnamed = staffed("keys", "destroy", "data", "1", "--yes-destroy", "mac", token="petra")
    assert unnamed.code == 2
    destroyed = staffed("keys", "destroy", "data", "1", "--yes-destroy", "data", "--json", token="petra")
    assert (destroyed.code, destroyed.json["state"], destroyed.json["lost"]) == (0, "destroyed", {})
    assert staffed("keys", "enable", "data", "1", token="admin").code == 2


def test_destroying_asks_for_the_name(staffed: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    staffed("keys", "rotate", "data", token="admin")
    staffed("keys", "disable", "data", "1", token="admin")
    for typed, code in (("yes", 2), ("data", 0)):
        monkeypatch.setattr("click.prompt", lambda *_, typed=typed, **__: typed)
        result = staffed("keys", "destroy", "data", "1", token="petra")
        assert result.code == code
        assert "Version 1 of data wraps the key of each snapshot" in result.out


def test_a_version_that_is_in_use_is_counted_and_named(cli: Cli) -> None:
    cli("keys", "rotate", "mac", token="admin")
    shown = cli("keys", "show", "mac", "--json", token="admin").json
    assert shown["versions"][0]["needed_by"]["rows of principal"] >= 3
    refused = cli("keys", "disable", "mac", "1", token="admin")
    assert refused.code == 4
    assert "principal" in refused.err


def test_secrets_that_need_a_version_are_counted(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(b"hunter2")))
    assert cli("secret", "set", "mail", token="admin").code == 0
    cli("keys", "rotate", "data", token="admin")
    shown = cli("keys", "show", "data", "--json", token="admin").json
    assert [each["needed_by"].get("secrets of this home") for each in shown["versions"]] == [1, None]


def test_what_is_due_is_told_and_rotated(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECURE_PLATFORM_KEYS", '{"rotate_after_days": {"data": 1, "token": 1}}')
    later = utc_now() + timedelta(days=1)
    monkeypatch.setattr("secure_platform.access.custody.utc_now", lambda: later)
    assert [each["name"] for each in cli("keys", "check", "--json").json["due"]] == ["data"]
    assert "data is due by age" in cli("keys", "check").out
    made = cli("keys", "rotate", "--due", "--json", token="admin").json["made"]
    assert [(each["name"], each["version"]) for each in made] == [("data", 2)]
    keys = cli("keys", "list", "--json", token="admin").json["keys"]
    assert [key["due"] for key in keys if key["name"] != "data"] == [None] * (len(keys) - 2)


def test_check_opens_every_version_and_needs_no_token(cli: Cli) -> None:
    checked = cli("keys", "check", "--json")
    assert checked.code == 0
    assert (checked.json["provider"], checked.json["retired"], checked.json["due"]) == ("local", [], [])
    (cli.home / "keys" / "root.key").write_bytes(bytes(32))
    broken = cli("keys", "check", "--json")
    assert broken.code == 5
    assert "root.key" in broken.json["culprit"]


def test_rotate_wants_one_name_or_those_that_are_due(cli: Cli) -> None:
    assert cli("keys", "rotate", token="admin").code == 2
    assert cli("keys", "rotate", "data", "--due", token="admin").code == 2
    assert cli("keys", "rotate", "--due", "--json", token="admin").json == {"made": [], "problems": []}
    assert cli("keys", "rotate", "nothing", token="admin").code == 2


def test_posture_says_what_is_approved(cli: Cli) -> None:
    rows = {row["name"]: row for row in cli("keys", "posture", "--json").json}
    assert rows["AES-256-GCM"]["fips"]
    assert not rows["scrypt"]["fips"]


def test_rewrapping_changes_no_key(cli: Cli) -> None:
    before = cli("keys", "list", "--json", token="admin").json["keys"]
    assert cli("keys", "rewrap", "--json", token="admin").json["versions"] == len(before)
    after = cli("keys", "list", "--json", token="admin").json["keys"]
    assert [(key["name"], key["version"], key["state"]) for key in after] == [
        (key["name"], key["version"], key["state"]) for key in before
    ]
    assert cli("keys", "check").code == 0


def test_a_passphrase_is_no_argument_and_no_variable(cli: Cli, tmp_path: Path) -> None:
    target = tmp_path / "b"
    for given in (["--passphrase", "slow brass otter 9 kites"], ["slow brass otter 9 kites"]):
        assert cli("keys", "backup", str(target), *given, token="admin").code == 2
    token = str(cli.home / "keys" / "admin.token")
    names = ("PASSPHRASE", "SECURE_PLATFORM_PASSPHRASE", "SECURE_PLATFORM_KEYS_BACKUP_PASSPHRASE_FILE")
    environment = dict.fromkeys(names, "slow brass otter 9 kites")
    asked = execute(
        "--token-file", token, "keys", "backup", str(target), home=cli.home, environment=environment
    )
    assert asked.code == 2
    assert "no terminal to ask" in asked.err
    assert not target.exists()


def test_keys_in_no_backup_are_told_at_the_start(cli: Cli, tmp_path: Path) -> None:
    told = cli("init")
    assert "keys backup" in told.out
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("slow brass otter 9 kites\n")
    passphrase.chmod(0o600)
    given = ["--passphrase-file", str(passphrase)]
    made = cli("keys", "backup", str(tmp_path / "b"), *given, "--json", token="admin")
    assert made.code == 0
    assert cli("keys", "list", "--json", token="admin").json["unsaved"] == []
    assert "In no backup" not in cli("init").out
    assert json.dumps(made.json).count("otter") == 0
