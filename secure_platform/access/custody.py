"""Every operation on keys is asked of the policy, done in one transaction, recorded and reported.

Nobody destroys a key alone: one person disables a version, which shows what still needs it, and another
person destroys it. Who disabled it is read from the audit log, not from a row that could be edited. A version
that the platform's own records need cannot be disabled, because nobody could then log in to enable it again.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from secure_platform.access.key_backups import BackupRecord, KeyBackups
from secure_platform.access.own_records import names_people, rows_needing
from secure_platform.access.policy import Policy
from secure_platform.access.principals import ANONYMOUS, Principal, Principals
from secure_platform.access.resources import Action, KeyResource, PlatformResource
from secure_platform.access.situation import Announce
from secure_platform.audit.log import AuditLog
from secure_platform.control.database import ControlDatabase, utc_now
from secure_platform.errors import GateRefusedError, UsageError
from secure_platform.keys.algorithms import POLICY, Standing
from secure_platform.keys.catalog import KeyState, KeyVersion
from secure_platform.keys.provider import KeyProvider
from secure_platform.keys.providers.local import LocalKeyProvider
from secure_platform.keys.ring import KeyRing
from secure_platform.keys.usage import Due

_DISABLED: Final = "key.disable"


@dataclass(frozen=True)
class KeyStatus:
    """How a version of a key stands.

    Attributes:
        days: How old it is.
        due: Why a newer one is to be made, `age` or `use`; None while that is not due.
        uses: How often it was used at most; None where that is not limited.
        saved: Whether the newest backup has it.
    """

    about: KeyVersion
    days: int
    due: str | None
    uses: int | None
    saved: bool


@dataclass(frozen=True)
class KeyReport:
    """How the keys of a home stand.

    Attributes:
        keys: Every version, by name and oldest first.
        backup: The newest one.
        unsaved: Names of the keys whose newest version it does not have.
        broken: Versions that do not open, and why, if they were tried; then nothing else is known.
    """

    keys: Sequence[KeyStatus]
    backup: BackupRecord | None
    unsaved: Sequence[str]
    broken: Mapping[str, str]

    @property
    def retired(self) -> list[str]:
        """Versions that still open something by an algorithm that makes nothing new any more."""
        used = (key.about for key in self.keys if key.about.readable)
        return [each.title for each in used if POLICY[each.algorithm].standing is not Standing.MAKES]


class Custody:
    """The keys of one home, as far as somebody may do something to them.

    Args:
        keys: The key ring.
        backups: What was backed up.
        policy: Decides who may.
        principals: Who disabled a key.
        audit: Where that is recorded.
        database: Whose rows need keys.
        rotate_after_days: Kind of key → days, in place of the built-in ones.
        announce: Tells of it.
    """

    def __init__(
        self,
        keys: KeyRing,
        backups: KeyBackups,
        policy: Policy,
        principals: Principals,
        audit: AuditLog,
        database: ControlDatabase,
        *,
        rotate_after_days: Mapping[str, int],
        announce: Announce,
    ) -> None:
        self._keys = keys
        self._backups = backups
        self._policy = policy
        self._principals = principals
        self._audit = audit
        self._database = database
        self._rotate_after_days = rotate_after_days
        self._announce = announce

    def report(self, caller: Principal) -> KeyReport:
        """Every version of every key, and what is to be done about them.

        Raises:
            AccessDeniedError: If the policy does not let the caller.
        """
        self._policy.require(caller, Action.KEY_READ, PlatformResource())
        return self._report()

    def check(self) -> KeyReport:
        """The same, with every version opened; anybody may know whether the platform is in order."""
        broken = self._keys.broken()
        return KeyReport([], None, [], broken) if broken else self._report()

    def rotate(self, caller: Principal, name: str, *, after: int | None = None) -> KeyVersion:
        """Make a new active version; what exists stays readable under the former ones.

        Args:
            caller: Who wants it.
            name: Of the key.
            after: The version that was seen as the newest; None to rotate whichever it is.

        Raises:
            AccessDeniedError: If the policy does not let the caller.
            UsageError: If there is no key of this name.
            GateRefusedError: If it was rotated since it was seen.
        """
        newest = self.find(name)
        self._require(caller, Action.KEY_ROTATE, newest)
        try:
            made = self._keys.lifecycle.rotate(name, actor=caller.name, after=after)
        except GateRefusedError:
            # Somebody else did it, or changed a key at the same moment: nobody has to be alarmed.
            raise
        except Exception:
            self._audit.append("key.rotation_failed", actor=caller.name, subject=name)
            self._announce("key.rotation_failed", product=None)
            raise
        self._announce("key.rotated", product=None)
        return made

    def due(self) -> list[Due]:
        """Every key that has been used for as long, or as often, as its kind may be."""
        return self._due(utc_now())

    def rewrap(self, caller: Principal) -> int:
        """Wrap all material anew under the newest version of the provider's own key, and count it.

        A service makes that version; the root key of this home is renewed here.

        Raises:
            AccessDeniedError: If the policy does not let the caller.
        """
        self._policy.require(caller, Action.KEY_ROTATE, PlatformResource())
        provider = self._keys.provider
        with provider.renewed() if isinstance(provider, LocalKeyProvider) else nullcontext():
            return self._keys.lifecycle.rewrap(actor=caller.name)

    def move(self, caller: Principal, opened: Callable[[], KeyProvider]) -> int:
        """Let another provider wrap all material, and count it: who has that one can read everything.

        Raises:
            AccessDeniedError: If the policy does not let the caller.
        """
        self._policy.require(caller, Action.KEY_BACKUP, PlatformResource())
        count = self._keys.lifecycle.rewrap(actor=caller.name, to=opened())
        self._announce("key.moved", product=None)
        return count

    def protect(self, caller: Principal, passphrase: bytes | None, *, protected: bool) -> None:
        """Let the root key's file open with this passphrase only, or with none.

        Args:
            caller: Who wants it.
            passphrase: The new one.
            protected: Whether it has one so far.

        Raises:
            AccessDeniedError: If the policy does not let the caller.
            UsageError: If this home has no root key, or it is not as the caller thinks.
        """
        self._policy.require(caller, Action.KEY_BACKUP, PlatformResource())
        provider = self._keys.provider
        if not isinstance(provider, LocalKeyProvider):
            raise UsageError(
                f"This home has no root key: {provider.name} keeps its keys", "Protect it there."
            )
        if provider.is_protected() is not protected:
            state = "has no passphrase" if protected else "has a passphrase already"
            raise UsageError(f"The root key {state}", "See: secure-platform keys passphrase --help")
        detail = {"protected": passphrase is not None}
        with self._audit.effect("key.protect", actor=caller.name, subject="keys", detail=detail):
            provider.protect(passphrase)

    def disable(self, caller: Principal, name: str, version: int) -> KeyVersion:
        """Let nothing be opened or verified with a version until it is enabled again.

        Raises:
            AccessDeniedError: If the policy does not let the caller.
            GateRefusedError: If the platform itself needs it.
            UsageError: If there is no such version.
        """
        about = self.find(name, version)
        self._require(caller, Action.KEY_DISABLE, about)
        self._require_unneeded(about)
        changed = self._keys.lifecycle.disable(name, version, actor=caller.name)
        self._announce("key.disabled", product=None)
        return changed

    def enable(self, caller: Principal, name: str, version: int) -> KeyVersion:
        """Let what exists be opened and verified with a disabled version again; nothing new is made with it.

        Raises:
            AccessDeniedError: If the policy does not let the caller.
            UsageError: If there is no such version, or it is not disabled.
        """
        self._require(caller, Action.KEY_DISABLE, self.find(name, version))
        return self._keys.lifecycle.enable(name, version, actor=caller.name)

    def destroy(
        self, caller: Principal, name: str, version: int, *, require_unheld: Callable[[KeyVersion], None]
    ) -> KeyVersion:
        """Remove the material of a disabled version for good.

        Args:
            caller: Who wants it.
            name: Of the key.
            version: Of it.
            require_unheld: Refuses if something that must be kept needs it.

        Raises:
            AccessDeniedError: If the policy does not let the caller, such as when it is not disabled.
            GateRefusedError: If it was enabled, or disabled by another one, since the policy was asked, or
                is needed.
            UsageError: If there is no such version.
        """
        about = self.find(name, version)
        self._require(caller, Action.KEY_DESTROY, about)
        require_unheld(about)
        changed = self._keys.lifecycle.destroy(name, version, actor=caller.name, seen=about)
        self._announce("key.destroyed", product=None)
        return changed

    def find(self, name: str, version: int | None = None) -> KeyVersion:
        """A version of a key; None is the newest.

        Raises:
            UsageError: If there is none.
        """
        found = [each for each in self._keys.versions() if each.name == name]
        wanted = [each for each in found if version in {None, each.version}]
        if not wanted:
            what = f"key {name[:64]!r}" if not found else f"version {version} of key {name!r}"
            raise UsageError(f"There is no {what}", "See: secure-platform keys list")
        return max(wanted, key=lambda each: each.version)

    def resource(self, about: KeyVersion) -> KeyResource:
        """What the policy is asked about."""
        disabled = about.state == KeyState.DISABLED
        by = self._who_disabled(about) if disabled else ANONYMOUS.name
        return KeyResource(about.name, about.version, about.state, by)

    def _require(self, caller: Principal, action: Action, about: KeyVersion) -> None:
        self._policy.require(caller, action, self.resource(about))

    def _require_unneeded(self, about: KeyVersion) -> None:
        if names_people(about.kind):
            raise GateRefusedError(
                f"The audit log needs {about.title}: it knows people by names that were made with it",
                "Leave it as it is after its rotation: it makes nothing new.",
            )
        needed = rows_needing(self._database, about.kind, about.version)
        if needed:
            rows = ", ".join(f"{count} of {table}" for table, count in needed.items())
            raise GateRefusedError(
                f"The platform itself needs {about.title}: rows that it reads are sealed with it ({rows})",
                "Leave it as it is after its rotation: it makes nothing new, and opens what exists.",
            )

    def _due(self, now: datetime) -> list[Due]:
        return self._keys.due(now, self._rotate_after_days)

    def _report(self) -> KeyReport:
        now, backup = utc_now(), self._backups.newest()
        due = {(each.name, each.version): each.reason for each in self._due(now)}
        covers = {} if backup is None else backup.covers
        uses = self._keys.uses()
        keys = [
            KeyStatus(
                about,
                (now - about.created_at).days,
                due.get((about.name, about.version)),
                uses.get((about.name, about.version)),
                covers.get(about.name, 0) >= about.version,
            )
            for about in self._keys.versions()
        ]
        return KeyReport(keys, backup, self._backups.unsaved(), {})

    def _who_disabled(self, about: KeyVersion) -> str:
        """Name of who did it last; nobody's where the log does not say, or knows only somebody unknown."""
        for entry in self._audit.backwards(f'"action":"{_DISABLED}"'):
            body = entry.body
            ours = body["action"] == _DISABLED and body["subject"] == f"{about.name}/{about.version}"
            if ours and body["phase"] == "done":
                return self._known(body["actor"])
        return ANONYMOUS.name

    def _known(self, pseudonym: str) -> str:
        names = (principal.name for principal in self._principals.list())
        return next((name for name in names if pseudonym in self._keys.identifiers(name)), ANONYMOUS.name)
