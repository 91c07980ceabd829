"""A backup takes every key out of the home, so it needs its own right, is recorded, and is reported.

It is one file, which opens only with its passphrase, is private to its owner, and must be outside the home:
what is lost with the home is no backup. It is read back before it counts. A sealed row says which versions
the newest backup has, so that everybody can be told of keys that no backup has.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from secure_platform.access.policy import Policy
from secure_platform.access.principals import Principal
from secure_platform.access.resources import Action, PlatformResource
from secure_platform.access.seals import Change, SealedRows
from secure_platform.access.situation import Announce
from secure_platform.audit.log import AuditLog
from secure_platform.control.database import as_utc, utc_now
from secure_platform.control.tables import key_backup
from secure_platform.errors import StorageError, UsageError
from secure_platform.files import sync_directory, write_private
from secure_platform.keys.backup import BackedKey, Backup, seal_backup
from secure_platform.keys.catalog import KeyState, KeyVersion
from secure_platform.keys.providers.local import LocalKeyProvider
from secure_platform.keys.ring import KeyRing

_ID_BYTES: Final = 16


@dataclass(frozen=True)
class BackupRecord:
    """That a backup was made.

    Attributes:
        covers: The newest version that it has of each key.
    """

    backup_id: str
    made_by: str
    made_at: datetime
    covers: Mapping[str, int]


class KeyBackups:
    """The backups of one home's keys.

    Args:
        keys: What is backed up, with the root keys of the local provider.
        policy: Decides who may.
        rows: Where it is kept that one was made.
        audit: Its newest checkpoint goes into the backup.
        home: Where no backup may lie.
        environment: What the backup says it is of.
        announce: Tells of it.
    """

    def __init__(
        self,
        keys: KeyRing,
        policy: Policy,
        rows: SealedRows,
        audit: AuditLog,
        *,
        home: Path,
        environment: str,
        announce: Announce,
    ) -> None:
        self._keys = keys
        self._policy = policy
        self._rows = rows
        self._audit = audit
        self._home = home
        self._environment = environment
        self._announce = announce

    def make(self, caller: Principal, path: Path, passphrase: bytes) -> BackupRecord:
        """Write all keys into a new file, which opens only with the passphrase.

        Raises:
            AccessDeniedError: If the policy does not let the caller.
            UsageError: If the file is there already, or would lie in the home.
        """
        now = utc_now()
        self._policy.require(caller, Action.KEY_BACKUP, PlatformResource(), at=now)
        self._require_outside(path)
        backup = self._taken(now)
        content = seal_backup(backup, passphrase)
        record = BackupRecord(secrets.token_hex(_ID_BYTES), caller.name, now, backup.newest())
        self._rows.write(
            "key.backup",
            [Change(key_backup, None, {**vars(record), "covers": dict(record.covers)})],
            actor=caller.name,
            subject="keys",
            check=lambda _: _write(path, content),
        )
        self._announce("key.backed_up", product=None)
        return record

    def newest(self) -> BackupRecord | None:
        """The backup that was made last; None if there never was one.

        Raises:
            IntegrityError: If what was kept about backups was changed.
        """
        made = [BackupRecord(**_said(row)) for row in self._rows.all(key_backup)]
        return max(made, key=lambda each: each.made_at, default=None)

    def unsaved(self) -> list[str]:
        """Names of the keys whose newest version the newest backup does not have."""
        backup = self.newest()
        covers = {} if backup is None else backup.covers
        versions = [each for each in self._keys.versions() if each.state != KeyState.DESTROYED]
        return sorted({each.name for each in versions if covers.get(each.name, 0) < each.version})

    def _taken(self, now: datetime) -> Backup:
        provider = self._keys.provider
        root = provider.root_keys() if isinstance(provider, LocalKeyProvider) else None
        keys = tuple(_backed(about, material) for about, material in self._keys.taken_out())
        return Backup(now, self._environment, self._audit.checkpoint(), root, keys)

    def _require_outside(self, path: Path) -> None:
        if path.resolve().is_relative_to(self._home.resolve()):
            raise UsageError(f"{path} would be lost with the home", "Name a file on another disk.")


def _backed(about: KeyVersion, material: bytes | None) -> BackedKey:
    return BackedKey(
        about.name,
        about.version,
        about.algorithm,
        about.state,
        about.provider,
        about.reference,
        about.public_key,
        about.created_at,
        material,
    )


def _write(path: Path, content: bytes) -> None:
    """A file that is not read back as it was written is not left behind."""
    try:
        write_private(path, content)
    except FileExistsError:
        raise UsageError(f"{path} exists already", "Name a new file: a backup replaces none.") from None
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    if path.read_bytes() != content:
        path.unlink()
        raise StorageError.of(f"The backup {path}", "it is not read back as it was written")
    sync_directory(path.parent)


def _said(row: Mapping[str, Any]) -> dict[str, Any]:
    said = {name: value for name, value in row.items() if name != "seal"}
    made_at = said["made_at"]
    return {**said, "made_at": as_utc(made_at) if isinstance(made_at, datetime) else made_at}
