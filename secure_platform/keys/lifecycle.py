"""A key is rotated, disabled, enabled, destroyed or wrapped anew in one transaction that the log announces.

Whether somebody may do it is asked elsewhere. Of two who change a key at once, one is refused; after a kill
at any moment the key is as before or as after, and doing it again finishes. The newest version is neither
disabled nor destroyed: nothing new could be made.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from secure_platform.control.database import ControlDatabase, utc_now
from secure_platform.errors import GateRefusedError, UsageError
from secure_platform.keys.catalog import MAC, SUBJECT, KeyState, KeyVersion, StoredKey
from secure_platform.keys.making import make_version
from secure_platform.keys.material import NotPickled
from secure_platform.keys.opened import OpenedKeys
from secure_platform.keys.provider import KeyProvider
from secure_platform.keys.rows import KeyRows
from secure_platform.keys.subjects import SubjectKeys

_LIST: Final = "List the keys: secure-platform keys list"
_FROM: Final = {
    KeyState.DISABLED: frozenset({KeyState.ACTIVE, KeyState.DECRYPT_ONLY}),
    KeyState.DECRYPT_ONLY: frozenset({KeyState.DISABLED}),
    KeyState.DESTROYED: frozenset({KeyState.ACTIVE, KeyState.DECRYPT_ONLY, KeyState.DISABLED}),
}


class Lifecycle(NotPickled):
    """Changes the versions of keys.

    Args:
        rows: The versions.
        opened: Opens them, and knows the provider that wraps new ones.
        subjects: What the subject key wraps.
        database: Holds what is destroyed.
    """

    def __init__(
        self, rows: KeyRows, opened: OpenedKeys, subjects: SubjectKeys, database: ControlDatabase
    ) -> None:
        self._rows = rows
        self._opened = opened
        self._subjects = subjects
        self._database = database

    def rotate(self, name: str, *, actor: str, after: int | None = None) -> KeyVersion:
        """Make a new version, which makes all new things; the former only opens what exists.

        Args:
            name: Of the key.
            actor: Who rotates it.
            after: The version that was seen as the newest; None to rotate whichever it is.

        Raises:
            UsageError: If there is no such key, or its provider has no newer version to sign with.
            GateRefusedError: If it was rotated or changed by somebody else.
        """
        keys = self._of(name)
        if after not in (None, keys[-1].about.version):
            raise GateRefusedError(
                f"Key {name!r} was rotated since: its newest version is {keys[-1].about.version}",
                "Look at the key, and rotate it again if it is still to be done.",
            )
        new = make_version(
            self._opened.provider, name, keys[-1].about.version + 1, utc_now(), fips=self._opened.fips
        )
        if new.about.reference is not None and new.about.reference == keys[-1].about.reference:
            raise UsageError(
                f"The provider {new.about.provider} has no newer version of its signing key",
                "Rotate the signing key in the provider first, then here.",
            )
        former = [_in_state(key, KeyState.DECRYPT_ONLY) for key in keys if key.about.state == KeyState.ACTIVE]
        self._rows.write("key.rotate", [*former, new], seen=keys, actor=actor, subject=name)
        return new.about

    def disable(self, name: str, version: int, *, actor: str) -> KeyVersion:
        """Let a version do nothing, until it is enabled again.

        Raises:
            UsageError: If there is no such version, or it is the newest, or is not usable now.
            GateRefusedError: If it was changed by somebody else at the same time.
        """
        return self._change("key.disable", name, version, KeyState.DISABLED, actor)

    def enable(self, name: str, version: int, *, actor: str) -> KeyVersion:
        """Let a disabled version open what exists again.

        Raises:
            UsageError: If there is no such version, or it is not disabled.
            GateRefusedError: If it was changed by somebody else at the same time.
        """
        return self._change("key.enable", name, version, KeyState.DECRYPT_ONLY, actor)

    def destroy(self, name: str, version: int, *, actor: str, seen: KeyVersion | None = None) -> KeyVersion:
        """Remove the material of a version for ever; what was made with it cannot be read by anybody.

        Copies of the control database still hold it, and so does a provider that holds the key itself.

        Args:
            name: Of the key.
            version: Its number.
            actor: Who destroys it.
            seen: The version as it was judged; None for however it is.

        Raises:
            UsageError: If there is no such version, or it is the newest, or is destroyed already.
            GateRefusedError: If it was changed by somebody else at the same time.
        """
        destroyed = self._change("key.destroy", name, version, KeyState.DESTROYED, actor, seen)
        self._database.scrub()
        return destroyed

    def rewrap(self, *, actor: str, to: KeyProvider | None = None) -> int:
        """Wrap all material anew: by the newest key of its provider, or by another provider; all or none.

        Args:
            actor: Who does it.
            to: The provider to change to; the home must be opened with it afterwards.

        Returns:
            How many versions were wrapped anew.

        Raises:
            GateRefusedError: If a key was changed by somebody else at the same time.
        """
        keys = self._rows.all()
        moment = utc_now()
        anew = []
        for key in keys:
            if key.wrapped is not None:
                name = key.about.provider if to is None else to.name
                about = replace(key.about, provider=name, changed_at=moment)
                anew.append(StoredKey(about, self._wrapped_anew(key, to)))
        self._rows.write("key.rewrap", anew, seen=keys, actor=actor, subject="keys", whole=True)
        self._opened.provider = to or self._opened.provider
        self._database.scrub()
        return len(anew)

    def _wrapped_anew(self, key: StoredKey, to: KeyProvider | None) -> bytes:
        if to is not None:
            return self._opened.wrapped_by(to, key)
        return self._opened.rewrapped(key)

    def _change(
        self,
        action: str,
        name: str,
        version: int,
        state: KeyState,
        actor: str,
        seen: KeyVersion | None = None,
    ) -> KeyVersion:
        keys, found = self._version(name, version, seen)
        if found.about.state not in _FROM[state]:
            raise UsageError(
                f"{found.about.title} is {found.about.state} and cannot become {state}",
                "Only a disabled version is enabled, and a destroyed one never comes back.",
            )
        if found is keys[-1]:
            raise UsageError(
                f"{found.about.title} is the newest, and nothing could be made without it",
                f"Make a new version first: secure-platform keys rotate {name}",
            )
        if state != KeyState.DECRYPT_ONLY:
            self._release(name, actor)
            keys, found = self._version(name, version, found.about)
        changed = _in_state(found, state)
        self._rows.write(action, [changed], seen=keys, actor=actor, subject=f"{name}/{version}")
        return changed.about

    def _version(
        self, name: str, version: int, seen: KeyVersion | None
    ) -> tuple[Sequence[StoredKey], StoredKey]:
        """All versions of a key, and one of them, which must still be as it was seen."""
        keys = self._of(name)
        found = next((key for key in keys if key.about.version == version), None)
        if found is None:
            raise UsageError(f"Key {name!r} has no version {version}", _LIST)
        if seen not in {None, found.about}:
            raise GateRefusedError(
                f"{found.about.title} was changed by somebody else since it was looked at",
                "Look at the key, and do it again if it is still to be done.",
            )
        return keys, found

    def _release(self, name: str, actor: str) -> None:
        """Let what the ring itself keeps depend on no older version of this key."""
        if name == MAC:
            keys = self._rows.all()
            self._rows.write("key.seal", keys, seen=keys, actor=actor, subject="keys", whole=True)
        if name == SUBJECT:
            self._subjects.rewrap(actor=actor)

    def _of(self, name: str) -> Sequence[StoredKey]:
        keys = self._rows.of(name)
        if not keys:
            raise UsageError(f"The home has no key {name!r}", _LIST)
        return keys


def _in_state(key: StoredKey, state: KeyState) -> StoredKey:
    about = replace(key.about, state=state, changed_at=utc_now())
    return StoredKey(about, None if state == KeyState.DESTROYED else key.wrapped)
