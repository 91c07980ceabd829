"""What is done to keys is asked of the policy, done in one transaction, recorded, and told.

Nobody destroys a key alone: one person disables a version, so that it shows what still needs it, and another
one destroys it. Who disabled it is read from the audit log, not from a row that could be edited. A version
that the platform's own records need is not disabled: nobody could be authenticated to enable it again.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from secure_platform.access.policy import Action, KeyResource, PlatformResource, Policy
from secure_platform.access.principals import ANONYMOUS, Principal, Principals
from secure_platform.access.situation import Announce
from secure_platform.audit.log import AuditLog
from secure_platform.control.database import utc_now
from secure_platform.errors import UsageError
from secure_platform.keys.catalog import KeyState, KeyVersion
from secure_platform.keys.lifecycle import Lifecycle
from secure_platform.keys.ring import KeyRing

_DISABLED: Final = "key.disable"


class Custody:
    """The keys of one home, as far as somebody may do something to them.

    Args:
        keys: The key ring.
        lifecycle: Changes its keys.
        policy: Decides who may.
        principals: Who disabled a key.
        audit: Where that is recorded.
        announce: Tells of it.
        clock: The present moment, aware.
    """

    def __init__(
        self,
        keys: KeyRing,
        lifecycle: Lifecycle,
        policy: Policy,
        principals: Principals,
        audit: AuditLog,
        *,
        announce: Announce,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._keys = keys
        self._lifecycle = lifecycle
        self._policy = policy
        self._principals = principals
        self._audit = audit
        self._announce = announce
        self._clock = clock

    def versions(self, caller: Principal) -> list[KeyVersion]:
        """Every version of every key, without material.

        Raises:
            AccessDeniedError: If the policy does not let the caller.
        """
        self._policy.require(caller, Action.KEY_READ, PlatformResource(), at=self._clock())
        return self._keys.versions()

    def rotate(self, caller: Principal, name: str) -> KeyVersion:
        """Make a new active version; what exists stays readable under the former ones.

        Raises:
            AccessDeniedError: If the policy does not let the caller.
            UsageError: If there is no key of this name.
        """
        newest = self.find(name)
        self._require(caller, Action.KEY_ROTATE, newest)
        made = self._lifecycle.rotate(name, actor=caller.name)
        self._announce("key.rotated", product=None)
        return made

    def rotate_due(self, caller: Principal) -> list[KeyVersion]:
        """Rotate every key that has been used for as long, or as often, as its kind may be.

        Raises:
            AccessDeniedError: If the policy does not let the caller.
        """
        return [self.rotate(caller, due.name) for due in self._keys.due(self._clock())]

    def rewrap(self, caller: Principal) -> Sequence[KeyVersion]:
        """Wrap all material anew under the newest version of the provider's own key; data stays as it is.

        Raises:
            AccessDeniedError: If the policy does not let the caller.
        """
        self._policy.require(caller, Action.KEY_ROTATE, PlatformResource(), at=self._clock())
        return self._lifecycle.rewrap(actor=caller.name)

    def disable(self, caller: Principal, name: str, version: int) -> KeyVersion:
        """Let nothing be opened or verified with a version until it is enabled again.

        Raises:
            AccessDeniedError: If the policy does not let the caller.
            GateRefusedError: If the platform itself needs it.
            UsageError: If there is no such version.
        """
        self._require(caller, Action.KEY_DISABLE, self.find(name, version))
        changed = self._lifecycle.disable(name, version, actor=caller.name)
        self._announce("key.disabled", product=None)
        return changed

    def enable(self, caller: Principal, name: str, version: int) -> KeyVersion:
        """Let what exists be opened and verified with a disabled version again; nothing new is made with it.

        Raises:
            AccessDeniedError: If the policy does not let the caller.
            GateRefusedError: If it is not disabled.
            UsageError: If there is no such version.
        """
        self._require(caller, Action.KEY_DISABLE, self.find(name, version))
        return self._lifecycle.enable(name, version, actor=caller.name)

    def destroy(self, caller: Principal, name: str, version: int) -> KeyVersion:
        """Remove the material of a disabled version for good.

        Raises:
            AccessDeniedError: If the policy does not let the caller.
            GateRefusedError: If it is not disabled.
            UsageError: If there is no such version.
        """
        self._require(caller, Action.KEY_DESTROY, self.find(name, version))
        changed = self._lifecycle.destroy(name, version, actor=caller.name)
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
        self._policy.require(caller, action, self.resource(about), at=self._clock())

    def _who_disabled(self, about: KeyVersion) -> str:
        """Name of who did it last; nobody's where the log does not say, or knows only somebody unknown."""
        for entry in self._audit.backwards(f'"action":"{_DISABLED}"'):
            body = entry.body
            ours = body["action"] == _DISABLED and body["subject"] == f"key:{about.name}:{about.version}"
            if ours and body["phase"] == "done":
                return self._known(body["actor"])
        return ANONYMOUS.name

    def _known(self, pseudonym: str) -> str:
        names = (principal.name for principal in self._principals.list())
        return next((name for name in names if pseudonym in self._keys.identifiers(name)), ANONYMOUS.name)
