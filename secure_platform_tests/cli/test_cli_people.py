"""`init`, `principal` and `token`: who may, and that a token never gets lost or shown."""

import re
import stat
from pathlib import Path

import pytest
from cli_support import Cli

from secure_platform.services import Services
from secure_platform.settings import load_settings

TOKEN = re.compile(r"spt_[0-9a-f]{16}_[A-Za-z0-9_-]{43}")


@pytest.fixture
def steward(cli: Cli) -> Path:
    cli.add("sam", "data_steward")
    return cli.home / "keys" / "sam.token"


def test_init_creates_a_home_once(tmp_path: Path) -> None:
    cli = Cli(tmp_path / "new home")
    created, again = cli("init", "--json").json, cli("init", "--json").json
    assert created == {
        "home": str(cli.home),
        "created": True,
        "administrator_token": str(cli.home / "keys" / "admin.token"),
        "unsaved_keys": ["data", "digest", "log", "mac", "sign", "subject"],
    }
    assert again == {**created, "created": False}
    assert stat.S_IMODE(cli.home.stat().st_mode) == 0o700
    text = cli("init").out
    assert "Already there, nothing changed" in text
    assert f"--home '{cli.home}' --token-file '{cli.home}/keys/admin.token' principal add alice" in text


def test_the_hint_to_back_up_the_keys_is_given_when_they_are_new(tmp_path: Path) -> None:
    assert "keys backup FILE" in Cli(tmp_path / "home")("init").out


def test_an_administrator_adds_lists_and_disables(cli: Cli) -> None:
    added = cli(
        "principal", "add", "alice", "--role", "analyst", "--role", "auditor", "--json", token="admin"
    )
    assert added.json == {"name": "alice", "kind": "user", "roles": ["analyst", "auditor"], "active": True}
    robot = cli("principal", "add", "robot", "--role", "pipeline", "--service", "--json", token="admin")
    assert robot.json["kind"] == "service"
    listed = {row["name"]: row for row in cli("principal", "list", "--json", token="admin").json}
    assert listed["alice"] == added.json
    assert listed["admin"]["roles"] == ["admin"]
    assert cli("principal", "disable", "alice", "--json", token="admin").json["active"] is False
    text = cli("principal", "list", token="admin").out
    assert re.search(r"alice +user +analyst, auditor +no", text)


def test_the_next_step_names_the_same_home_and_token(cli: Cli) -> None:
    text = cli("principal", "add", "alice", "--role", "analyst", token="admin").out
    assert f"--home {cli.home} --token-file {cli.home}/keys/admin.token token issue alice" in text


def test_a_token_is_written_privately_and_never_shown(cli: Cli, steward: Path) -> None:
    assert stat.S_IMODE(steward.stat().st_mode) == 0o600
    assert TOKEN.fullmatch(steward.read_text().strip())
    out = cli.home / "second.token"
    issued = cli("token", "issue", "sam", "--days", "1", "--out", str(out), "--json", token="admin")
    assert issued.json["file"] == str(out)
    assert issued.json["token_id"] in out.read_text()
    assert not TOKEN.search(issued.out + issued.err)
    assert cli("audit", "tail", token=out).code == 0


@pytest.mark.parametrize("kind", ["exists", "dangling", "no folder"])
def test_a_token_that_cannot_be_written_is_not_issued(kind: str, cli: Cli, steward: Path) -> None:
    out = {
        "exists": steward,
        "dangling": cli.home / "link",
        "no folder": cli.home / "nowhere" / "t.token",
    }[kind]
    (cli.home / "link").symlink_to(cli.home / "target")
    before = steward.read_bytes()
    result = cli("token", "issue", "sam", "--out", str(out), "--json", token="admin")
    assert result.code == 2
    assert str(out) in result.json["culprit"]
    assert steward.read_bytes() == before
    assert not (cli.home / "target").exists()
    last = cli("audit", "tail", "--count", "2", "--json", token="admin").json
    assert [entry["action"] for entry in last] == ["policy.decide", "policy.decide"]


@pytest.mark.usefixtures("steward")
def test_a_token_whose_writing_fails_is_revoked(cli: Cli) -> None:
    out = cli.home / ("x" * 300)
    result = cli("token", "issue", "sam", "--out", str(out), "--json", token="admin")
    assert (result.code, "File name too long" in result.json["culprit"]) == (2, True)
    entries = cli("audit", "tail", "--count", "5", "--json", token="admin").json
    issued, revoked = (
        [entry["subject"] for entry in entries if (entry["action"], entry["phase"]) == (action, "done")]
        for action in ("token.issue", "token.revoke")
    )
    assert issued == revoked != []


def test_a_revoked_token_is_worthless(cli: Cli, steward: Path) -> None:
    token_id = steward.read_text().split("_")[1]
    assert cli("token", "revoke", token_id, "--json", token="admin").json == {
        "token_id": token_id,
        "revoked": True,
    }
    assert cli("audit", "tail", token="sam").code == 4


@pytest.mark.parametrize(
    "arguments",
    [
        ["principal", "add", "eve", "--role", "admin"],
        ["principal", "list"],
        ["principal", "disable", "admin"],
        ["token", "issue", "admin", "--out", "eve.token"],
        ["token", "revoke", "0123456789abcdef"],
        ["audit", "tail"],
        ["audit", "prove", "0"],
        ["audit", "export", "copy"],
        ["sql", "healthcare", "select 1"],
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_nobody_does_what_needs_a_principal(
    arguments: list[str], cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = cli(*arguments, "--json")
    assert result.code == 4
    assert result.json["error"] == "AccessDeniedError"
    assert "anonymous may not" in result.json["culprit"]
    assert "SECURE_PLATFORM_TOKEN_FILE" in result.json["fix"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home"]


@pytest.mark.usefixtures("steward")
def test_a_steward_is_no_administrator(cli: Cli) -> None:
    assert cli("principal", "add", "eve", "--role", "admin", token="sam").code == 4
    assert cli("token", "issue", "admin", "--out", str(cli.home / "t"), token="sam").code == 4


@pytest.mark.parametrize("content", [None, b"", b"nonsense\n", b"spt_0123456789abcdef_" + b"a" * 43])
def test_a_wrong_token_is_a_clear_error(content: bytes | None, cli: Cli) -> None:
    file = cli.home / "wrong.token"
    if content is not None:
        file.touch(0o600)
        file.write_bytes(content)
    for command in (["principal", "list"], ["run", "healthcare"]):
        result = cli(*command, "--json", token=file)
        assert result.code in {2, 4}
        assert "nonsense" not in result.out
        assert result.json["fix"]


def test_a_link_for_a_person_is_shown_once_and_only_to_who_manages_people(cli: Cli, steward: Path) -> None:
    assert cli("principal", "invite", "sam", token="sam").code == 4
    shown = cli("principal", "invite", "sam", "--json", token="admin").json
    assert re.fullmatch(r"http://127\.0\.0\.1:3000/setup\?link=spl_[A-Za-z0-9_-]{43}", shown["link"])
    services = Services(load_settings(home=cli.home))
    invited = services.credentials.invited(shown["link"].partition("=")[2])
    assert invited is not None
    assert invited.name == "sam"
    assert cli("principal", "invite", "nobody", token="admin").code == 2
    assert steward.exists()


def test_a_token_is_limited_labelled_and_listed_without_itself(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "ci.token"
    issued = cli(
        *("token", "issue", "admin", "--scope", "build:healthcare", "--scope", "release_read"),
        *("--label", "nightly build", "--out", str(out), "--json"),
        token="admin",
    )
    listed = cli("token", "list", "admin", "--json", token="admin")
    (row,) = [row for row in listed.json if row["token_id"] == issued.json["token_id"]]
    assert (row["label"], row["scopes"]) == ("nightly build", ["build:healthcare", "release_read"])
    assert not TOKEN.search(listed.out)
    assert "nightly build" in cli("token", "list", token="admin").out
    cli("token", "revoke", row["token_id"], token="admin")
    assert row["token_id"] not in cli("token", "list", "--json", token="admin").out


def test_sessions_are_listed_and_ended(cli: Cli, steward: Path) -> None:
    services = Services(load_settings(home=cli.home))
    sam = services.principals.get("sam")
    assert sam is not None
    opened = services.sessions.open(sam, method="password", address="192.0.2.1", client="Browser/1.0")
    listed = cli("session", "list", "--json", token="admin")
    assert [row["session_id"] for row in listed.json] == [opened.session.session_id]
    assert opened.secret not in listed.out
    assert cli("session", "list", token="sam").code == 4
    assert "192.0.2.1" in cli("session", "list", "sam", token="admin").out
    assert cli("session", "revoke", opened.session.session_id, token="admin").code == 0
    assert services.sessions.authenticate(opened.secret) is None
    assert cli("session", "list", "--json", token="admin").json == []
    assert cli("session", "revoke", "0" * 32, token="admin").code == 2
    assert steward.exists()
