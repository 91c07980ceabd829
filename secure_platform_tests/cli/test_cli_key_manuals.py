"""Every command of the manual of keys and of the runbook for a leak is run as written, in that order."""

import json
import re
import shlex
from pathlib import Path

import pytest
from built_home import Built
from cli_support import ROOT, Cli, Result

from secure_platform.orchestration.steps.deploy import deploy

pytestmark = pytest.mark.slow

BLOCK = re.compile(r"^```\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ASK_FOR_A_PASSPHRASE = {"backup", "restore", "passphrase"}


class Reader:
    """Does what a manual says, in a folder with the tokens that it names."""

    def __init__(self, built: Built, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cli = Cli(built.home)
        self.safe = directory / "safe"
        self.safe.mkdir()
        self.passphrase = directory / "passphrase"
        self.passphrase.write_text("slow brass otter 9 kites\n")
        self.passphrase.chmod(0o600)
        self.cli.add("petra", "privacy_officer")
        self.directory = directory
        monkeypatch.chdir(directory)

    def hand_out(self, *names: str) -> None:
        """The tokens that a manual begins with."""
        for name in names:
            token = self.directory / f"{name}.token"
            token.write_bytes((self.cli.home / "keys" / f"{name}.token").read_bytes())
            token.chmod(0o600)

    def follow(self, manual: str) -> list[str]:
        """Run all of it; which commands were run."""
        done = []
        for command in commands(ROOT / "docs" / manual):
            result = self.do(command)
            assert result.code == 0, f"{command}\n{result.out}{result.err}"
            done.append(command)
        return done

    def do(self, command: str) -> Result:
        words = shlex.split(command.replace("/mnt/safe", str(self.safe)), comments=True)[1:]
        named = [word for word in words if not word.endswith(".token")]
        if "keys" in named and not ASK_FOR_A_PASSPHRASE.isdisjoint(named):
            words += ["--passphrase-file", str(self.passphrase)]
            if "restore" in named and "--check" not in named:
                (self.cli.home / "keys" / "root.key").unlink()
        return self.cli(*words)


def commands(manual: Path) -> list[str]:
    blocks = BLOCK.findall(manual.read_text("utf-8"))
    lines = [line for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("secure-platform ")]


@pytest.fixture
def reader(built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    built.approve()
    deploy(built.services, built.product)
    return Reader(built, tmp_path, monkeypatch)


def test_the_runbook_for_a_leaked_key_is_followed(reader: Reader) -> None:
    reader.hand_out("admin")
    done = reader.follow("runbooks/leaked-key.md")
    assert len(done) > 20
    listed = reader.cli("keys", "list", "--json", token="admin").json
    states = {(key["name"], key["version"]): key["state"] for key in listed["keys"]}
    assert states["sign", 1] == "disabled"
    assert states["token/patient", 1] == "destroyed"
    assert states["token/patient", 2] == "active"
    assert listed["unsaved"] == []
    carried = reader.cli("keys", "retokenize", "patient", "--list", "--json").json["products"]
    assert [each["outdated"] for each in carried] == [False]


def test_the_manual_of_keys_is_followed(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    reader.hand_out("admin", "petra")
    assert len(reader.follow("keys.md")) > 8
    assert reader.cli("release", "verify", "healthcare").code == 2
    named = {"local": {"passphrase": f"secret://file/{reader.passphrase}"}}
    monkeypatch.setenv("SECURE_PLATFORM_KEYS", json.dumps(named))
    assert reader.cli("release", "verify", "healthcare").code == 0
