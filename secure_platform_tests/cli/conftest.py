"""A home of its own for every test, and an environment that names none."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_support import Cli, clean_environment

from secure_platform.orchestration.home import prepare
from secure_platform.settings import load_settings


@pytest.fixture(autouse=True)
def isolated() -> Iterator[None]:
    with clean_environment():
        yield


@pytest.fixture(scope="session")
def fresh_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An initialised home that is only copied."""
    home = tmp_path_factory.mktemp("fresh") / "home"
    prepare(load_settings(home=home))
    return home


@pytest.fixture
def home(fresh_home: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(fresh_home, tmp_path / "home"))


@pytest.fixture
def cli(home: Path) -> Cli:
    return Cli(home)
