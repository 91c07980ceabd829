"""After a rotation or a leak, on the command line: what is done, what is said, and what others verify."""

import json
import shutil
from pathlib import Path

import pytest
from built_home import PRODUCT, Built
from cli_support import Cli

from secure_platform.orchestration.steps.deploy import deploy


@pytest.fixture
def on(built: Built) -> Cli:
    built.approve()
    deploy(built.services, built.product)
    return Cli(built.home)


def test_others_verify_a_release_with_the_trust_root_alone(
    on: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away, root = tmp_path / "away", tmp_path / "trust-root.json"
    shutil.copytree(on.home / "releases" / PRODUCT, away / PRODUCT)
    assert on("keys", "trust-root", "--out", str(root), token="admin").code == 0
    assert on("keys", "trust-root", "--out", str(root), token="admin").code == 2
    nobody = Cli(tmp_path / "none")
    verify = ("release", "verify", PRODUCT, "1", "--trust-root", str(root))
    verified = nobody(*verify, "--releases", str(away), "--json")
    assert (verified.code, verified.json["verified"]) == (0, True)
    assert verified.json["digest"] == on("release", "verify", PRODUCT, "1", "--json").json["digest"]
    assert not nobody.home.exists()
    monkeypatch.chdir(away)
    assert "Release 1 of healthcare is whole and signed" in nobody(*verify).out
    assert nobody(*verify[:3], *verify[4:]).code == 2
    manifest = away / PRODUCT / "1" / "manifest.json"
    manifest.chmod(0o600)
    manifest.write_bytes(manifest.read_bytes() + b" ")
    assert nobody(*verify).code == 5


def test_a_leaked_signing_key_is_answered(on: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = shutil.copytree(on.home / "releases", tmp_path / "old")
    monkeypatch.setattr("click.confirm", lambda *_, **__: True)
    told = on("keys", "emergency", "sign", token="admin")
    assert (told.code, told.err) == (0, "")
    assert "sign has version 2 in place of 1, which leaked." in told.out
    assert "1 releases were signed again." in told.out
    assert "4 tokens were revoked, 0 sessions ended." in told.out
    root = on.home / "releases" / "trust-root.json"
    verify = ("release", "verify", PRODUCT, "1", "--trust-root", str(root), "--releases")
    assert on(*verify, str(on.home / "releases")).code == 0
    refused = on(*verify, str(old))
    assert refused.code == 5
    assert "was revoked" in refused.err
    again = on("keys", "emergency", "sign", "--version", "1", "--yes", "--json", token="admin").json
    assert (again["leaked"], again["version"], again["signed_again"]) == (1, 2, {})
    assert on("deploy", PRODUCT).code == 0


def test_which_products_carry_old_tokens_is_said(on: Cli) -> None:
    rotated = on("keys", "emergency", "token/patient", "--yes", token="admin")
    assert f"In production with tokens of it: {PRODUCT}." in rotated.out
    checked = json.loads(on("keys", "retokenize", "patient", "--list", "--json").out)["products"]
    assert checked == [
        {"product": PRODUCT, "domain": "patient", "version": 1, "current": 2, "outdated": True}
    ]
    assert on("keys", "retokenize", "unknown").code == 2


def test_nobody_answers_a_leak_or_hands_out_a_trust_root_without_leave(on: Cli) -> None:
    for command in (("emergency", "sign", "--yes"), ("trust-root",)):
        for token in ("dana", None):
            refused = on("keys", *command, token=token)
            assert (refused.code, refused.out) == (4, "")
