"""Which keys the ring has, and which of their versions may be used for what.

A key is named by its kind, or by its kind and a domain (`token/patient`); each kind has one algorithm.
Only the newest version makes new things: when it is not active, nothing is made, rather than something under
an older version. `active` and `decrypt-only` versions open and verify what exists; `disabled` and `destroyed`
ones do nothing. Material is stored wrapped by the provider, bound to name, version and algorithm.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import Connection, select

from secure_platform.control.database import as_utc
from secure_platform.control.tables import key_version
from secure_platform.errors import IntegrityError

DATA: Final = "data"
TOKEN: Final = "token"  # noqa: S105 the name of a key, not a secret
CELL: Final = "cell"
SUBJECT: Final = "subject"
MAC: Final = "mac"
SIGN: Final = "sign"
LOG: Final = "log"
DIGEST: Final = "digest"

ALGORITHMS: Final[Mapping[str, str]] = MappingProxyType(
    {
        DATA: "AES-256-GCM",
        TOKEN: "HKDF-SHA-256",
        CELL: "AES-256-SIV",
        SUBJECT: "AES-256-GCM",
        MAC: "HMAC-SHA-256",
        SIGN: "ECDSA-P256-SHA-256",
        LOG: "Ed25519",
        DIGEST: "HKDF-SHA-256",
    }
)

PURPOSES: Final[Mapping[str, str]] = MappingProxyType(
    {
        DATA: "wraps the key of each snapshot, release and database",
        TOKEN: "makes tokens; each token domain has its own",
        CELL: "encrypts cells so that they can be read again; each domain has its own",
        SUBJECT: "wraps the key of each person, which is destroyed with what it encrypts",
        MAC: "authenticates sidecars, pointers and the texts of approvals",
        SIGN: "signs releases, approvals and pointers",
        LOG: "signs checkpoints of the audit log",
        DIGEST: "digests content and identifiers, so that they cannot be guessed",
    }
)
# The others are made for a domain when it first needs one.
SINGLE: Final = (DATA, SUBJECT, MAC, SIGN, LOG, DIGEST)


class KeyState(StrEnum):
    """What a version may still be used for."""

    ACTIVE = "active"
    DECRYPT_ONLY = "decrypt-only"
    DISABLED = "disabled"
    DESTROYED = "destroyed"


READABLE: Final = frozenset({KeyState.ACTIVE, KeyState.DECRYPT_ONLY})


@dataclass(frozen=True)
class KeyVersion:
    """One version of one key, without its material.

    Attributes:
        provider: Who wraps it, or holds it.
        reference: What the provider calls it, if the provider holds it and signs with it.
        public_key: Of a signing key: SPKI PEM; of the log's: 64 hex digits.
        changed_at: When its state or its wrapping was last changed.
    """

    name: str
    version: int
    algorithm: str
    state: str
    provider: str
    reference: str | None
    public_key: str | None
    created_at: datetime
    changed_at: datetime

    @property
    def kind(self) -> str:
        """What kind of key it is."""
        return kind_of(self.name)

    @property
    def readable(self) -> bool:
        """Whether what was made with it may still be opened and verified."""
        return self.state in READABLE

    @property
    def title(self) -> str:
        """Its name for an error."""
        return f"Version {self.version} of key {self.name!r}"


@dataclass(frozen=True)
class StoredKey:
    """One version of one key as the database holds it."""

    about: KeyVersion
    wrapped: bytes | None = field(repr=False)
    seal: str = field(default="", repr=False)

    @property
    def context(self) -> dict[str, str]:
        """What the wrapping binds the material to."""
        about = self.about
        return {"name": about.name, "version": str(about.version), "algorithm": about.algorithm}

    @property
    def row(self) -> dict[str, Any]:
        """Its columns."""
        return {**vars(self.about), "wrapped": self.wrapped, "seal": self.seal}


def kind_of(name: str) -> str:
    """What kind of key has this name."""
    return name.partition("/")[0]


def name_of_domain(domain: str) -> str:
    """The key that makes what a domain of a plan has: `token/<domain>`, unless it names a kind itself."""
    return domain if "/" in domain else f"{TOKEN}/{domain}"


def domain_of_name(name: str) -> str:
    """The domain by which a plan names this key of tokens or cells."""
    return name.removeprefix(f"{TOKEN}/")


def stored_keys(connection: Connection, *names: str) -> list[StoredKey]:
    """All versions, or those of the keys of these names, by name and oldest first; nothing is verified."""
    query = select(key_version).order_by(key_version.c.name, key_version.c.version)
    if names:
        query = query.where(key_version.c.name.in_(names))
    return [_stored(dict(row)) for row in connection.execute(query).mappings()]


def _stored(row: dict[str, Any]) -> StoredKey:
    wrapped, seal = row.pop("wrapped"), row.pop("seal")
    moments = {name: as_utc(row[name]) for name in ("created_at", "changed_at")}
    # SQLite keeps whatever type was written: what is no text is no seal.
    return StoredKey(KeyVersion(**{**row, **moments}), wrapped, str(seal))


def newest(keys: Sequence[StoredKey], name: str) -> StoredKey:
    """The version that makes new things.

    Args:
        keys: All versions of the key, oldest first.
        name: Of the key.

    Raises:
        IntegrityError: If there is none, or the newest version is not active.
    """
    if not keys:
        raise IntegrityError(f"The home has no key {name!r}", "Run: secure-platform init")
    current = keys[-1]
    if current.about.state != KeyState.ACTIVE:
        raise IntegrityError(
            f"{current.about.title} is {current.about.state}, and no older version is used in its place",
            "Make a new version: secure-platform keys rotate " + name,
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
    if not found.about.readable:
        disabled = found.about.state == KeyState.DISABLED
        raise IntegrityError(
            f"{found.about.title} is {found.about.state}",
            f"If it may be trusted: secure-platform keys enable {name} {version}"
            if disabled
            else "What was made with it cannot be used; make it again.",
        )
    return found
