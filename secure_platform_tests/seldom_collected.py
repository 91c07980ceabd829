"""The garbage collector looks seldom, and at what tests made only; a pytest plugin named in pyproject.toml.

What is imported stays, a million objects of modules, classes and tests. Looking through them again and again
was a third of what it costs to collect the tests, in each of their processes.
"""

import gc
from typing import Final

import pytest

NEW: Final = 20_000
"""How many new objects make it look at the young ones; Python's own default is 700."""

gc.set_threshold(NEW, *gc.get_threshold()[1:])


def pytest_collection_finish(session: pytest.Session) -> None:  # noqa: ARG001 - pytest's signature
    """From here on it looks at what tests make, and nothing else."""
    gc.collect()
    gc.freeze()
