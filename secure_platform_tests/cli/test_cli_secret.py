"""`secret`: kept, listed, rotated and removed by who may; a value is neither given nor shown in the open."""

import io
import json
import os
import pty
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from cli_support import PROGRAM, Cli, Result
from secrets_document import documented

from secure_platform.services import Services
from secure_platform.settings import load_settings

CANARY = "canary-83b0ef"
NAME = "secret://local/mail"


@pytest.fixture
def keep(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> "Keep":
    return Keep(cli, monkeypatch)


class Keep:
    """Commands whose standard input is given."""

    def __init__(self, cli: Cli, patch: pytest.MonkeyPatch) -> None:
        self._cli = cli
        self._patch = patch

    def __call__(self, *words: str, given: bytes = b"", token: str | None = "admin") -> Result:
        with self._patch.context() as patch:
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
            return self._cli("secret", *words, token=token)

    def value(self) -> bytes:
        return Services(load_settings(home=self._cli.home)).local_secrets.read("mail").value


def recorded(home: Path) -> list[tuple[str, str]]:
    entries = Services(load_settings(home=home)).audit.entries()
    return [
        (entry.body["action"], entry.body["phase"])
        for entry in entries
        if entry.body["action"].startswith("secret.")
    ]


def test_the_documented_commands_work(keep: Keep, home: Path, tmp_path: Path) -> None:
    (tmp_path / "password.txt").write_text(f"{CANARY}\n")
    values, shown = [], ""
    for command in documented("sh").splitlines():
        line, _, file = command.partition(" < ")
        program, option, token, group, *words = shlex.split(line)
        assert (program, option, token, group) == ("secure-platform", "--token-file", "admin.token", "secret")
        ran = keep(*words, given=(tmp_path / file).read_bytes() if file else b"")
        assert (ran.code, ran.err) == (0, "")
        shown += ran.out
        if words[0] != "remove":
            values.append(keep.value())
    assert values[0] == values[1] == f"{CANARY}\n".encode()
    assert len(values[2]) == 43
    assert re.search(rf"{NAME} +20\d\d-", shown)
    assert not any(value.strip().decode() in shown for value in values)
    done = [("secret.set", "intent"), ("secret.set", "done")]
    removed = [("secret.remove", "intent"), ("secret.remove", "done")]
    assert recorded(home) == [*done, ("secret.rotate", "intent"), *done, ("secret.rotate", "done"), *removed]


def test_programs_get_one_document(keep: Keep) -> None:
    assert keep("list", "--json").json == []
    assert keep("set", "mail", "--json", given=b"x").json == {"secret": NAME}
    (listed,) = keep("list", "--json").json
    assert listed["secret"] == NAME
    assert keep("rotate", NAME, "--json").json == {"secret": NAME}
    assert keep("remove", "mail", "--json").json == {"secret": NAME}
    assert keep("list").out == "No secret.\n"


@pytest.mark.parametrize(
    "words",
    [
        ("set", "mail", CANARY),
        ("set", "mail", f"--value={CANARY}"),
        ("set", CANARY, "mail", "more"),
        ("set", f"{CANARY}!"),
        ("rotate", CANARY),
        ("rotate", f"secret://{CANARY}"),
        ("rotate", NAME, CANARY),
    ],
    ids=["argument", "option", "order", "name", "no reference", "half a reference", "more"],
)
def test_a_secret_in_the_command_line_is_refused_and_not_repeated(
    keep: Keep, home: Path, words: tuple[str, ...]
) -> None:
    for json_or_not in ((), ("--json",)):
        refused = keep(*words, *json_or_not, given=b"x")
        assert refused.code == 2
        assert CANARY not in refused.out + refused.err
    assert not list((home / "secrets").glob("*.sealed"))


@pytest.mark.parametrize(
    ("words", "given", "code", "said"),
    [
        (("set", "mail"), b"", 2, "is empty"),
        (("set", "mail"), b"x" * (64 * 1024 + 1), 2, "larger than"),
        (("set", "../mail"), b"x", 2, "short name"),
        (("remove", "mail"), b"", 2, "does not exist"),
        (("rotate", NAME), b"", 2, "does not exist"),
        (("rotate", "secret://file//etc/hostname"), b"", 2, "cannot be rotated from here"),
        (("rotate", "secret://vault/secret/x#y"), b"", 2, "No Vault is named"),
        (("rotate", "secret://elsewhere/x"), b"", 2, "no secrets provider"),
    ],
    ids=["nothing", "too much", "path", "absent", "rotate absent", "file", "vault", "provider"],
)
def test_what_cannot_be_done_says_why(
    keep: Keep, words: tuple[str, ...], given: bytes, code: int, said: str
) -> None:
    refused = keep(*words, given=given)
    assert (refused.code, refused.out) == (code, "")
    assert said in refused.err
    assert "fix: " in refused.err


def test_who_may_not_is_refused_and_it_is_as_it_was(keep: Keep, cli: Cli) -> None:
    assert keep("set", "mail", given=b"x").code == 0
    for name, role in (("ada", "auditor"), ("dan", "data_engineer")):
        cli.add(name, role)
    for token, list_code in ((None, 4), ("ada", 0), ("dan", 4)):
        assert keep("list", token=token).code == list_code
        assert keep("set", "mail", given=b"y", token=token).code == 4
        assert keep("rotate", NAME, token=token).code == 4
        assert keep("remove", "mail", token=token).code == 4
    assert keep.value() == b"x"


def test_a_file_that_was_exchanged_is_refused_everywhere(keep: Keep, home: Path) -> None:
    keep("set", "mail", given=b"x")
    file = home / "secrets" / "mail.sealed"
    former = file.read_bytes()
    keep("rotate", NAME)
    file.write_bytes(former)
    for words in (("list",), ("rotate", NAME), ("remove", "mail")):
        refused = keep(*words)
        assert refused.code == 5
        assert "not the one that was written last" in refused.err
    assert keep("set", "mail", given=b"new").code == 0
    assert keep.value() == b"new"


def test_a_failed_rotation_is_recorded_and_told_once(
    keep: Keep, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = {
        "name": "hook",
        "kind": "webhook",
        "url": "https://127.0.0.1:1/",
        "secret": "secret://env/NONE",
    }
    monkeypatch.setenv("SECURE_PLATFORM_CHANNELS", json.dumps([channel]))
    assert keep("rotate", NAME).code == 2
    (queued,) = Services(load_settings(home=home)).notices.list()
    assert queued.notice.event == "secret.rotation_failed"
    assert recorded(home) == [("secret.rotate", "intent"), ("secret.rotate", "failed")]


def test_on_a_terminal_it_is_asked_for_twice_and_not_echoed(cli: Cli, keep: Keep) -> None:
    here, there = pty.openpty()
    token = cli.home / "keys" / "admin.token"
    command = [str(PROGRAM), "--home", str(cli.home), "--token-file", str(token), "secret", "set", "mail"]
    with subprocess.Popen(
        command, stdin=there, stdout=there, stderr=there, start_new_session=True
    ) as process:
        os.close(there)
        screen = b""
        for _ in range(2):
            while not screen.endswith(b": "):
                screen += os.read(here, 1024)
            os.write(here, f"{CANARY}\n".encode())
            screen += b"\n"
        while b"is set" not in screen:
            screen += os.read(here, 1024)
        assert process.wait(60) == 0
    os.close(here)
    assert CANARY.encode() not in screen
    assert keep.value() == CANARY.encode()
