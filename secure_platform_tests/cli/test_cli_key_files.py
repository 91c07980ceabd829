"""Keys are backed up, lost and restored; and a passphrase protects the root key."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from cli_support import Cli

from secure_platform.homes import INITIALISED

PASSPHRASE = "slow brass otter 9 kites"


@pytest.fixture
def passphrase(tmp_path: Path) -> Path:
    return written(tmp_path / "passphrase", PASSPHRASE)


def written(path: Path, text: str) -> Path:
    path.write_text(f"{text}\n")
    path.chmod(0o600)
    return path


def back_up(cli: Cli, to: Path, passphrase: Path) -> Path:
    made = cli("keys", "backup", str(to), "--passphrase-file", str(passphrase), token="admin")
    assert made.code == 0, made.err
    return to


def restore(cli: Cli, file: Path, passphrase: Path, *options: str) -> tuple[int, str]:
    result = cli("keys", "restore", str(file), "--passphrase-file", str(passphrase), *options)
    return result.code, result.err or result.out


def lose(home: Path) -> bytes:
    path = home / "keys" / "root.key"
    root = path.read_bytes()
    path.unlink()
    return root


@pytest.fixture(scope="session")
def backed_up(parsed_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home and a backup of its keys, both only copied: stretching a passphrase takes long."""
    root = tmp_path_factory.mktemp("backed-up")
    cli = Cli(Path(shutil.copytree(parsed_home, root / "home")))
    back_up(cli, root / "keys.backup", written(root / "passphrase", PASSPHRASE))
    return root


@pytest.fixture
def home(backed_up: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(backed_up / "home", tmp_path / "home"))


@pytest.fixture
def file(backed_up: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(backed_up / "keys.backup", tmp_path / "keys.backup"))


def test_a_backup_is_private_and_tells_nothing(cli: Cli, file: Path) -> None:
    assert file.stat().st_mode & 0o777 == 0o600
    assert (cli.home / "keys" / "root.key").read_bytes() not in file.read_bytes()
    assert [path.name for path in file.parent.iterdir() if "backup" in path.name] == ["keys.backup"]


def test_a_backup_replaces_nothing_and_is_not_made_in_the_home(
    cli: Cli, file: Path, passphrase: Path
) -> None:
    before = file.read_bytes()
    for target in (file, cli.home / "b", cli.home / "keys" / ".." / "b", file.parent / "none" / "b"):
        given = ["--passphrase-file", str(passphrase)]
        assert cli("keys", "backup", str(target), *given, token="admin").code == 2
    (file.parent / "link").symlink_to(cli.home)
    inside = cli("keys", "backup", str(file.parent / "link" / "b"), *given, token="admin")
    assert inside.code == 2
    assert file.read_bytes() == before
    assert not (cli.home / "b").exists()


def test_only_an_administrator_takes_keys_out(cli: Cli, tmp_path: Path, passphrase: Path) -> None:
    cli.add("petra", "privacy_officer")
    for token in ("petra", "deployer", None):
        target = tmp_path / "stolen"
        result = cli("keys", "backup", str(target), "--passphrase-file", str(passphrase), token=token)
        assert result.code == 4
        assert not target.exists()


def test_a_weak_or_open_passphrase_is_refused(cli: Cli, tmp_path: Path) -> None:
    weak = written(tmp_path / "weak", "backup")
    shared = written(tmp_path / "shared", PASSPHRASE)
    shared.chmod(0o644)
    for source in (weak, shared, tmp_path / "missing"):
        given = ["--passphrase-file", str(source)]
        assert cli("keys", "backup", str(tmp_path / "b"), *given, token="admin").code == 2
    assert not (tmp_path / "b").exists()


def test_a_passphrase_is_read_from_a_descriptor(cli: Cli, tmp_path: Path, passphrase: Path) -> None:
    with passphrase.open("rb") as opened:
        given = ["--passphrase-fd", str(opened.fileno())]
        made = cli("keys", "backup", str(tmp_path / "b"), *given, token="admin")
    assert made.code == 0
    assert restore(cli, tmp_path / "b", passphrase, "--check")[0] == 0
    assert cli("keys", "restore", str(tmp_path / "b"), "--passphrase-fd", "777").code == 2


def test_a_lost_root_key_comes_back(cli: Cli, file: Path, passphrase: Path) -> None:
    before = cli("keys", "list", "--json", token="admin").json["keys"]
    lose(cli.home)
    assert cli("keys", "list", token="admin").code == 5
    assert restore(cli, file, passphrase)[0] == 0
    after = cli("keys", "list", "--json", token="admin").json["keys"]
    stays = ("name", "version", "state", "public_key", "created_at")
    assert [[key[name] for name in stays] for key in after] == [
        [key[name] for name in stays] for key in before
    ]
    assert cli("audit", "verify").code == 0
    assert (cli.home / "keys" / "root.key").stat().st_mode & 0o777 == 0o600
    tail = cli("audit", "tail", "--count", "3", "--json", token="admin").json
    assert any(entry["action"] == "key.restore" for entry in tail)


def test_an_old_backup_opens_what_was_made_after_it(cli: Cli, file: Path, passphrase: Path) -> None:
    """The root key is in it."""
    assert cli("keys", "rotate", "data", token="admin").code == 0
    lose(cli.home)
    assert restore(cli, file, passphrase)[0] == 0
    assert cli("keys", "check").code == 0
    listed = cli("keys", "list", "--json", token="admin").json["keys"]
    assert [key["version"] for key in listed if key["name"] == "data"] == [1, 2]


def test_an_old_backup_brings_no_disabled_key_back(cli: Cli, file: Path, passphrase: Path) -> None:
    cli.add("petra", "privacy_officer")
    cli("keys", "rotate", "data", token="admin")
    cli("keys", "disable", "data", "1", token="admin")
    assert cli("keys", "rotate", "sign", token="admin").code == 0
    assert cli("keys", "disable", "sign", "1", token="admin").code == 0
    destroyed = cli("keys", "destroy", "data", "1", "--yes-destroy", "data", token="petra")
    assert destroyed.code == 0
    lose(cli.home)
    assert restore(cli, file, passphrase)[0] == 0
    listed = cli("keys", "list", "--json", token="admin").json["keys"]
    states = {(key["name"], key["version"]): key["state"] for key in listed}
    assert states["data", 1] == "destroyed"
    assert states["sign", 1] == "disabled"


def test_a_restore_that_was_killed_is_done_again(cli: Cli, file: Path, passphrase: Path) -> None:
    lose(cli.home)
    os.close(os.open(cli.home / "keys" / "root.key", os.O_CREAT | os.O_WRONLY, 0o600))
    assert restore(cli, file, passphrase)[0] == 0
    assert cli("keys", "check").code == 0


def test_keys_that_open_are_left_alone(cli: Cli, file: Path, passphrase: Path) -> None:
    root = (cli.home / "keys" / "root.key").read_bytes()
    code, told = restore(cli, file, passphrase)
    assert code == 2
    assert "nothing to restore" in told
    assert (cli.home / "keys" / "root.key").read_bytes() == root


def test_another_homes_keys_are_not_put_over_ours(file: Path, passphrase: Path, tmp_path: Path) -> None:
    other = Cli(tmp_path / "other")
    assert other("init").code == 0
    root = lose(other.home)
    code, told = restore(other, file, passphrase)
    assert code == 5
    assert "another home" in told
    assert not (other.home / "keys" / "root.key").exists()
    (other.home / "keys" / "root.key").write_bytes(root)
    (other.home / "keys" / "root.key").chmod(0o600)
    assert other("keys", "check").code == 0


def test_a_root_key_that_opens_nothing_is_put_aside(cli: Cli, file: Path, passphrase: Path) -> None:
    lose(cli.home)
    foreign = written(cli.home / "keys" / "root.key", "x" * 31)
    content = foreign.read_bytes()
    assert restore(cli, file, passphrase)[0] == 0
    assert cli("keys", "check").code == 0
    aside = list((cli.home / "keys").glob("root.key.unused-*"))
    assert [path.read_bytes() for path in aside] == [content]


def test_an_empty_home_gets_the_keys_and_a_log_of_its_own(
    cli: Cli, file: Path, passphrase: Path, tmp_path: Path
) -> None:
    new = Cli(tmp_path / "new")
    assert restore(new, file, passphrase)[0] == 0
    assert new("keys", "check").code == 0
    ours = {key["name"]: key for key in cli("keys", "list", "--json", token="admin").json["keys"]}
    theirs = {key["name"]: key for key in new("keys", "list", "--json", token="admin").json["keys"]}
    assert ours.keys() == theirs.keys()
    assert ours["sign"]["public_key"] == theirs["sign"]["public_key"]
    assert ours["log"]["public_key"] != theirs["log"]["public_key"]
    assert theirs["data"]["version"] == 2
    assert new("audit", "verify").code == 0


def test_a_restore_into_an_empty_home_that_was_killed_is_done_again(
    file: Path, passphrase: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, other = Cli(tmp_path / "new"), Cli(tmp_path / "other")

    def die(_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("secure_platform.orchestration.restore.prepare", die)
        restore(new, file, passphrase)
    assert not (new.home / INITIALISED).exists()
    assert other("init").code == 0
    another = back_up(other, tmp_path / "another.backup", passphrase)
    code, told = restore(new, another, passphrase)
    assert code == 5
    assert "another home" in told
    assert restore(new, file, passphrase)[0] == 0
    assert new("keys", "check").code == 0
    log = new("audit", "tail", "--count", "9", "--json", token="admin").json
    assert [entry["action"] for entry in log].count("key.restore") == 1
    code, told = restore(new, file, passphrase)
    assert code == 2
    assert "nothing to restore" in told


def test_a_home_whose_keys_were_deleted_is_not_taken_for_an_empty_one(
    cli: Cli, file: Path, passphrase: Path
) -> None:
    """Else who can empty a table would have what was disabled brought back by whoever restores."""
    with closing(sqlite3.connect(cli.home / "control.db")) as database, database:
        database.execute("CREATE TEMP TABLE kept AS SELECT * FROM key_version")
        database.execute("DELETE FROM key_version")
        database.commit()
        code, said = restore(cli, file, passphrase)
        assert (code, "has an audit log and no keys" in said) == (5, True)
        assert database.execute("SELECT count(*) FROM key_version").fetchone() == (0,)
        database.execute("INSERT INTO key_version SELECT * FROM kept")
    assert cli("keys", "check").code == 0


def test_a_wrong_passphrase_and_a_damaged_file_are_told_apart(
    cli: Cli, file: Path, passphrase: Path, tmp_path: Path
) -> None:
    lose(cli.home)
    code, told = restore(cli, file, written(tmp_path / "wrong", "quick brass otter 9 kites"))
    assert (code, "passphrase" in told) == (2, True)
    cut = tmp_path / "cut"
    cut.write_bytes(file.read_bytes()[:-20])
    code, told = restore(cli, cut, passphrase)
    assert (code, "cut off or damaged" in told) == (5, True)
    assert not (cli.home / "keys" / "root.key").exists()


def test_checking_a_backup_changes_nothing(cli: Cli, file: Path, passphrase: Path, tmp_path: Path) -> None:
    code, told = restore(cli, file, passphrase, "--check", "--json")
    assert code == 0
    assert '"restored": null' in told
    new = Cli(tmp_path / "new")
    assert restore(new, file, passphrase, "--check")[0] == 0
    assert not new.home.exists()


def test_a_passphrase_protects_the_root_key(
    cli: Cli, tmp_path: Path, passphrase: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = cli.home / "keys" / "root.key"
    root = path.read_bytes()
    given = ["--passphrase-file", str(passphrase)]
    assert cli("keys", "passphrase", "remove", token="admin").code == 2
    told = cli("keys", "passphrase", "set", *given, token="admin")
    assert told.code == 0
    assert "keys.local.passphrase" in told.out
    assert root not in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    assert cli("keys", "check").code == 2
    named = '{"local": {"passphrase": "secret://file/%s"}}'
    monkeypatch.setenv("SECURE_PLATFORM_KEYS", named % passphrase)
    assert cli("keys", "check").code == 0
    assert cli("keys", "passphrase", "set", *given, token="admin").code == 2
    new = written(tmp_path / "new", "green lamp 4 otters sing")
    changed = cli("keys", "passphrase", "change", "--passphrase-file", str(new), token="admin")
    assert changed.code == 0
    assert cli("keys", "check").code == 2
    monkeypatch.setenv("SECURE_PLATFORM_KEYS", named % new)
    assert cli("keys", "passphrase", "remove", token="admin").code == 0
    assert path.read_bytes() == root
