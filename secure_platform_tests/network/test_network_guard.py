"""The guard refuses and reports; what it lets through stays on this machine."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from network_guard import Attempts
from refuse_network import NetworkRefusedError

from secure_platform.settings import PACKAGE

Take = Callable[[], Attempts]
SWALLOWS = """
import contextlib, socket
with contextlib.suppress(OSError):
    socket.getaddrinfo("example.org", 443)
"""
GRANDCHILD = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {SWALLOWS!r}], env={{}}, check=True)
"""
SPAWNED = f"""
import multiprocessing, runpy
if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=exec, args=({SWALLOWS!r},))
    process.start()
    process.join()
"""
FAR = ["example.org", b"example.org", "192.0.2.1", "2001:db8::1", "10.0.0.1", "localhost.example.org"]


@pytest.mark.parametrize("host", FAR)
def test_a_look_up_is_refused_and_reported(host: str | bytes, network_attempts: Take) -> None:
    with pytest.raises(NetworkRefusedError):
        socket.getaddrinfo(host, 443)
    (attempt,) = network_attempts()
    assert (attempt["event"], attempt["host"]) == ("socket.getaddrinfo", repr(host))


@pytest.mark.parametrize("name", ["gethostbyname", "gethostbyaddr", "gethostbyname_ex"])
def test_every_kind_of_look_up_is(name: str, network_attempts: Take) -> None:
    with pytest.raises(NetworkRefusedError):
        getattr(socket, name)("example.org")
    assert len(network_attempts()) == 1


@pytest.mark.parametrize(
    ("family", "host"), [(socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")]
)
def test_a_connection_and_a_datagram_are(
    family: socket.AddressFamily, host: str, network_attempts: Take
) -> None:
    with closing(socket.socket(family, socket.SOCK_DGRAM)) as plain:
        for attempt in (plain.connect, lambda address: plain.sendto(b"x", address)):
            with pytest.raises(NetworkRefusedError):
                attempt((host, 53))
    assert [attempt["event"] for attempt in network_attempts()] == ["socket.connect", "socket.sendto"]


@pytest.mark.parametrize("environment", [None, {}, {"PATH": os.environ["PATH"], "PYTHONPATH": "elsewhere"}])
@pytest.mark.parametrize("program", [SWALLOWS, GRANDCHILD])
def test_a_child_that_swallows_the_error_is_reported(
    program: str, environment: dict[str, str] | None, network_attempts: Take
) -> None:
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    (attempt,) = network_attempts()
    assert "example.org" in attempt["program"]


def test_a_process_that_multiprocessing_spawns_is_reported(tmp_path: Path, network_attempts: Take) -> None:
    (tmp_path / "spawns.py").write_text(SPAWNED)
    subprocess.run([sys.executable, tmp_path / "spawns.py"], check=True)
    assert len(network_attempts()) == 1


def test_this_machine_may_be_reached(tmp_path: Path) -> None:
    for host in ("127.0.0.1", "localhost", "::1"):
        assert socket.getaddrinfo(host, 80)
    assert socket.getaddrinfo(None, 80)
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as server,
        closing(socket.create_connection(server.getsockname())),
        closing(socket.socket(socket.AF_UNIX)) as listener,
        closing(socket.socket(socket.AF_UNIX)) as caller,
    ):
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        caller.connect(str(tmp_path / "s"))


PLUGGED = """
import contextlib, socket
def test_quiet():
    with contextlib.suppress(OSError):
        socket.getaddrinfo("example.org", 443)
def test_clean():
    pass
"""


def test_a_test_that_phones_home_fails_by_name(tmp_path: Path) -> None:
    (tmp_path / "test_inner.py").write_text(PLUGGED)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    tests = PACKAGE.parent / "secure_platform_tests"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "network_guard", "-p", "no:cacheprovider", tmp_path],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(tests), str(tests / "network")))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert re.search(r"^ERROR .*test_inner.py::test_quiet", done.stdout, re.MULTILINE)
    assert "1 error" in done.stdout
    assert "example.org" in done.stdout
