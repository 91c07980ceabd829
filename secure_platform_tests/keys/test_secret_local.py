"""A secret of this home opens while it is the newest of its name; no other can take its place."""

import json
import multiprocessing
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from secure_platform.errors import IntegrityError, UsageError
from secure_platform.homes import initialise
from secure_platform.keys.secret_file import read_secret
from secure_platform.keys.secrets.local import LocalSecrets
from secure_platform.keys.secrets.secret import LARGEST
from secure_platform.services import Services
from secure_platform.settings import load_settings

CANARY = "canary-51f2b7"
NASTY = [
    "",
    "..",
    "a/b",
    "../a",
    ".a",
    "a..b",
    "A",
    "a b",
    "a\n",
    "ü",
    "a.sealed/../b",
    "x" * 200,
    "--value=x",
]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("fresh") / "home"
    initialise(load_settings(home=home))
    return home


@pytest.fixture
def home(fresh: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(fresh, tmp_path / "home"))


def local(home: Path) -> LocalSecrets:
    return Services(load_settings(home=home)).local_secrets


@pytest.fixture
def secrets(home: Path) -> LocalSecrets:
    return local(home)


@pytest.mark.parametrize(
    "value", [b"x", b"a\nb\n", b"a\x00b", bytes(range(256)) * (LARGEST // 256), "ü".encode()]
)
def test_what_was_set_is_read_byte_by_byte(secrets: LocalSecrets, home: Path, value: bytes) -> None:
    secrets.set("mail", value, actor="ada")
    assert secrets.read("mail").value == local(home).read("mail").value == value
    assert secrets.names() == ["mail"]


@pytest.mark.parametrize("value", [b"", b"x" * (LARGEST + 1)])
def test_nothing_and_too_much_are_refused(secrets: LocalSecrets, value: bytes) -> None:
    with pytest.raises(UsageError):
        secrets.set("mail", value, actor="ada")
    assert secrets.names() == []


@pytest.mark.parametrize("name", NASTY)
def test_a_name_leads_nowhere_else(secrets: LocalSecrets, name: str) -> None:
    for attempt in (
        lambda: secrets.set(name, b"x", actor="ada"),
        lambda: secrets.read(name),
        lambda: secrets.remove(name, actor="ada"),
    ):
        with pytest.raises(UsageError, match="short name") as refused:
            attempt()
        assert not name or f"{name!r}" not in str(refused.value)


def test_on_the_disk_there_is_nothing_to_read(secrets: LocalSecrets, home: Path) -> None:
    secrets.set("mail", CANARY.encode(), actor="ada")
    secrets.rotate("mail", None, actor="ada")
    secrets.set("other", CANARY.encode(), actor="ada")
    for file in home.rglob("*"):
        if file.is_file():
            assert CANARY.encode() not in file.read_bytes(), file
    assert (home / "secrets" / "mail.sealed").stat().st_mode & 0o777 == 0o600
    assert (home / "secrets").stat().st_mode & 0o777 == 0o700


def _copy(home: Path, name: str, to: str) -> None:
    shutil.copy(home / "secrets" / f"{name}.sealed", home / "secrets" / f"{to}.sealed")
    (home / "secrets" / f"{to}.sealed").chmod(0o600)


def test_an_older_file_put_back_is_refused(secrets: LocalSecrets, home: Path, tmp_path: Path) -> None:
    secrets.set("mail", b"old", actor="ada")
    shutil.copytree(home / "secrets", tmp_path / "copy")
    secrets.set("mail", b"new", actor="ada")
    shutil.copytree(tmp_path / "copy", home / "secrets", dirs_exist_ok=True)
    for reader in (secrets, local(home)):
        for attempt in (lambda: reader.read("mail"), reader.names):  # noqa: B023 - called at once
            with pytest.raises(IntegrityError, match="not the one that was written last"):
                attempt()


def test_a_removed_secret_put_back_is_refused(secrets: LocalSecrets, home: Path, tmp_path: Path) -> None:
    secrets.set("mail", b"old", actor="ada")
    shutil.copytree(home / "secrets", tmp_path / "copy")
    secrets.remove("mail", actor="ada")
    with pytest.raises(UsageError, match="does not exist"):
        secrets.read("mail")
    assert secrets.names() == []
    shutil.copytree(tmp_path / "copy", home / "secrets", dirs_exist_ok=True)
    with pytest.raises(IntegrityError):
        local(home).read("mail")


def test_secrets_that_change_places_are_refused(secrets: LocalSecrets, home: Path) -> None:
    secrets.set("mail", b"m", actor="ada")
    secrets.set("chat", b"c", actor="ada")
    _copy(home, "mail", "chat")
    assert secrets.read("mail").value == b"m"
    for reader in (secrets, local(home)):
        with pytest.raises(IntegrityError):
            reader.read("chat")


def test_counting_files_neither_waits_for_a_pipe_nor_follows_a_link(
    secrets: LocalSecrets, home: Path
) -> None:
    """As `keys destroy` does, to say what is lost."""
    secrets.set("mail", b"secret", actor="ada")
    assert secrets.sealed_with(1) == 1
    planted = home / "secrets" / "planted.sealed"
    os.mkfifo(planted, 0o600)
    with pytest.raises(UsageError, match="is not a regular file"):
        secrets.sealed_with(1)
    planted.unlink()
    planted.symlink_to(home / "secrets" / "mail.sealed")
    with pytest.raises(UsageError, match="is a symbolic link"):
        secrets.sealed_with(1)


def test_a_file_that_was_made_up_deleted_or_damaged_is_refused(secrets: LocalSecrets, home: Path) -> None:
    secrets.set("mail", b"m", actor="ada")
    _copy(home, "mail", "made-up")
    with pytest.raises(IntegrityError):
        secrets.read("made-up")
    file = home / "secrets" / "mail.sealed"
    genuine = file.read_bytes()
    for damaged in (genuine[:-1], genuine + b"x", bytes([genuine[0] ^ 1]) + genuine[1:], b""):
        file.write_bytes(damaged)
        with pytest.raises(IntegrityError):
            secrets.read("mail")
    file.unlink()
    for attempt in (lambda: secrets.read("mail"), secrets.names):
        with pytest.raises(IntegrityError):
            attempt()


def test_a_writer_that_dies_leaves_the_old_secret_or_the_new(
    secrets: LocalSecrets, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    secrets.set("mail", b"old", actor="ada")
    with monkeypatch.context() as patch:
        patch.setattr("secure_platform.keys.secrets.local.replace_private", die)
        for name in ("mail", "never"):
            with pytest.raises(KeyboardInterrupt):
                secrets.set(name, b"new", actor="ada")
    assert local(home).read("mail").value == b"old"
    with pytest.raises(UsageError, match="does not exist"):
        local(home).read("never")
    with monkeypatch.context() as patch:
        patch.setattr("secure_platform.audit.log.AuditLog._append", _dying_outcome(secrets))
        with pytest.raises(KeyboardInterrupt):
            secrets.set("mail", b"new", actor="ada")
    assert local(home).read("mail").value == b"new"
    local(home).set("mail", b"newest", actor="ada")
    assert secrets.read("mail").value == b"newest"


def test_a_secret_that_is_set_just_after_it_was_looked_for_is_not_missing(
    secrets: LocalSecrets, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_and_wait(file: Path, **more: Any) -> bytes:
        monkeypatch.undo()
        try:
            return read_secret(file, **more)
        finally:
            local(home).set("mail", b"x", actor="ada")

    monkeypatch.setattr("secure_platform.keys.secrets.local.read_secret", read_and_wait)
    with pytest.raises(UsageError, match="mail does not exist"):
        secrets.read("mail")
    assert secrets.read("mail").value == b"x"


def _dying_outcome(secrets: LocalSecrets) -> object:
    append = type(secrets._audit)._append

    def dying(*arguments: Any) -> object:
        if "done" in arguments:
            raise KeyboardInterrupt
        return append(*arguments)

    return dying


def test_a_rotation_changes_the_secret_or_one_field_of_it(secrets: LocalSecrets) -> None:
    secrets.set("mail", b"old", actor="ada")
    secrets.rotate("mail", None, actor="ada")
    first = secrets.read("mail")
    assert len(first.line) == 43
    assert first.changed_at is not None
    secrets.set("login", json.dumps({"user": "u", "password": "p"}).encode(), actor="ada")
    secrets.rotate("login", "password", actor="ada")
    login = json.loads(secrets.read("login").value)
    assert (login["user"], len(login["password"])) == ("u", 43)
    with pytest.raises(UsageError, match="not there"):
        secrets.rotate("login", "pin", actor="ada")
    with pytest.raises(UsageError, match="does not exist"):
        secrets.rotate("absent", None, actor="ada")


def _set_often(home: Path, word: str) -> None:
    secrets = local(home)
    for number in range(10):
        secrets.set("mail", f"{word}{number}".encode(), actor="ada")
        assert secrets.read("mail").value


@pytest.mark.slow
def test_processes_that_write_and_read_at_once_never_see_a_mixture(home: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_set_often, args=(home, word)) for word in ("a", "b")]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    assert local(home).read("mail").value in {b"a9", b"b9"}
