"""Runs a command on a home, and on the server that serves it."""

import io
import json
import os
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from built_home import Built

from secure_platform.cli.main import run


@dataclass(frozen=True)
class Said:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def command(home: Path, *words: str, token: Path | None = None) -> Said:
    """Run one command in this process, with the token in a file or with none."""
    given = [] if token is None else ["--token-file", str(token)]
    os.environ.pop("SECURE_PLATFORM_TOKEN_FILE", None)
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run(["--home", str(home), *given, *words])
    return Said(code, out.getvalue(), err.getvalue())


@dataclass(frozen=True)
class Both:
    """A home, the URL it is served at, and a place where no home ever is."""

    built: Built
    url: str
    nowhere: Path

    def here(self, *words: str, token: str = "sam") -> Said:
        return command(self.built.home, *words, token=self.built.token(token))

    def there(self, *words: str, token: str = "sam") -> Said:
        said = command(self.nowhere, *words, "--server", self.url, token=self.built.token(token))
        assert not self.nowhere.exists()
        return said
