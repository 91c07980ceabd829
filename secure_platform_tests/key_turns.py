"""Rotates and disables a key of any ring, as its log records it."""

from dataclasses import replace

from secure_platform.control.database import utc_now
from secure_platform.keys.catalog import KeyState, StoredKey
from secure_platform.keys.making import make_version
from secure_platform.keys.ring import KeyRing


def rotate(keys: KeyRing, name: str) -> int:
    """Make a new version; which one it is."""
    rows = keys._rows.of(name)
    new = make_version(keys._provider, name, len(rows) + 1, utc_now())
    _record(keys, name, len(rows), KeyState.DECRYPT_ONLY, new)
    return new.about.version


def disable(keys: KeyRing, name: str, version: int) -> None:
    """Let nothing be verified with it any more."""
    _record(keys, name, version, KeyState.DISABLED)


def _record(keys: KeyRing, name: str, version: int, state: KeyState, *new: StoredKey) -> None:
    rows = keys._rows.of(name)
    about = replace(rows[version - 1].about, state=state, changed_at=utc_now())
    changed = [replace(rows[version - 1], about=about), *new]
    keys._rows.write("key.change", changed, seen=rows, actor="test", subject=name)
