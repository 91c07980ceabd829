"""A home of its own for every test, and an environment that names none."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_support import Cli, clean_environment


@pytest.fixture(autouse=True)
def isolated() -> Iterator[None]:
    with clean_environment():
        yield


@pytest.fixture
def home(parsed_home: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(parsed_home, tmp_path / "home"))


@pytest.fixture
def cli(home: Path) -> Cli:
    return Cli(home)
