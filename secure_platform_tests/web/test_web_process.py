"""The real server process over real sockets: what it answers, where it listens, and what it leaves behind."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from loopback_servers import http_server
from serve_support import (
    ROOT,
    START_SECONDS,
    Serving,
    clean_environment,
    listening_addresses,
    serve_command,
    serving,
)
from waiting import processes_of, sees_processes, wait_for
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

pytestmark = pytest.mark.slow

LOOPBACK = "0100007F"
EVIL = "http://evil.example"
HEALTH = "{instance{daemonHealth{allDaemonStatuses{daemonType healthy required}}}}"
KEYS = "{instance{concurrencyLimits{concurrencyKey}}}"


# Without the rights by which root looks into every process; needed to see what keeps others of its user out.
PLAIN = ("setpriv", "--bounding-set=-sys_ptrace,-perfmon,-sys_admin") if sees_processes() else ()

KEYLESS = b"multiprocessing.resource_tracker"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("served"), within=PLAIN) as started:
        assert started.port
        yield started


def _ask(server: Serving, method: str, path: str, body: str = "", **headers: str) -> tuple[int, str]:
    """One request of the administrator's; the names of the headers have `_` for `-`."""
    named = server.login | {name.replace("_", "-"): value for name, value in headers.items()}
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        connection.request(method, path, body.encode() if body else None, named)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")


def _query(server: Serving, query: str) -> Any:
    status, text = _ask(server, "GET", "/graphql?" + urlencode({"query": query}))
    assert status == 200, text
    return json.loads(text)["data"]


def _mutation(key: str) -> str:
    return f'mutation{{setConcurrencyLimit(concurrencyKey:"{key}",limit:1)}}'


def _written(server: Serving) -> set[str]:
    return {limit["concurrencyKey"] for limit in _query(server, KEYS)["instance"]["concurrencyLimits"]}


def _as_json(key: str) -> str:
    return json.dumps({"query": _mutation(key)})


def _in_query(key: str) -> str:
    return "/graphql?" + urlencode({"query": _mutation(key)})


def _websocket(server: Serving, origin: str | None) -> ClientConnection:
    return connect(
        f"ws://127.0.0.1:{server.port}/graphql",
        origin=Origin(origin) if origin else None,
        subprotocols=[Subprotocol("graphql-ws")],
        additional_headers=server.login,
    )


def test_the_home_is_whole_before_anything_is_served(server: Serving) -> None:
    assert (server.home / ".initialised").is_file()
    assert f"Home {server.home}" in server.text()


def test_it_listens_on_loopback_only_and_nothing_else_listens(server: Serving) -> None:
    family = [server.process.pid, *processes_of(server.home)]
    assert wait_for(lambda: len(processes_of(server.home)) >= 4, 30), "server, daemon, a code server of each"
    assert listening_addresses(family) == {(LOOPBACK, server.port)}


def test_no_process_of_it_leaves_an_image_of_its_memory_or_shows_it_to_others(server: Serving) -> None:
    assert wait_for(lambda: len(processes_of(server.home)) >= 4, 30)
    with subprocess.Popen([*PLAIN, "sleep", "60"], stdout=subprocess.DEVNULL) as control:
        try:
            assert wait_for(lambda: not _hidden(control.pid), 10)
        finally:
            control.kill()
    for pid in processes_of(server.home):
        assert "Max core file size        0 " in Path(f"/proc/{pid}/limits").read_text()
        if KEYLESS in Path(f"/proc/{pid}/cmdline").read_bytes():
            continue
        assert wait_for(partial(_hidden, pid), 30), Path(f"/proc/{pid}/cmdline").read_text()


def _hidden(pid: int) -> bool:
    """Whether another process of the same user may not look into this one."""
    looked = subprocess.run([*PLAIN, "cat", f"/proc/{pid}/environ"], capture_output=True, check=False)
    return not looked.stdout


def test_the_daemon_runs(server: Serving) -> None:
    def healthy() -> bool:
        statuses = _query(server, HEALTH)["instance"]["daemonHealth"]["allDaemonStatuses"]
        required = {status["daemonType"]: status["healthy"] for status in statuses if status["required"]}
        return {"SCHEDULER", "SENSOR"} <= required.keys() and all(required.values())

    assert wait_for(healthy, 60)
    # Its sensor gives a sign of life, which is scraped.
    assert wait_for(
        lambda: "\nsecure_platform_daemon_silence_seconds " in _ask(server, "GET", "/metrics")[1], 120
    )


def test_the_ui_has_the_product_in_it(server: Serving) -> None:
    assert "<html" in _ask(server, "GET", "/", Accept="text/html")[1]
    names = "{repositoriesOrError{... on RepositoryConnection{nodes{jobs{name}}}}}"
    nodes = _query(server, names)["repositoriesOrError"]["nodes"]
    assert {"healthcare_build", "healthcare_deploy"} <= {
        job["name"] for node in nodes for job in node["jobs"]
    }


def test_queries_are_answered_under_both_names(server: Serving) -> None:
    own = f"http://localhost:{server.port}"
    body = json.dumps({"query": "{version}"})
    for host in ("127.0.0.1", "localhost"):
        named = f"{host}:{server.port}"
        status, text = _ask(server, "POST", "/graphql", body, Host=named, Origin=own, **_json())
        assert status == 200
        assert set(json.loads(text)["data"]) == {"version"}


def test_a_mutation_is_executed_as_json_post(server: Serving) -> None:
    origin = f"http://127.0.0.1:{server.port}"
    status, text = _ask(server, "POST", "/graphql", _as_json("allowed"), Origin=origin, **_json())
    assert (status, json.loads(text)) == (200, {"data": {"setConcurrencyLimit": True}})
    assert "allowed" in _written(server)


def test_a_mutation_is_executed_in_no_other_way(server: Serving) -> None:
    host = f"127.0.0.1:{server.port}"
    plain = {"Content_Type": "text/plain"}
    answers = {
        "GET": _ask(server, "GET", _in_query("x1")),
        "text/plain": _ask(server, "POST", _in_query("x2"), "x", **plain),
        "text/plain as JSON": _ask(server, "POST", "/graphql", _as_json("x3"), **plain),
        "disguised": _ask(
            server, "POST", "/graphql", _as_json("x4"), Content_Type="text/plain; application/json"
        ),
        "graphql": _ask(server, "POST", "/graphql", _mutation("x5"), Content_Type="application/graphql"),
        "query string": _ask(server, "POST", _in_query("x6")),
        "query string of JSON": _ask(server, "POST", _in_query("x7"), "{}", **_json()),
        "foreign Origin": _ask(server, "POST", "/graphql", _as_json("x8"), Origin=EVIL, **_json()),
        "rebound Host": _ask(
            server, "POST", "/graphql", _as_json("x9"), Host=f"evil.example:{server.port}", **_json()
        ),
        "Host without port": _ask(server, "POST", "/graphql", _as_json("x10"), Host="127.0.0.1", **_json()),
        "other method": _ask(server, "PUT", "/graphql", _as_json("x11"), Host=host, **_json()),
    }
    assert {name: status for name, (status, _) in answers.items()} == {
        "GET": 405,
        "text/plain": 415,
        "text/plain as JSON": 415,
        "disguised": 415,
        "graphql": 415,
        "query string": 415,
        "query string of JSON": 400,
        "foreign Origin": 403,
        "rebound Host": 421,
        "Host without port": 421,
        "other method": 405,
    }
    assert not {key for key in _written(server) if key.startswith("x")}


def test_a_request_without_host_is_refused(server: Serving) -> None:
    for version in ("1.0", "1.1"):
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
            connection.sendall(f"GET / HTTP/{version}\r\nConnection: close\r\n\r\n".encode())
            with connection.makefile("rb") as answer:
                status = answer.readline().split()[1]
        assert status in {b"421", b"400"}


@pytest.mark.parametrize("what", ["materialization", "check", "observation"])
def test_nobody_reports_assets_from_outside(what: str, server: Serving) -> None:
    body = json.dumps({"check_name": "c", "passed": True, "data_version": "1"})
    path = f"/report_asset_{what}/healthcare/release"
    assert _ask(server, "POST", path, body, **_json())[0] == 405
    assert _ask(server, "POST", f"{path}?check_name=c&passed=true&data_version=1")[0] == 415


def test_a_websocket_is_for_our_own_pages(server: Serving) -> None:
    with _websocket(server, f"http://127.0.0.1:{server.port}") as own:
        own.send(json.dumps({"type": "connection_init"}))
        assert json.loads(own.recv(30)) == {"type": "connection_ack"}
        own.send(json.dumps({"type": "start", "id": "1", "payload": {"query": _mutation("x12")}}))
        assert json.loads(own.recv(30))["type"] == "error"
    assert "x12" not in _written(server)
    for origin in (EVIL, "null", f"http://127.0.0.1:{server.port + 1}"):
        with pytest.raises(InvalidStatus) as refused:
            _websocket(server, origin)
        assert refused.value.response.status_code == 403


def test_a_second_server_is_a_clear_usage_error(server: Serving) -> None:
    for home, port, words in (
        (server.home.with_name("other"), server.port, ("Port", "cannot be used", "--port")),
        (server.home, 0, ("is being served already",)),
    ):
        second = subprocess.run(
            serve_command(home, "--port", str(port)),
            cwd=ROOT,
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )
        assert second.returncode == 2
        assert all(word in second.stderr for word in words), second.stderr
        assert "Traceback" not in second.stderr
    assert not server.home.with_name("other").exists()


def test_sigterm_ends_everything(parsed_home: Path, tmp_path: Path) -> None:
    shutil.copytree(parsed_home, tmp_path / "home")
    with serving(tmp_path) as started:
        assert started.port
        assert wait_for(lambda: _ask(started, "GET", "/readyz")[0] == 200, START_SECONDS)
        assert len(processes_of(started.home)) >= 4
        assert started.stop(signal.SIGTERM) == 0
        assert processes_of(started.home) == []
        assert "Traceback" not in started.text()


def test_ctrl_c_while_it_starts_ends_everything(tmp_path: Path) -> None:
    with serving(tmp_path) as starting:
        daemon = wait_for(lambda: _daemons(starting.home), START_SECONDS)
        assert daemon
        os.killpg(starting.process.pid, signal.SIGINT)
        assert starting.process.wait(60) == 0
        left = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in processes_of(starting.home)]
        assert left == []
        assert "Traceback" not in starting.text()


def test_a_server_does_not_outlive_its_daemon_and_says_so_outside(parsed_home: Path, tmp_path: Path) -> None:
    shutil.copytree(parsed_home, tmp_path / "home")
    secret = tmp_path / "slack.secret"
    secret.write_text("T0/B0/xyz")
    secret.chmod(0o600)
    channel = {"name": "ops", "kind": "slack", "secret": f"secret://file/{secret}", "allow": ["127.0.0.0/8"]}
    with (
        http_server() as inbox,
        serving(tmp_path, SECURE_PLATFORM_CHANNELS=json.dumps([{**channel, "url": inbox.url}])) as started,
    ):
        assert started.port
        for pid in _daemons(started.home):
            os.kill(pid, signal.SIGKILL)
        assert started.process.wait(60) == 1
        assert "The daemon ended by itself" in started.text()
        assert processes_of(started.home) == []
        assert [b"The daemon is silent" in body for body in inbox.bodies] == [True]


def _daemons(home: Path) -> list[int]:
    return processes_of(home, "dagster._daemon")


def _json() -> dict[str, str]:
    return {"Content_Type": "application/json"}
