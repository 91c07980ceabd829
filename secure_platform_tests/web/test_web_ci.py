"""Governed CI on the real server: a build, a decision, a deployment and a query, with tokens only."""

import json
import shutil
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from built_home import Built
from loopback_servers import Inbox, http_server
from remote_support import Both
from serve_support import serving
from waiting import wait_for

from secure_platform.access.tokens import read_token
from secure_platform.cli import remote
from secure_platform.cli.remote import Server
from secure_platform.errors import AccessDeniedError
from secure_platform.notify.verify import verify

pytestmark = [pytest.mark.slow, pytest.mark.system]

SECRET = "whsec_" + "A" * 44
SECONDS = 240
KEY = "commit-1"


def _channel(directory: Path, inbox: Inbox) -> str:
    secret = directory / "hook.secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    settings = {"name": "hook", "kind": "webhook", "url": inbox.url, "secret": f"secret://file/{secret}"}
    return json.dumps([settings | {"allow": ["127.0.0.0/8"]}])


def test_a_pipeline_builds_waits_deploys_and_reads_with_tokens_only(
    built_once: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SECURE_PLATFORM_TOKEN_FILE", raising=False)
    built = built_once.copy(tmp_path / "place")
    shutil.copytree(built.source, built.home / "sources" / "healthcare")
    built.services.principals.add("ana", roles=("analyst",), actor="admin")
    built.token("ana").write_text(built.services.tokens.issue("ana", actor="admin").secret)
    built.token("ana").chmod(0o600)
    with (
        http_server() as inbox,
        serving(built.root, SECURE_PLATFORM_CHANNELS=_channel(tmp_path, inbox)) as server,
    ):
        both = Both(built, f"http://127.0.0.1:{server.port}", tmp_path / "nowhere")
        monkeypatch.setattr(remote, "secrets", SimpleNamespace(token_urlsafe=lambda _: KEY))
        ran = both.there("run", "healthcare", "--json", token="dana")
        assert (ran.code, ran.json["state"], ran.json["release"]["number"]) == (0, "pending", 1), ran.out
        assert set(ran.json["reused"].values()) == {True}
        _the_same_key_is_the_same_run(both, ran.json["run_id"])
        approved = both.there("release", "approve", "healthcare", "--reason", "seen", "--ticket", "OPS-7")
        assert approved.code == 0, approved.out + approved.err
        deployed = both.there(
            "release", "wait", "healthcare", "1", "--until", "deployed", "--timeout", str(SECONDS)
        )
        assert deployed.code == 0, deployed.err
        query = ("sql", "healthcare", "from condition_prevalence limit 1", "--purpose", "research", "--json")
        assert len(both.there(*query, token="ana").json) == 1
        assert wait_for(lambda: len(inbox.received) >= 3, 30)
    told = {verify(SECRET, headers, body): json.loads(body) for _, headers, body in inbox.received}
    assert [(notice["event"], notice["ticket"]) for notice in told.values()] == [
        ("release.pending", None),
        ("release.approved", "OPS-7"),
        ("release.deployed", None),
    ]


def _the_same_key_is_the_same_run(both: Both, first: str) -> None:
    """Asked for again, a build is one run; whoever may not build it may not watch it either."""
    with closing(Server(both.url, read_token(both.built.token("dana")))) as dana:
        assert dana.post("/builds", {"product": "healthcare"}, key=KEY)["run_id"] == first
    with (
        closing(Server(both.url, read_token(both.built.token("ana")))) as ana,
        pytest.raises(AccessDeniedError),
    ):
        ana.get(f"/builds/{first}")
