"""A backup replaces the provider that was lost: it opens what it contains, and wraps nothing.

A version that it does not contain was made after it. The backup has the local provider's root key, which
opens that version too, unless the root key was renewed since.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import NoReturn

from secure_platform.errors import IntegrityError
from secure_platform.keys.backup import BackedKey, Backup
from secure_platform.keys.catalog import LOG, KeyState, KeyVersion, StoredKey
from secure_platform.keys.making import make_version
from secure_platform.keys.material import NotPickled
from secure_platform.keys.provider import KeyProvider, RemoteSigner
from secure_platform.keys.providers.root_keys import RootKeys
from secure_platform.keys.usage import LIMITS


class BackupProvider(NotPickled):
    """Opens the keys of a home with its backup.

    Args:
        backup: Of this home.
        name: Of the provider that wrapped the home's keys.
    """

    def __init__(self, backup: Backup, name: str) -> None:
        self.name = name
        self._root = None if backup.root is None else RootKeys(backup.root)
        self._material = {(key.name, str(key.version)): key.material for key in backup.keys}

    def unwrap(self, wrapped: bytes, *, context: Mapping[str, str]) -> bytes:
        """The material of the key that the context names.

        Raises:
            IntegrityError: If the backup has none, because it is older.
        """
        if self._root is not None and self._root.opens(wrapped):
            return self._root.unwrap(wrapped, context=context)
        material = self._material.get((context["name"], context["version"]))
        if material is not None:
            return material
        raise IntegrityError(
            f"The backup is older than version {context['version']} of key {context['name']!r}",
            "Restore from a newer backup.",
        )

    def generate(self, context: Mapping[str, str]) -> NoReturn:
        """Never."""
        raise _wraps_nothing(context)

    def wrap(self, plaintext: bytes, *, context: Mapping[str, str]) -> NoReturn:
        """Never."""
        del plaintext
        raise _wraps_nothing(context)

    def rewrap(self, wrapped: bytes, *, context: Mapping[str, str]) -> NoReturn:
        """Never."""
        del wrapped
        raise _wraps_nothing(context)

    def signer(self, reference: str | None = None) -> RemoteSigner | None:
        """None: what is held by a provider is in no backup."""
        del reference
        return None


def first_rows(backup: Backup, provider: KeyProvider, now: datetime, *, fips: bool) -> list[StoredKey]:
    """The rows of a home that begins with the keys of a backup, without their seals.

    The audit log begins anew, so it has a key of its own: under the old one two logs would go by one name. A
    key whose uses are counted only opens what exists: how often it was used is not in the backup.
    """
    newest = backup.newest()
    again = {LOG: 1, **{name: newest[name] + 1 for name in LIMITS if name in newest}}
    kept = [_row(key, provider, now) for key in backup.keys if key.name != LOG]
    return [
        *kept,
        *(make_version(provider, name, version, now, fips=fips) for name, version in again.items()),
    ]


def _row(key: BackedKey, provider: KeyProvider, now: datetime) -> StoredKey:
    opens_only = key.name in LIMITS and key.state == KeyState.ACTIVE
    about = KeyVersion(
        key.name,
        key.version,
        key.algorithm,
        KeyState.DECRYPT_ONLY if opens_only else key.state,
        provider.name,
        reference=key.reference,
        public_key=key.public_key,
        created_at=key.created_at,
        changed_at=now,
    )
    row = StoredKey(about, wrapped=None)
    if key.material is None:
        return row
    return replace(row, wrapped=provider.wrap(key.material, context=row.context))


def _wraps_nothing(context: Mapping[str, str]) -> IntegrityError:
    return IntegrityError(
        f"A backup opens keys, and makes none: {context['name'][:64]!r} was to be wrapped",
        "Restore the backup first: secure-platform keys restore FILE",
    )
