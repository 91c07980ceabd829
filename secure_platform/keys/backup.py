"""All keys of a home in one file, which opens only with its passphrase.

It is what `passphrase.seal_under` makes of canonical JSON, followed by its SHA-256. That sum authenticates
nothing: it tells a damaged file from a wrong passphrase, before it costs anything. Keys of single persons are
not in it: what was erased must not come back from a backup.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from secure_platform import canonical
from secure_platform.errors import IntegrityError
from secure_platform.keys.material import NotPickled
from secure_platform.keys.passphrase import open_under, seal_under

MAGIC: Final = b"secure-platform/key-backup/v1\n"
MOST_BYTES: Final = 16 << 20
_SUM_BYTES: Final = hashlib.sha256().digest_size
_ANOTHER_COPY: Final = "Use another copy of the backup."


@dataclass(frozen=True)
class BackedKey(NotPickled):
    """One version of one key.

    Attributes:
        reference: What its provider calls it, if it never leaves that provider.
        material: None where there is none any more, or where it never leaves its provider.
    """

    name: str
    version: int
    algorithm: str
    state: str
    provider: str
    reference: str | None
    public_key: str | None
    created_at: datetime
    material: bytes | None = field(repr=False)


@dataclass(frozen=True)
class Backup(NotPickled):
    """What a backup holds.

    Attributes:
        environment: Of the home.
        checkpoint: The audit log's newest signed checkpoint.
        root: The root keys of the local provider; None with any other.
    """

    made_at: datetime
    environment: str
    checkpoint: str
    root: bytes | None = field(repr=False)
    keys: tuple[BackedKey, ...]

    @property
    def log(self) -> str:
        """The identity of the audit log."""
        return self.checkpoint.partition("\n")[0]

    def newest(self) -> dict[str, int]:
        """The newest version of every key that is in it."""
        return {key.name: key.version for key in sorted(self.keys, key=lambda key: key.version)}


def seal_backup(backup: Backup, passphrase: bytes) -> bytes:
    """The whole file."""
    body = seal_under(passphrase, MAGIC, canonical.dumps(_plain(backup)))
    return body + hashlib.sha256(body).digest()


def open_backup(content: bytes, passphrase: bytes, *, name: str) -> Backup:
    """Read what `seal_backup` made.

    Args:
        content: The whole file.
        passphrase: As it was given then.
        name: Of the file, for the errors.

    Raises:
        UsageError: If the passphrase is another one.
        IntegrityError: If it is no backup, or a byte of it is missing or changed.
    """
    body, total = content[:-_SUM_BYTES], content[-_SUM_BYTES:]
    if not content.startswith(MAGIC):
        raise IntegrityError(f"{name} is not a backup of keys", "Name the file that `keys backup` wrote.")
    if not hmac.compare_digest(hashlib.sha256(body).digest(), total):
        raise IntegrityError(f"{name} was cut off or damaged", _ANOTHER_COPY)
    return _read(canonical.loads(open_under(passphrase, MAGIC, body, name=name), name=name), name)


def _plain(backup: Backup) -> dict[str, Any]:
    said = {name: getattr(backup, name) for name in ("environment", "checkpoint")}
    keys = [_plain_key(key) for key in backup.keys]
    return {**said, "made_at": backup.made_at.isoformat(), "root": _encoded(backup.root), "keys": keys}


def _plain_key(key: BackedKey) -> dict[str, Any]:
    return {**vars(key), "created_at": key.created_at.isoformat(), "material": _encoded(key.material)}


def _read(said: Mapping[str, Any], name: str) -> Backup:
    try:
        keys = tuple(_key(each) for each in said["keys"])
        made_at, root = datetime.fromisoformat(said["made_at"]), _decoded(said["root"])
        return Backup(made_at, said["environment"], said["checkpoint"], root, keys)
    except (KeyError, TypeError, ValueError):
        raise IntegrityError(f"{name} does not hold what this platform backs up", _ANOTHER_COPY) from None


def _key(said: Mapping[str, Any]) -> BackedKey:
    created_at, material = datetime.fromisoformat(said["created_at"]), _decoded(said["material"])
    return BackedKey(**{**said, "created_at": created_at, "material": material})


def _encoded(material: bytes | None) -> str | None:
    return None if material is None else base64.b64encode(material).decode()


def _decoded(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text, validate=True)
