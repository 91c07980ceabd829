"""Passwords and passphrases are slow to guess on purpose; tests wait for that only where they test it.

A plugin named in pyproject.toml. A password is hashed by Argon2id with less memory, by the same code. What
scrypt makes of a passphrase is computed once for each salt. A program that a test starts does neither.
"""

from collections.abc import Iterator
from functools import cache
from typing import Final

import pytest
from argon2 import PasswordHasher

from secure_platform.access import passwords
from secure_platform.keys.passphrase import Stretching

QUICK: Final = PasswordHasher(time_cost=1, memory_cost=256, parallelism=1)
SLOW: Final = passwords._hasher
"""What users get."""


@pytest.fixture(scope="session", autouse=True)
def quick_passwords() -> Iterator[None]:
    """What a test process hashes itself is hashed in a millisecond."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_hasher", QUICK)
        patch.setattr(Stretching, "key", cache(Stretching.key))
        yield


@pytest.fixture
def slow_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are hashed as they are for users."""
    monkeypatch.setattr(passwords, "_hasher", SLOW)
