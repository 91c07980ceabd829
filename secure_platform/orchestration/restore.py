"""Restores keys from a backup into an empty home, or into the home they belong to; never over other keys.

In its own home, the backup only replaces the provider that was lost. Which versions are disabled or destroyed
is decided by the home's rows, which the audit log witnesses, so an old backup cannot revive a leaked key. An
empty home has no such witness: it takes the states of the backup and starts its own log. A home that has its
log is therefore not empty, even if somebody emptied its control database. If it is killed at any moment, it
can be run again.
"""

import secrets
from typing import Final

from secure_platform.control.database import utc_now
from secure_platform.control.locks import file_lock
from secure_platform.errors import IntegrityError, SecurePlatformError, UsageError
from secure_platform.files import private_directory, require_private
from secure_platform.foundations import AUDIT_LOG
from secure_platform.homes import INITIALISED, ROOMS
from secure_platform.keys.backup import Backup
from secure_platform.keys.catalog import LOG, StoredKey, stored_keys
from secure_platform.keys.providers.choice import prepare_provider
from secure_platform.keys.providers.local import ROOT_KEY_FILE
from secure_platform.keys.restored import BackupProvider, first_rows
from secure_platform.orchestration.home import prepare
from secure_platform.services import Services
from secure_platform.settings import Settings

_ACTION: Final = "key.restore"


def restore_keys(settings: Settings, backup: Backup) -> str:
    """Restore; returns in words what was done.

    Raises:
        IntegrityError: If the home's keys are others than those of the backup, newer ones, or were deleted.
        UsageError: If the home's keys open: there is nothing to restore.
    """
    require_private(private_directory(settings.home))
    with file_lock(settings.home / ".lock", holder=f"the home {settings.home}"):
        rows = _rows(settings)
        own = bool(rows) and (settings.home / INITIALISED).exists()
        count = _into_own_home(settings, backup, rows) if own else _into_empty_home(settings, backup, rows)
    prepare(settings)
    where = "this home" if own else "a new home"
    services = Services(settings)
    detail = {"made_at": backup.made_at.isoformat(), "log": backup.log, "checkpoint": backup.checkpoint}
    services.audit.append(_ACTION, actor=services.caller().name, subject="keys", detail=detail)
    return f"{count} versions were restored into {where}"


def _rows(settings: Settings) -> list[StoredKey]:
    services = Services(settings)
    services.database.migrate()
    with services.database.read() as connection:
        return stored_keys(connection)


def _into_own_home(settings: Settings, backup: Backup, rows: list[StoredKey]) -> int:
    if _opens(settings):
        raise UsageError("The keys of this home open", "There is nothing to restore.")
    _require_same(backup, rows)
    # What is destroyed, or held by its provider, stays with who had it when the others moved.
    moving = [row for row in rows if row.wrapped is not None]
    stand_in = BackupProvider(backup, moving[0].about.provider)
    for row in moving:
        stand_in.unwrap(row.wrapped or b"", context=row.context)
    services = Services(settings, key_provider=stand_in)
    _put_aside(settings)
    prepare_provider(settings.keys, settings.home / "keys")
    return services.keys.lifecycle.rewrap(actor=services.caller().name, to=services.provider())


def _into_empty_home(settings: Settings, backup: Backup, begun: list[StoredKey]) -> int:
    """With the rows that a restore has left there which was killed, if one was."""
    if begun:
        _require_begun_with(backup, begun)
        return len(begun)
    if (settings.home / AUDIT_LOG).exists():
        raise IntegrityError(
            "This home has an audit log and no keys: its control database was lost or emptied",
            "Restore control.db from a copy of the home, or name an empty home with --home.",
        )
    for room in ROOMS:
        private_directory(settings.home / room)
    prepare_provider(settings.keys, settings.home / "keys")
    services = Services(settings)
    rows = first_rows(backup, services.key_provider, utc_now(), fips=settings.keys.fips)
    services.keys.adopt(rows)
    return len(rows)


def _require_same(backup: Backup, rows: list[StoredKey]) -> None:
    """A home is named by the keys of its log; no version of it was ever made twice."""
    ours = {(row.about.name, row.about.version): row.about for row in rows}
    theirs = {(key.name, key.version): key for key in backup.keys}
    both = ours.keys() & theirs.keys()
    made_at_once = all(ours[each].created_at == theirs[each].created_at for each in both)
    signed = {ours[each].public_key == theirs[each].public_key for each in both if each[0] == LOG}
    if not made_at_once or signed != {True}:
        raise _another_home()


def _require_begun_with(backup: Backup, rows: list[StoredKey]) -> None:
    """The log's key is new in every home."""
    ours = {(row.about.name, row.about.version, row.about.created_at) for row in rows}
    if not {(key.name, key.version, key.created_at) for key in backup.keys if key.name != LOG} <= ours:
        raise _another_home()


def _another_home() -> IntegrityError:
    return IntegrityError(
        "The backup is of another home's keys", "Restore it into an empty home: name one with --home."
    )


def _opens(settings: Settings) -> bool:
    """Whether nothing is lost that a backup has: no signing key that its provider held is in one."""
    try:
        Services(settings).keys.taken_out()
    except SecurePlatformError:
        return False
    return True


def _put_aside(settings: Settings) -> None:
    """A root key that does not open this home may open another one: it is never overwritten."""
    path = settings.home / "keys" / ROOT_KEY_FILE
    if path.exists():
        path.rename(path.with_name(f"{ROOT_KEY_FILE}.unused-{secrets.token_hex(4)}"))
