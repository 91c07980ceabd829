"""Where the tests find third-party data; a pytest plugin named in pyproject.toml."""

import json
import os
from pathlib import Path

import pytest
from required import missing

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Third-party data beside the checkout; it is read in place and never copied into the project."""
    directory = Path(os.environ.get("SECURE_PLATFORM_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not directory.is_dir():
        missing("third-party test data is missing; set SECURE_PLATFORM_TEST_DATA to its folder")
    return directory


@pytest.fixture
def naughty_strings(shared_data: Path) -> list[str]:
    """The Big List of Naughty Strings."""
    found = json.loads((shared_data / "torture" / "blns.json").read_text("utf-8"))
    assert len(found) == 515
    return list(found)
