"""What a test needs and a machine may lack: a user's run skips the test by name, CI's fails."""

import os
from typing import NoReturn

import pytest


def missing(reason: str) -> NoReturn:
    """End this test; the reason says what is not there and how to get it."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
