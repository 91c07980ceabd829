"""What was erased of a person, and what was not, is written down before it happens, and stays.

One sealed file for each person of a domain, named by their keyed hash. A call that died is said again: it
finds here what stands for the person even where the rows that told it are gone. That is encrypted, and
removed with the last of what it stands for.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from secure_platform.files import private_directory, replace_private
from secure_platform.keys.ring import KeyRing
from secure_platform.store import records

FOLDER: Final = "erasures"
WHOLE: Final = ": whole, for nobody can tell any more whose its rows are"
"""After the name of what was deleted without its being known whether the person was in it."""
UNTOLD: Final = ": nobody can tell whose its rows are, and no build makes it anew"
"""After the name of what stays though the person may be in it."""
_PURPOSE: Final = "erasure"
_SEALED: Final = ("cells", "tokens")


@dataclass
class Tombstone:
    """What became of one person's data.

    Attributes:
        person: Keyed hash of who it is.
        shredded: Columns whose cells are unreadable wherever they lie, because the person's key is destroyed.
        deleted: Snapshots, packages and databases.
        rewritten: Snapshots without the person's rows, and what replaced them.
        held: What is on legal hold, and for which matter.
        standing: What still has their tokens, and why.
        counted: Snapshots with their rows whose counts, and means of eleven rows or more, remain.
        cells: What stands for them outside raw; nothing once nothing is left.
        tokens: Stored tokens of theirs that are on hold; as the cells.
    """

    person: str
    domain: str
    products: list[str]
    began_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    ended_at: str | None = None
    shredded: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    rewritten: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    standing: list[str] = field(default_factory=list)
    counted: list[str] = field(default_factory=list)
    cells: set[str] = field(default_factory=set, repr=False)
    tokens: set[str] = field(default_factory=set, repr=False)

    @property
    def complete(self) -> bool:
        """Whether nothing of the person is left that could be found."""
        return self.ended_at is not None

    def to_json(self) -> dict[str, Any]:
        """For people: everything but what stands for the person."""
        return {name: value for name, value in vars(self).items() if name not in _SEALED}


class Tombstones:
    """The tombstones of one home.

    Args:
        home: Its folder.
        keys: Seal them.
    """

    def __init__(self, home: Path, keys: KeyRing) -> None:
        self.folder = private_directory(home / FOLDER)
        self._keys = keys

    def find(self, identities: Collection[str]) -> Tombstone | None:
        """The tombstone of a person by any keyed hash that may stand for them.

        Raises:
            IntegrityError: If it is not what was written.
        """
        for identity in identities:
            path = self._path(identity)
            if path.exists():
                name = f"The tombstone {path.name}"
                body = records.unseal(self._keys, _PURPOSE, path.read_bytes(), name=name)
                return Tombstone(**{**body, **{field: self._opened(body, field) for field in _SEALED}})
        return None

    def save(self, tombstone: Tombstone) -> None:
        """Write it in place of the former one."""
        body = {**tombstone.to_json(), **{field: self._sealed(tombstone, field) for field in _SEALED}}
        replace_private(self._path(tombstone.person), records.seal(self._keys, _PURPOSE, body))

    def _sealed(self, tombstone: Tombstone, name: str) -> str:
        if not (cells := getattr(tombstone, name)):
            return ""
        content = json.dumps(sorted(cells)).encode()
        return self._keys.seal_secret(_PURPOSE, _bound(tombstone.person, name), content).hex()

    def _opened(self, body: dict[str, Any], name: str) -> set[str]:
        # Before there were stored tokens, there was no field for them.
        if not body.get(name):
            return set()
        sealed = bytes.fromhex(body[name])
        return set(json.loads(self._keys.open_secret(_PURPOSE, _bound(body["person"], name), sealed)))

    def _path(self, identity: str) -> Path:
        return self.folder.parent / file_of(identity)


def file_of(identity: str) -> str:
    """Where a person's tombstone is in the home.

    Args:
        identity: Their keyed hash.
    """
    return f"{FOLDER}/{identity.removeprefix('p:')}.json"


def _bound(person: str, name: str) -> dict[str, str]:
    return {"person": person} if name == "cells" else {"person": person, "field": name}
