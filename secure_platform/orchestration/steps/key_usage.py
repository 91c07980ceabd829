"""What in a home could not be read without one version of a key, counted before that version is removed.

The count is taken from the records themselves, whatever else was recorded about them. Nothing is opened, and
nothing is trusted.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from secure_platform.access.own_records import rows_needing
from secure_platform.errors import IntegrityError
from secure_platform.keys.catalog import DATA, MAC, SIGN, TOKEN, KeyVersion, domain_of_name
from secure_platform.keys.signing import keyid_of
from secure_platform.keys.wrapped import WrappedDataKey
from secure_platform.services import Services

ROOMS: Final = {"lake": "snapshots", "releases": "releases", "warehouse": "databases in production"}
_WRAPPED: Final = re.compile(rb"c3Bkaw[A-Za-z0-9+/]+={0,2}")
_MAC: Final = re.compile(rb"\bm([1-9][0-9]{0,8}):[0-9a-f]{64}\b")


def usage_of(services: Services, about: KeyVersion) -> dict[str, int]:
    """Description of what needs the version → how many; empty if nothing does, or it cannot be counted."""
    found: dict[str, int] = {}
    for room, what in ROOMS.items():
        count = sum(_needs(record, about) for record in _records(services.settings.home / room))
        if count:
            found[f"records of {what}"] = count
    if about.kind == DATA and (kept := services.local_secrets.sealed_with(about.version)):
        found["secrets of this home"] = kept
    if about.kind == TOKEN and (
        kept := services.keys.stored_tokens.count(domain_of_name(about.name), about.version)
    ):
        found["stored tokens"] = kept
    rows = rows_needing(services.database, about.kind, about.version)
    return found | {f"rows of {table}": count for table, count in rows.items()}


def _records(room: Path) -> Iterator[bytes]:
    """Every JSON document in a directory; databases and Parquet files begin differently."""
    for path in room.rglob("*"):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                if file.read(1) == b"{":
                    yield file.read()


def _needs(content: bytes, about: KeyVersion) -> bool:
    match about.kind:
        case kind if kind == DATA:
            return any(_wraps(text.decode(), about.version) for text in _WRAPPED.findall(content))
        case kind if kind == MAC:
            return str(about.version).encode() in _MAC.findall(content)
        case kind if kind == SIGN and about.public_key is not None:
            return keyid_of(about.public_key).encode() in content
        case _:
            return False


def _wraps(text: str, version: int) -> bool:
    try:
        return WrappedDataKey.parse(text).version == version
    except IntegrityError:
        return False
