"""Where the tests find third-party data; a pytest plugin named in pyproject.toml."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Third-party data beside the checkout; it is read in place and never copied into the project."""
    directory = Path(os.environ.get("SECURE_PLATFORM_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not directory.is_dir():
        if os.environ.get("CI"):
            pytest.fail("third-party test data is missing; set SECURE_PLATFORM_TEST_DATA")
        pytest.skip("third-party test data is missing; set SECURE_PLATFORM_TEST_DATA to its folder")
    return directory
