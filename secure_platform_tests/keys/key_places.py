"""A home's keys over any provider, what was made with them, and what must hold while the provider fails."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from secure_platform.control.database import ControlDatabase
from secure_platform.control.tables import key_version
from secure_platform.errors import SecurePlatformError
from secure_platform.keys.home import HomeKeys
from secure_platform.keys.provider import KeyProvider
from secure_platform.keys.ring import KeyRing

SNAPSHOT = {"snapshot_id": "1"}
ADMIN = "user:admin"


@dataclass(frozen=True)
class Place:
    """A home's keys, opened as often as by another process."""

    folder: Path

    @classmethod
    def new(cls, folder: Path) -> "Place":
        place = cls(folder)
        place.database.migrate()
        return place

    @property
    def database(self) -> ControlDatabase:
        return ControlDatabase.at(self.folder / "control.db")

    def keys(self, provider: KeyProvider) -> HomeKeys:
        return HomeKeys(provider, self.database, self.folder / "audit.db", origin="secure-platform/test")

    def rows(self) -> list[Any]:
        with self.database.read() as connection:
            return list(connection.execute(select(key_version)).all())


@dataclass(frozen=True)
class Kept:
    """What was made with the keys, which must be there after every fault."""

    wrapped: str
    plaintext: bytes
    token: bytes

    @classmethod
    def made(cls, ring: KeyRing) -> "Kept":
        ring.initialise()
        made = ring.new_data_key(SNAPSHOT)
        return cls(made.wrapped, made.plaintext, ring.token_key("patient").key)

    def require(self, keys: HomeKeys) -> None:
        assert keys.ring.open_data_key(self.wrapped, SNAPSHOT) == self.plaintext
        assert keys.ring.token_key("patient").key == self.token
        assert keys.ring.lifecycle.rotate("data", actor=ADMIN).version == 2
        keys.audit.verify()

    def attempts(self, keys: HomeKeys) -> dict[str, Callable[[], object]]:
        """Everything that needs a key which this process has not opened yet."""
        ring = keys.ring
        return {
            "open": lambda: ring.open_data_key(self.wrapped, SNAPSHOT),
            "token": lambda: ring.token_key("patient"),
            "new domain": lambda: ring.token_key("order"),
            "rotate": lambda: ring.lifecycle.rotate("data", actor=ADMIN),
            "rewrap": lambda: ring.lifecycle.rewrap(actor=ADMIN),
            "mac": lambda: ring.mac("p", b"m"),
        }


def refused(place: Place, attempts: Mapping[str, Callable[[], object]], told: str) -> None:
    before = place.rows()
    for attempt in attempts.values():
        with pytest.raises(SecurePlatformError, match=told) as refusal:
            attempt()
        assert refusal.value.__cause__ is None
    assert place.rows() == before


class Interrupted:
    """A real provider, before whose n-th call something happens."""

    def __init__(self, provider: KeyProvider, call: int, happens: Callable[[], object]) -> None:
        self._provider = provider
        self._left = call
        self._happens = happens
        self.name = provider.name

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._provider, name)

        def call(*arguments: Any, **options: Any) -> Any:
            self._left -= 1
            if self._left == 0:
                self._happens()
            return found(*arguments, **options)

        return call
