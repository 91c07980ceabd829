"""The keys of a home: their versions, uses and states, and whether they open; none is made or used here."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType

from secure_platform.control.database import ControlDatabase
from secure_platform.errors import SecurePlatformError
from secure_platform.keys.catalog import KeyState, KeyVersion
from secure_platform.keys.material import NotPickled
from secure_platform.keys.opened import OpenedKeys
from secure_platform.keys.provider import KeyProvider
from secure_platform.keys.rows import KeyLog, KeyRows
from secure_platform.keys.usage import Due, KeyUses


class Inventory(NotPickled):
    """The keys of one home, looked at.

    Args:
        provider: Wraps their material.
        database: Holds the wrapped material and the states.
        log: Witness of the states.
        fips: Whether only algorithms that FIPS 140-3 approves may be used.
    """

    def __init__(
        self, provider: KeyProvider, database: ControlDatabase, log: KeyLog, *, fips: bool = False
    ) -> None:
        self._opened = OpenedKeys(provider, fips=fips)
        self._uses = KeyUses(database, self._opened)
        self._rows = KeyRows(database, log, self._opened, self._uses)

    def due(self, now: datetime, rotate_after_days: Mapping[str, int] = MappingProxyType({})) -> list[Due]:
        """The keys that are to be rotated by now.

        Args:
            now: The present moment.
            rotate_after_days: Kind of key → days, in place of the built-in ones.
        """
        return self._uses.due(self._rows.all(), now, rotate_after_days)

    def uses(self) -> dict[tuple[str, int], int]:
        """How often each version that makes new things was used at most, if its uses are limited."""
        return self._uses.counts(self._rows.all())

    def versions(self) -> list[KeyVersion]:
        """Every version of every key, without material."""
        return [key.about for key in self._rows.all()]

    @property
    def provider(self) -> KeyProvider:
        """What wraps the keys now."""
        return self._opened.provider

    def taken_out(self) -> list[tuple[KeyVersion, bytes | None]]:
        """Every version of every key with its material, for a backup; None where it has none here.

        Raises:
            IntegrityError: If one does not open.
        """
        return [
            (key.about, None if key.wrapped is None else self._opened.material(key))
            for key in self._rows.all()
        ]

    def broken(self) -> dict[str, str]:
        """Open every version; those that do not open, or whose provider does not sign with them, and why."""
        found = {}
        for key in self._rows.all():
            try:
                if key.wrapped is not None:
                    self._opened.material(key)
                elif key.about.state == KeyState.ACTIVE:
                    self._opened.held(key)
            except SecurePlatformError as error:
                found[key.about.title] = error.culprit
        return found
