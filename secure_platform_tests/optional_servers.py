"""Programs that some tests need and `make servers` installs; a pytest plugin named in pyproject.toml.

A user's machine may lack them: the test is skipped by name. In CI it fails.
"""

import os
import shutil
from pathlib import Path

import pytest

CHROMIUM = ("chromium", "google-chrome")


def required(what: str, programs: tuple[str, ...]) -> Path:
    """The first of these programs that is installed."""
    for program in programs:
        if found := shutil.which(program):
            return Path(found)
    reason = f"{what} is not installed: make servers"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def chromium() -> Path:
    return required("Chromium", CHROMIUM)
