"""`notify`: what is queued is listed, sent without a server, and a channel is tried."""

import json
from pathlib import Path

import pytest
from cli_support import Cli
from loopback_servers import Inbox, http_server

from secure_platform.monitor.incident import Sighting
from secure_platform.services import Services
from secure_platform.settings import load_settings


def _use(monkeypatch: pytest.MonkeyPatch, directory: Path, inbox: Inbox) -> None:
    secret = directory / "slack.secret"
    secret.write_text("T0/B0/xyz")
    secret.chmod(0o600)
    settings = {"name": "stewards", "kind": "slack", "url": inbox.url, "secret": f"secret://file/{secret}"}
    monkeypatch.setenv("SECURE_PLATFORM_CHANNELS", json.dumps([settings | {"allow": ["127.0.0.0/8"]}]))


def test_what_is_queued_is_sent_once_and_listed(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with http_server() as inbox:
        _use(monkeypatch, tmp_path, inbox)
        notices = Services(load_settings(home=cli.home)).notices
        notices.announce("release.pending", product="healthcare", release="sha256:" + "a" * 64, number=1)
        assert cli("notify", "list", "--json", token="admin").json[0]["state"] == "waiting"
        assert cli("notify", "deliver", "--json", token="admin").json[0]["state"] == "delivered"
        assert "No notice." in cli("notify", "deliver", token="admin").out
    assert len(inbox.received) == 1
    assert "delivered" in cli("notify", "list", token="admin").out


def test_a_channel_that_does_not_take_a_notice_is_explained(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with http_server(404) as inbox:
        _use(monkeypatch, tmp_path, inbox)
        tried = cli("notify", "test", "stewards", "--json", token="admin")
    assert (tried.code, tried.json["culprit"]) == (1, "127.0.0.1 answered 404")
    assert "xyz" not in tried.out
    assert cli("notify", "test", "nobody", "--json", token="admin").code == 2


def test_alerts_are_shown_without_being_sent_and_sent_without_a_server(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with http_server() as inbox:
        _use(monkeypatch, tmp_path, inbox)
        assert "No alert is due." in cli("notify", "alerts", token="admin").out
        lost = Sighting("production", "patient_summary", "matches_release", "p1", "fail", blocking=True)
        Services(load_settings(home=cli.home)).incidents.report("healthcare", [lost])
        (due,) = cli("notify", "alerts", "--json", token="admin").json
        assert (due["event"], due["channel"], due["held"]) == ("incident.opened", "stewards", None)
        assert "incident.opened" in cli("notify", "alerts", token="admin").out
        assert inbox.received == []
        assert cli("notify", "deliver", "--json", token="admin").json[0]["state"] == "delivered"
        assert cli("notify", "deliver", "--json", token="admin").json == []
    assert len(inbox.received) == 1


def test_only_an_operator_sends_or_sees_notices(cli: Cli) -> None:
    for words in (("list",), ("alerts",), ("deliver",), ("test", "x")):
        assert cli("notify", *words, "--json").code == 4


@pytest.mark.parametrize("text", ["{", "{}", '[{"name": "a", "kind": "fax", "url": "https://example.org"}]'])
def test_a_channel_that_cannot_be_used_is_named(text: str, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECURE_PLATFORM_CHANNELS", text)
    refused = cli("notify", "list", "--json", token="admin")
    assert (refused.code, "channels" in refused.json["culprit"].lower()) == (2, True)
