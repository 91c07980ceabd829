"""A home with a key ring, and a hand inside its database."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import delete, insert, select, update

from secure_platform.control.database import ControlDatabase, utc_now
from secure_platform.control.tables import key_version
from secure_platform.keys.catalog import StoredKey
from secure_platform.keys.home import HomeKeys
from secure_platform.keys.making import make_version
from secure_platform.keys.providers.local import LocalKeyProvider
from secure_platform.keys.ring import KeyRing

CONTEXT = {"product": "healthcare", "dataset": "patients", "zone": "raw", "snapshot_id": "0" * 32}
_PERSONS = count()
NAMES = ["data", "subject", "mac", "sign", "log", "digest"]


class Home:
    """A key ring, and a hand inside its database."""

    def __init__(self, directory: Path, migrated: Path) -> None:
        self.directory = directory
        shutil.copy(migrated, directory / "control.db")
        self.database = ControlDatabase.at(directory / "control.db")
        self.provider = LocalKeyProvider.create(directory / "keys")
        opened = HomeKeys(self.provider, self.database, directory / "audit.db")
        self.ring = opened.ring
        self.created = self.ring.initialise()
        self.audit = opened.audit

    def reopened(self) -> KeyRing:
        provider = LocalKeyProvider.open(self.directory / "keys")
        database = ControlDatabase.at(self.directory / "control.db")
        return HomeKeys(provider, database, self.directory / "audit.db").ring

    def material(self, name: str, version: int = 1) -> bytes:
        return self.ring._opened.material(self.ring._rows.of(name)[version - 1])

    def set(self, name: str, **values: object) -> None:
        with self.database.write() as connection:
            connection.execute(update(key_version).where(key_version.c.name == name).values(values))

    def rows(self) -> dict[tuple[str, int], dict[str, Any]]:
        with self.database.read() as connection:
            found = [dict(row) for row in connection.execute(select(key_version)).mappings()]
        return {(row["name"], row["version"]): row for row in found}

    def put(self, rows: dict[tuple[str, int], dict[str, Any]]) -> None:
        """In place of those that are there."""
        with self.database.write() as connection:
            connection.execute(delete(key_version))
            connection.execute(insert(key_version), list(rows.values()))

    def set_state(self, name: str, version: int, state: str) -> None:
        """As it is recorded."""
        keys = self.ring._rows.of(name)
        about = replace(keys[version - 1].about, state=state)
        self.record([replace(keys[version - 1], about=about)], keys)

    def add_version(self, name: str, version: int, material: bytes, state: str = "active") -> None:
        """A version with known material."""
        keys = self.ring._rows.of(name)
        new = make_version(self.provider, name, version, utc_now(), fips=False)
        about = replace(new.about, state=state)
        wrapped = self.provider.wrap(material, context=new.context)
        self.record([StoredKey(about, wrapped)], keys)

    def record(self, rows: Sequence[StoredKey], seen: Sequence[StoredKey]) -> None:
        self.ring._rows.write("key.change", rows, seen=seen, actor="test", subject="key")


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
        "token/patient": lambda: ring.token_key("patient"),
        "cell/patient": lambda: ring.cell_key("patient"),
        "subject": lambda: ring.subject_keys("patient", [f"p{next(_PERSONS)}"]),
        "mac": lambda: ring.mac("p", b"m"),
        "sign": lambda: ring.sign(b"m"),
        "log": lambda: ring.log_signer("n").sign(b"m"),
        "digest": lambda: ring.digest_key("p"),
    }


class CountedProvider(LocalKeyProvider):
    """Counts how often it is asked, which with a real service is a request each."""

    asked = 0

    def generate(self, context: Mapping[str, str]) -> tuple[bytes, bytes]:
        self.asked += 1
        return super().generate(context)

    def wrap(self, plaintext: bytes, *, context: Mapping[str, str]) -> bytes:
        self.asked += 1
        return super().wrap(plaintext, context=context)

    def unwrap(self, wrapped: bytes, *, context: Mapping[str, str]) -> bytes:
        self.asked += 1
        return super().unwrap(wrapped, context=context)


def counted(home: Home) -> tuple[KeyRing, CountedProvider]:
    """The ring of this home as another process opens it."""
    provider = CountedProvider.open(home.directory / "keys")
    database = ControlDatabase.at(home.directory / "control.db")
    return HomeKeys(provider, database, home.directory / "audit.db").ring, provider
