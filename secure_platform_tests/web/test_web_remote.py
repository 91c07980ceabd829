"""Commands on a server say the same as on its home, end with the same code, and touch no home here."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from api_support import served_api
from built_home import Built
from loopback_servers import certificates, http_server
from remote_support import Both, command

from secure_platform.cli import decisions, remote
from secure_platform.cli.remote import Server
from secure_platform.errors import SecurePlatformError, UsageError
from secure_platform.orchestration.steps.deploy import deploy
from secure_platform.services import Services
from secure_platform.settings import load_settings

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("isolated")]

TOKEN = "spt_0000000000000000_" + "A" * 43
SQL = ("sql", "healthcare", "from condition_prevalence order by all limit 5", "--purpose", "research")


@pytest.fixture
def isolated() -> Iterator[None]:
    """Commands hand home and token on by the environment: nothing of it may come in or stay."""
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith(("SECURE_PLATFORM_", "DAGSTER_HOME", "COLUMNS")):
                patch.delenv(name)
        yield
        for name in ("HOME", "TOKEN_FILE"):
            os.environ.pop(f"SECURE_PLATFORM_{name}", None)


@pytest.fixture(scope="module")
def both(built_once: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    copy = built_once.copy(tmp_path_factory.mktemp("remote") / "built")
    services = Services(load_settings(home=copy.home))
    with served_api(services) as url:
        yield Both(copy, url, tmp_path_factory.mktemp("nowhere") / "home")


@pytest.mark.parametrize(
    "words",
    [
        ("release", "list"),
        ("release", "list", "healthcare", "--json"),
        ("release", "show", "healthcare"),
        ("release", "show", "healthcare", "1", "--json"),
        ("release", "show", "healthcare", "9"),
        ("release", "verify", "healthcare", "1", "--json"),
        ("release", "diff", "healthcare", "1", "1"),
        ("release", "diff", "healthcare", "1", "1", "--json"),
        ("release", "list", "nothing", "--json"),
        ("release", "reject", "healthcare", "1", "--reason", ""),
        ("release", "approve", "healthcare", "--reason", "x", "--digest", "sha256:" + "0" * 64),
        ("release", "approve", "healthcare", "--reason", "x", "--ticket", "none", "--json"),
        ("release", "wait", "healthcare", "1", "--timeout", "0"),
        ("rollback", "healthcare", "--reason", "x"),
        ("rollback", "healthcare", "--from", "1", "--reason", "x", "--json"),
        (*SQL, "--json"),
        SQL[:3],
    ],
    ids=" ".join,
)
def test_a_command_says_the_same_there_as_here(words: tuple[str, ...], both: Both) -> None:
    here, there = both.here(*words), both.there(*words)
    assert (there.code, there.out) == (here.code, here.out)
    assert _without_times(there.err) == _without_times(here.err)


def _without_times(text: str) -> str:
    return text.partition(" s  ")[2] or text


def test_the_requester_is_refused_there_too(both: Both) -> None:
    refused = both.there("release", "approve", "healthcare", "--reason", "mine", "--json", token="dana")
    assert (refused.code, refused.json["error"]) == (4, "AccessDeniedError")


def test_a_release_goes_its_way_through_the_server(both: Both, tmp_path: Path) -> None:
    """The last of this module: it decides, and the home is another one afterwards."""
    approved = both.there("release", "approve", "healthcare", "--reason", "reviewed", "--ticket", "OPS-12")
    assert (approved.code, "Release 1 of healthcare is approved" in approved.out) == (0, True)
    waited = both.there("release", "wait", "healthcare", "1", "--json")
    assert (waited.code, waited.json["state"]) == (0, "approved")
    deploy(both.built.services, both.built.product)
    assert both.there("release", "wait", "healthcare", "1", "--until", "deployed").code == 0
    for form in ((), ("--json",), ("--csv",)):
        here, there = both.here(*SQL, *form), both.there(*SQL, *form)
        assert (here.code, there.code, there.out) == (0, 0, here.out)
    file = tmp_path / "rows.csv"
    assert both.there(*SQL, "--out", str(file)).code == 0
    assert file.read_text() == both.here(*SQL, "--csv").out
    again = both.there("release", "approve", "healthcare", "--reason", "again", "--json")
    assert (again.code, again.json["error"]) == (4, "GateRefusedError")
    gone = both.there("rollback", "healthcare", "--reason", "x", "--json")
    assert (gone.code, "no earlier release" in gone.json["culprit"]) == (4, True)


def test_a_source_is_not_sent(both: Both, tmp_path: Path) -> None:
    refused = both.there("run", "healthcare", "--source", str(tmp_path), "--json", token="dana")
    assert (refused.code, "its own settings" in refused.json["culprit"]) == (2, True)


def test_a_server_deploys_by_itself(both: Both) -> None:
    refused = both.there("deploy", "healthcare", "--json")
    assert (refused.code, "release wait healthcare" in refused.json["fix"]) == (2, True)


def test_a_server_whose_code_is_not_loaded_refuses_a_build(both: Both) -> None:
    refused = both.there("run", "healthcare", "--json", token="dana")
    assert (refused.code, refused.json["error"]) == (4, "GateRefusedError"), refused.out


def test_without_a_token_nobody_is_asked(tmp_path: Path) -> None:
    said = command(tmp_path / "home", "release", "list", "--server", "http://127.0.0.1:1", "--json")
    assert (said.code, "needs a token" in said.json["culprit"]) == (2, True)
    assert not (tmp_path / "home").exists()


def test_a_token_that_the_server_does_not_know_is_refused(both: Both, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(0o600)
    said = command(tmp_path / "home", "release", "list", "--server", both.url, "--json", token=file)
    assert (said.code, said.json["error"]) == (4, "AccessDeniedError")


def test_the_environment_names_the_server(
    both: Both, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SECURE_PLATFORM_SERVER_URL", both.url)
    said = command(tmp_path / "home", "release", "list", "--json", token=both.built.token("sam"))
    assert (said.code, said.json[0]["product"]) == (0, "healthcare")
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org",
        "http://10.0.0.1:3000",
        "http://127.0.0.1.example.org",
        "ftp://127.0.0.1",
        "https://user@example.org",
        "https://example.org/?a=b",
        "example.org",
        "",
        "https://[",
    ],
)
def test_a_token_goes_nowhere_in_the_clear(url: str) -> None:
    with pytest.raises(UsageError):
        Server(url, TOKEN)


def test_the_certificate_of_a_server_is_verified(tmp_path: Path) -> None:
    made = certificates(tmp_path)
    with http_server(tls=made.context()) as inbox:
        url = inbox.url.removesuffix("/hook")
        with pytest.raises(SecurePlatformError, match=r"certificate of .* is refused"):
            _ask(url, lambda server: server.post("/builds", {}))
        with pytest.raises(SecurePlatformError, match="Check that it is a secure_platform server"):
            _ask(url, lambda server: server.post("/builds", {}), ca=made.ca)
    assert [headers["authorization"] for _, headers, _ in inbox.received] == [f"Bearer {TOKEN}"]
    with pytest.raises(UsageError, match="no certificate authority"):
        Server(url, TOKEN, ca=tmp_path / "server.key")


def test_a_server_that_is_not_there_is_tried_again_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "POLL_SECONDS", 0.0)
    with pytest.raises(SecurePlatformError, match="cannot be reached"):
        _ask("http://127.0.0.1:1", lambda server: server.get("/me"))


def test_a_build_is_watched_to_its_end_over_a_broken_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every second answer is cut off; the key is the same whenever the build is asked for."""
    monkeypatch.setattr(remote, "POLL_SECONDS", 0.0)
    with _scripted(failing=True) as (url, keys):
        seen: list[Any] = []
        report = _ask(url, lambda server: remote.Remote(server).build("healthcare", None, seen.append))
    assert (report.succeeded, report.exit_code, len(seen)) == (False, 3, 2)
    assert len(keys) > 1
    assert len(set(keys)) == 1


def test_who_stops_watching_is_told_that_the_build_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(_event: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(remote, "POLL_SECONDS", 0.0)
    with _scripted() as (url, _keys), pytest.raises(KeyboardInterrupt):
        _ask(url, lambda server: remote.Remote(server).build("healthcare", None, stop))
    assert f"The build goes on: {url}/runs/run-1" in capsys.readouterr().err


def test_waiting_ends_when_a_release_is_overtaken(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisions, "POLL_SECONDS", 0.0)
    unknown = both.there("release", "wait", "healthcare", "7", "--json")
    assert (unknown.code, unknown.json["culprit"]) == (2, "healthcare has no release 7")


def _ask(url: str, question: Callable[[Server], Any], *, ca: Path | None = None) -> Any:
    with closing(Server(url, TOKEN, ca=ca)) as server:
        return question(server)


@contextmanager
def _scripted(*, failing: bool = False) -> Iterator[tuple[str, list[str]]]:
    """A server with one build of two events, the second of which refuses the data."""
    blank = dict.fromkeys(("check", "passed", "metadata", "error", "error_class"))
    started = {**blank, "asset": "healthcare/raw/patients", "kind": "started", "blocking": False}
    refused = {
        **started,
        "kind": "failed",
        "error": "It is refused. Mend it.",
        "error_class": "DataRefusedError",
    }
    keys: list[str] = []
    asked = 0

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            keys.append(self.headers["idempotency-key"])
            self._say(202, {"run_id": "run-1"})

        def do_GET(self) -> None:
            after = int(self.path.partition("after=")[2])
            state = "failed" if after else "running"
            self._say(200, {"state": state, "events": [[started], [refused]][min(after, 1)]})

        def _say(self, status: int, document: Any) -> None:
            nonlocal asked
            asked += 1
            if failing and asked % 2:
                self.close_connection = True
                return
            self.send_response(status)
            body = json.dumps(document).encode()
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=lambda: server.serve_forever(0.02), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", keys
    server.shutdown()
    server.server_close()
    thread.join()
