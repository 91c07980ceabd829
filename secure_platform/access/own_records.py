"""Which key versions the platform's own records need: without these, nobody could log in.

Rows that say who may do what carry a MAC, and texts that people wrote are encrypted in their row. Only the
version is read here: nothing is opened, and nothing is trusted.
"""

import re
from typing import Any, Final

from sqlalchemy import Column, ScalarResult, select

from secure_platform.control.database import ControlDatabase
from secure_platform.control.tables import access_grant, approval, credential, freeze, incident, metadata
from secure_platform.keys.catalog import DATA, DIGEST, MAC
from secure_platform.keys.material import SEALED_VERSION

ENCRYPTED: Final = (
    access_grant.c.reason,
    access_grant.c.review,
    freeze.c.reason,
    incident.c.note,
    credential.c.totp_secret,
    approval.c.reason,
)
_SEAL: Final = re.compile(r"m([1-9][0-9]{0,8}):")


def rows_needing(database: ControlDatabase, kind: str, version: int) -> dict[str, int]:
    """How many rows of which table cannot be read without this version of a key."""
    columns = {MAC: _seals(), DATA: ENCRYPTED}.get(kind, ())
    found: dict[str, int] = {}
    with database.read() as connection:
        for column in columns:
            values: ScalarResult[Any] = connection.execute(
                select(column).where(column.is_not(None))
            ).scalars()
            count = sum(_version(value) == version for value in values)
            if count:
                name = column.table.name
                found[name] = found.get(name, 0) + count
    return found


def names_people(kind: str) -> bool:
    """Whether the audit log's pseudonyms are made with such a key: every version of it is needed for good."""
    return kind == DIGEST


def _seals() -> tuple[Column[Any], ...]:
    return tuple(table.c.seal for table in metadata.sorted_tables if "seal" in table.c)


def _version(value: str | bytes) -> int | None:
    if isinstance(value, str):
        found = _SEAL.match(value)
        return int(found[1]) if found else None
    return int(SEALED_VERSION.unpack_from(value)[0]) if len(value) >= SEALED_VERSION.size else None
