"""Runs commands in this process, or as a user does, and keeps what they printed."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secure_platform.cli.main import run

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(sys.executable).with_name("secure-platform")


@dataclass(frozen=True)
class Result:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on standard output; anything beside it is an error."""
        return json.loads(self.out)


class Cli:
    """Commands on one home, in this process."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def __call__(self, *arguments: str, token: str | Path | None = None) -> Result:
        """Run one command, with the token of a principal of `keys/`, of a file, or of nobody."""
        file = self.home / "keys" / f"{token}.token" if isinstance(token, str) else token
        given = [] if file is None else ["--token-file", str(file)]
        os.environ.pop("SECURE_PLATFORM_TOKEN_FILE", None)
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = run(["--home", str(self.home), *given, *arguments])
        return Result(code, out.getvalue(), err.getvalue())

    def add(self, name: str, *roles: str) -> None:
        """Add a principal whose token is in `keys/`."""
        given = [word for role in roles for word in ("--role", role)]
        assert self("principal", "add", name, *given, token="admin").code == 0
        file = str(self.home / "keys" / f"{name}.token")
        assert self("token", "issue", name, "--out", file, token="admin").code == 0


def execute(*arguments: str, home: Path, environment: Mapping[str, str] = {}) -> Result:
    """Run the installed program in a process of its own."""
    finished = subprocess.run(
        [str(PROGRAM), "--home", str(home), *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    return Result(finished.returncode, finished.stdout, finished.stderr)


@contextmanager
def clean_environment() -> Iterator[None]:
    """Commands tell their child processes the home by the environment: nothing of it may come in or stay."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(("SECURE_PLATFORM_", "DAGSTER_", "COLUMNS")):
            del os.environ[name]
    yield
    os.environ.clear()
    os.environ.update(before)
