"""Starts the real `secure-platform serve` in a home of its own and looks at its processes."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from waiting import processes_of, sees_processes, wait_for
from web_login import admin_token

from secure_platform.settings import load_settings

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 180
STOP_SECONDS = 60
_URL = re.compile(r"^http://127\.0\.0\.1:(\d+)  ", re.MULTILINE)
_LISTENING = "0A"


@dataclass(frozen=True)
class Serving:
    """A started server; its output goes to a file, so that no full pipe can stop it."""

    process: subprocess.Popen[bytes]
    home: Path
    output: Path

    @property
    def port(self) -> int:
        """Its port, once it has said its URL."""
        found = wait_for(lambda: _URL.search(self.text()) or self.process.poll() is not None, START_SECONDS)
        assert isinstance(found, re.Match), self.text()
        return int(found[1])

    @property
    def login(self) -> dict[str, str]:
        """What the administrator's program sends."""
        return admin_token(load_settings(home=self.home))

    def text(self) -> str:
        return self.output.read_text(errors="replace")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)


def clean_environment(**given: str) -> dict[str, str]:
    """The environment without what names a home, a token or a Dagster instance."""
    ours = ("SECURE_PLATFORM_", "DAGSTER_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "DAGSTER_DISABLE_TELEMETRY": "1", **given}


def serve_command(home: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "secure_platform", "--home", str(home), "serve", *options]


@contextmanager
def serving(
    directory: Path, port: int = 0, *, within: Sequence[str] = (), **environment: str
) -> Iterator[Serving]:
    """A server on the home below the directory; the caller may stop it, what is left is killed."""
    output = directory / "output.txt"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [*within, *serve_command(directory / "home", "--port", str(port))],
            cwd=ROOT,
            env=clean_environment(SECURE_PLATFORM_HOME=str(directory / "home"), **environment),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = Serving(process, directory / "home", output)
    try:
        yield server
    finally:
        if process.poll() is None:
            server.stop()
        for pid in processes_of(server.home) if sees_processes() else ():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def listening_addresses(pids: list[int]) -> set[tuple[str, int]]:
    """Address (hexadecimal, as the kernel writes it) and port of every TCP socket that they listen on."""
    inodes = set()
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                inodes.add(str(descriptor.readlink()))
            except OSError:
                continue
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for row in Path(table).read_text().splitlines()[1:]:
            fields = row.split()
            if fields[3] == _LISTENING and f"socket:[{fields[9]}]" in inodes:
                address, _, port = fields[1].partition(":")
                found.add((address, int(port, 16)))
    return found
