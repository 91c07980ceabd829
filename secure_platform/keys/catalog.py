"""Which keys the ring has, and which of their versions may be used for what.

Every key name has exactly one algorithm. Only the newest version makes new things: when it is not active,
nothing is made, rather than something under an older version. `active` and `decrypt-only` versions open and
verify what exists; `disabled` and `destroyed` ones do nothing. Material is stored wrapped by the provider,
bound to name, version and algorithm.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from sqlalchemy import Connection, select

from secure_platform.control.database import as_utc
from secure_platform.control.tables import key_version
from secure_platform.errors import IntegrityError

DATA: Final = "data"
TOKEN: Final = "token"  # noqa: S105 the name of a key, not a secret
MAC: Final = "mac"
SIGN: Final = "sign"
LOG: Final = "log"
DIGEST: Final = "digest"

ALGORITHMS: Final[Mapping[str, str]] = MappingProxyType(
    {
        DATA: "AES-256-GCM",
        TOKEN: "HKDF-SHA-256",
        MAC: "HMAC-SHA-256",
        SIGN: "ECDSA-P256-SHA-256",
        LOG: "Ed25519",
        DIGEST: "HKDF-SHA-256",
    }
)

PURPOSES: Final[Mapping[str, str]] = MappingProxyType(
    {
        DATA: "wraps the key of each snapshot, release and database",
        TOKEN: "makes tokens, by a key derived for each token domain",
        MAC: "authenticates sidecars, pointers and the texts of approvals",
        SIGN: "signs releases, approvals and pointers",
        LOG: "signs checkpoints of the audit log",
        DIGEST: "digests content and identifiers, so that they cannot be guessed",
    }
)


class KeyState(StrEnum):
    """What a version may still be used for."""

    ACTIVE = "active"
    DECRYPT_ONLY = "decrypt-only"
    DISABLED = "disabled"
    DESTROYED = "destroyed"


_READABLE: Final = frozenset({KeyState.ACTIVE, KeyState.DECRYPT_ONLY})


@dataclass(frozen=True)
class KeyVersion:
    """One version of one key, without its material."""

    name: str
    version: int
    algorithm: str
    state: str
    created_at: datetime


@dataclass(frozen=True)
class StoredKey:
    """One version of one key as the database holds it."""

    about: KeyVersion
    provider: str
    wrapped: bytes | None = field(repr=False)
    public_key: str | None

    @property
    def title(self) -> str:
        """The key's name for an error."""
        return f"Version {self.about.version} of key {self.about.name!r}"

    @property
    def context(self) -> dict[str, str]:
        """What the wrapping binds the material to."""
        return {
            "name": self.about.name,
            "version": str(self.about.version),
            "algorithm": self.about.algorithm,
        }


def stored_keys(connection: Connection, name: str | None = None) -> list[StoredKey]:
    """All versions, or those of one key, oldest first."""
    query = select(key_version).order_by(key_version.c.name, key_version.c.version)
    if name is not None:
        query = query.where(key_version.c.name == name)
    return [
        StoredKey(
            KeyVersion(row.name, row.version, row.algorithm, row.state, as_utc(row.created_at)),
            row.provider,
            row.wrapped,
            row.public_key,
        )
        for row in connection.execute(query)
    ]


def newest(keys: Sequence[StoredKey], name: str) -> StoredKey:
    """The version that makes new things.

    Raises:
        IntegrityError: If there is none, or the newest version is not active.
    """
    if not keys:
        raise IntegrityError(f"The home has no key {name!r}", "Run: secure-platform init")
    current = max(keys, key=lambda key: key.about.version)
    if current.about.state != KeyState.ACTIVE:
        raise IntegrityError(
            f"{current.title} is {current.about.state}, and no older version is used in its place",
            "Restore the control database that has it active.",
        )
    return current


def readable(keys: Sequence[StoredKey], name: str, version: int) -> StoredKey:
    """The version that was used for something that exists.

    Raises:
        IntegrityError: If the home never had it, or it is disabled or destroyed.
    """
    found = next((key for key in keys if key.about.version == version), None)
    if found is None:
        raise IntegrityError(
            f"The home has no version {version} of key {name!r}",
            "Use the home that the data was written in, or restore its control database.",
        )
    if found.about.state not in _READABLE:
        raise IntegrityError(
            f"{found.title} is {found.about.state}", "What was made with it cannot be used; make it again."
        )
    return found
