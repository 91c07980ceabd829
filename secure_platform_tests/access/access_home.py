"""Principals over a fresh control database and audit log."""

import shutil
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Row, select, update

from secure_platform.access.principals import Principals
from secure_platform.access.seals import Change, SealedRows
from secure_platform.access.tokens import IssuedToken, Tokens
from secure_platform.control.database import ControlDatabase
from secure_platform.control.tables import token as token_table
from secure_platform.keys.home import HomeKeys
from secure_platform.keys.providers.local import LocalKeyProvider


class Home:
    """Principals over a fresh database and log."""

    def __init__(self, directory: Path, migrated: Path | None) -> None:
        self.directory = directory
        if migrated is not None:
            shutil.copy(migrated, directory / "control.db")
            shutil.copytree(migrated.with_name("keys"), directory / "keys")
        self.database = ControlDatabase.at(directory / "control.db")
        opened = HomeKeys(LocalKeyProvider.open(directory / "keys"), self.database, directory / "audit.db")
        self.keys, self.audit = opened.ring, opened.audit
        self.rows = SealedRows(self.database, self.keys, self.audit)
        self.principals = Principals(self.database, self.audit, self.rows)
        self.tokens = Tokens(self.database, self.audit, self.rows, self.principals)

    @classmethod
    def reopen(cls, directory: Path) -> Self:
        """The same home in another process."""
        return cls(directory, None)

    def add(self, name: str = "alice", *roles: str) -> IssuedToken:
        self.principals.add(name, roles=roles, actor="admin")
        return self.tokens.issue(name, actor="admin")

    def entries(self) -> list[tuple[str, str, str]]:
        return [(e.body["action"], e.body["phase"], e.body["subject"]) for e in self.audit.entries()]

    def token(self, token_id: str) -> Row[Any]:
        with self.database.read() as connection:
            return connection.execute(select(token_table).where(token_table.c.token_id == token_id)).one()

    def write_token(self, token_id: str, **values: object) -> None:
        """Another row in its place, written as ours are."""
        row = self.rows.one(token_table, token_id)
        assert row is not None
        change = Change(token_table, row, {**row, **values})
        self.rows.write("token.change", [change], actor="test", subject=f"token:{token_id}")

    def set_token(self, token_id: str, **values: object) -> None:
        """What somebody could do who can write to the database."""
        with self.database.write() as connection:
            connection.execute(update(token_table).where(token_table.c.token_id == token_id).values(values))


def migrate(path: Path) -> Path:
    """An empty control database to copy; the migrations take longer than most tests."""
    database = ControlDatabase.at(path)
    database.migrate()
    provider = LocalKeyProvider.create(path.with_name("keys"))
    HomeKeys(provider, database, path.with_name("audit.db")).ring.initialise()
    database.close()
    return path
