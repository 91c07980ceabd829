"""Keys come back from a backup into an empty home, or into the home they are of; never over other keys.

In their own home the backup only stands in for the provider that was lost: which versions are disabled or
destroyed is said by the home's rows, which the audit log witnesses, so that an old backup revives no leaked
key. An empty home has no such witness: it gets the states of the backup, and begins a log of its own; so a
home that has its log is not empty, whoever emptied its control database. Killed at any moment, it can be done
again.
"""

import secrets
from typing import Final

from secure_platform.control.database import utc_now
from secure_platform.control.locks import file_lock
from secure_platform.errors import IntegrityError, SecurePlatformError, UsageError
from secure_platform.files import private_directory, require_private
from secure_platform.keys.backup import Backup
from secure_platform.keys.catalog import LOG, StoredKey, stored_keys
from secure_platform.keys.providers.choice import prepare_provider
from secure_platform.keys.providers.local import ROOT_KEY_FILE
from secure_platform.keys.restored import BackupProvider, first_rows
from secure_platform.orchestration.home import prepare
from secure_platform.services import AUDIT_LOG, ROOMS, Services
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
        count = _into_own_home(settings, backup, rows) if rows else _into_empty_home(settings, backup)
    prepare(settings)
    where = "this home" if rows else "a new home"
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
    _require_same(backup, rows)
    if _opens(settings):
        raise UsageError("The keys of this home open", "There is nothing to restore.")
    stand_in = BackupProvider(backup, rows[0].about.provider)
    for row in rows:
        if row.wrapped is not None:
            stand_in.unwrap(row.wrapped, context=row.context)
    services = Services(settings, key_provider=stand_in)
    _put_aside(settings)
    prepare_provider(settings.keys, settings.home / "keys")
    return services.keys.lifecycle.rewrap(actor=services.caller().name, to=services.provider())


def _into_empty_home(settings: Settings, backup: Backup) -> int:
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
        raise IntegrityError(
            "The backup is of another home's keys", "Restore it into an empty home: name one with --home."
        )


def _opens(settings: Settings) -> bool:
    try:
        return not Services(settings).custody.check().broken
    except SecurePlatformError:
        return False


def _put_aside(settings: Settings) -> None:
    """A root key that does not open this home may open another one: it is never overwritten."""
    path = settings.home / "keys" / ROOT_KEY_FILE
    if path.exists():
        path.rename(path.with_name(f"{ROOT_KEY_FILE}.unused-{secrets.token_hex(4)}"))
