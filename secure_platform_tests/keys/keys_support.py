"""A home with a key ring, and a hand inside its database."""

import shutil
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import insert, select, update

from secure_platform.control.database import ControlDatabase, utc_now
from secure_platform.control.tables import key_version
from secure_platform.keys.providers.local import LocalKeyProvider
from secure_platform.keys.ring import KeyRing

CONTEXT = {"product": "healthcare", "dataset": "patients", "zone": "raw", "snapshot_id": "0" * 32}
NAMES = ["data", "token", "mac", "sign", "log", "digest"]


class Home:
    """A key ring, and a hand inside its database."""

    def __init__(self, directory: Path, migrated: Path) -> None:
        self.directory = directory
        shutil.copy(migrated, directory / "control.db")
        self.database = ControlDatabase.at(directory / "control.db")
        self.provider = LocalKeyProvider.create(directory / "keys")
        self.ring = KeyRing(self.provider, self.database)
        self.created = self.ring.initialise()

    def reopened(self) -> KeyRing:
        return KeyRing(
            LocalKeyProvider.open(self.directory / "keys"), ControlDatabase.at(self.directory / "control.db")
        )

    def set(self, name: str, **values: object) -> None:
        with self.database.write() as connection:
            connection.execute(update(key_version).where(key_version.c.name == name).values(values))

    def set_state(self, name: str, version: int, state: str) -> None:
        ours = (key_version.c.name == name) & (key_version.c.version == version)
        with self.database.write() as connection:
            connection.execute(update(key_version).where(ours).values(state=state))

    def add_version(self, name: str, version: int, material: bytes, state: str = "active") -> None:
        with self.database.write() as connection:
            first = connection.execute(select(key_version).where(key_version.c.name == name)).first()
            assert first is not None
            context = {"name": name, "version": str(version), "algorithm": first.algorithm}
            connection.execute(
                insert(key_version).values(
                    name=name,
                    version=version,
                    algorithm=first.algorithm,
                    state=state,
                    provider="local",
                    wrapped=self.provider.wrap(material, context=context),
                    created_at=utc_now(),
                )
            )


def migrate(path: Path) -> Path:
    """An empty control database to copy; the migrations take longer than most tests."""
    database = ControlDatabase.at(path)
    database.migrate()
    database.close()
    return path


def uses(ring: KeyRing) -> dict[str, Callable[[], object]]:
    """One use of each key that makes something new."""
    return {
        "data": lambda: ring.new_data_key(CONTEXT),
        "token": lambda: ring.token_key("patient"),
        "mac": lambda: ring.mac("p", b"m"),
        "sign": lambda: ring.sign(b"m"),
        "log": lambda: ring.log_signer("n"),
        "digest": lambda: ring.digest_key("p"),
    }
