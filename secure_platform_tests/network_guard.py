"""Nothing phones home while the suite runs; a pytest plugin named in pyproject.toml.

A test fails that looked up a name or connected beyond this machine, itself or through a Python program that
it started, whatever became of the error.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest
from refuse_network import install

Attempts: TypeAlias = list[dict[str, Any]]
_FOLDER: Final = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """From here on: collecting imports what is tested."""
    folder = Path(tempfile.mkdtemp(prefix="network-guard-"))
    config.stash[_FOLDER] = folder
    (folder / "attempts").touch()
    install(folder / "attempts")


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(config.stash[_FOLDER])


@pytest.fixture(scope="session")
def network_attempts(request: pytest.FixtureRequest) -> Iterator[Callable[[], Attempts]]:
    """Tells and forgets what was attempted; a test that attempts something on purpose asks for it."""
    report = request.config.stash[_FOLDER] / "attempts"

    def take() -> Attempts:
        lines = report.read_text(encoding="utf-8").splitlines()
        report.write_text("", encoding="utf-8")
        return [json.loads(line) for line in lines]

    yield take
    # What outlived its test, such as a server of a whole module.
    assert take() == []


@pytest.fixture(autouse=True)
def nothing_phones_home(network_attempts: Callable[[], Attempts]) -> Iterator[None]:
    yield
    assert network_attempts() == []
