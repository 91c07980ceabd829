"""Secrets are set, removed and rotated by who may, and what becomes of it is recorded; nobody is shown one.

Who sets a secret knows it, and could speak for whoever it belongs to: no service may. Who rotates one learns
nothing. A rotation that fails leaves the secret as it was, is recorded as failed, and is told to the
channels. Of two processes that rotate the same secret at once, one waits, and then finds that it is not due
any more.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from secure_platform.access.policy import Policy
from secure_platform.access.principals import Principal
from secure_platform.access.resources import Action, PlatformResource
from secure_platform.access.situation import Announce
from secure_platform.audit.log import AuditLog
from secure_platform.control.database import utc_now
from secure_platform.control.locks import file_lock
from secure_platform.errors import SecurePlatformError, UsageError
from secure_platform.files import private_directory
from secure_platform.key_settings import RotatedSecret
from secure_platform.keys.secrets.local import LocalSecrets
from secure_platform.keys.secrets.resolver import Secrets
from secure_platform.keys.secrets.secret import Secret
from secure_platform.secret_reference import SecretReference
from secure_platform.site import Event

FAILED: Final[Event] = "secret.rotation_failed"


@dataclass(frozen=True)
class Rotation:
    """What became of a secret or key that was due.

    Attributes:
        name: The secret's reference, or the key's name.
        problem: Why it was not rotated, without anything secret; None if it was.
    """

    name: str
    problem: str | None


def problem_of(error: Exception) -> str:
    """What went wrong, in words of ours; of another library's error its class only."""
    return error.culprit if isinstance(error, SecurePlatformError) else type(error).__name__


class SecretCustody:
    """The secrets, as far as somebody may do something to them.

    Args:
        secrets: All of them.
        local: Opens those of this home.
        directory: Holds the lock of rotations.
        policy: Decides who may.
        audit: Records what is done.
        announce: Tells of what failed.
        clock: The present moment, aware.
    """

    def __init__(
        self,
        secrets: Secrets,
        local: Callable[[], LocalSecrets],
        directory: Path,
        policy: Policy,
        audit: AuditLog,
        *,
        announce: Announce,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._secrets = secrets
        self._local = local
        self._directory = directory
        self._policy = policy
        self._audit = audit
        self._announce = announce
        self._clock = clock

    def list(self, caller: Principal) -> Sequence[Secret]:
        """The secrets of this home; show their names only.

        Raises:
            AccessDeniedError: If the policy does not let the caller.
            IntegrityError: If one is not the one that was written last.
        """
        self._require(caller, Action.KEY_READ)
        local = self._local()
        return [local.read(name) for name in local.names()]

    def set(self, caller: Principal, name: str, value: bytes) -> None:
        """Keep a secret in this home, in place of the former one of this name.

        Raises:
            AccessDeniedError: If the policy does not let the caller.
            UsageError: If it is empty, too large, or the name cannot be used.
        """
        self._require(caller, Action.SECRET_MANAGE)
        self._local().set(name, value, actor=caller.name)

    def remove(self, caller: Principal, name: str) -> None:
        """Forget a secret of this home.

        Raises:
            AccessDeniedError: If the policy does not let the caller.
            UsageError: If there is none.
        """
        self._require(caller, Action.SECRET_MANAGE)
        self._local().remove(name, actor=caller.name)

    def rotate(self, caller: Principal, reference: str) -> None:
        """Put a new secret in place of this one, where its keeper can.

        Raises:
            AccessDeniedError: If the policy does not let the caller.
            UsageError: If it is no reference, or cannot be changed from here.
            ServiceError: If its keeper cannot be reached, or refuses; the secret is then as it was.
        """
        self._require(caller, Action.KEY_ROTATE)
        with self._rotating():
            self._rotate(caller, reference)

    def rotate_due(self, caller: Principal, rotated: Sequence[RotatedSecret]) -> Sequence[Rotation]:
        """Rotate what has been the same for as long as the settings say; one that fails stops no other.

        Raises:
            AccessDeniedError: If the policy does not let the caller.
        """
        self._require(caller, Action.KEY_ROTATE)
        with self._rotating():
            done = [self._rotate_if_due(caller, each) for each in rotated]
        return [rotation for rotation in done if rotation is not None]

    def _rotate_if_due(self, caller: Principal, rotated: RotatedSecret) -> Rotation | None:
        try:
            if not self._is_due(rotated):
                return None
        except Exception as error:  # noqa: BLE001 - one that fails stops no other
            self._audit.append(FAILED, actor=caller.name, subject=rotated.secret)
            self._announce(FAILED, product=None)
            return Rotation(rotated.secret, problem_of(error))
        try:
            self._rotate(caller, rotated.secret)
        except Exception as error:  # noqa: BLE001 - the same
            return Rotation(rotated.secret, problem_of(error))
        return Rotation(rotated.secret, None)

    def _is_due(self, rotated: RotatedSecret) -> bool:
        changed_at = self._secrets.newest(rotated.secret).changed_at
        if changed_at is None:
            raise UsageError(f"{rotated.secret} has no known age", "Rotate it where it was made.")
        return self._clock() - changed_at >= timedelta(days=rotated.every_days)

    def _rotate(self, caller: Principal, reference: str) -> None:
        subject = str(SecretReference.parse(reference))
        try:
            with self._audit.effect("secret.rotate", actor=caller.name, subject=subject):
                self._secrets.rotate(reference, actor=caller.name)
        except Exception:
            self._announce(FAILED, product=None)
            raise

    def _rotating(self) -> AbstractContextManager[None]:
        lock = private_directory(self._directory) / ".rotation.lock"
        return file_lock(lock, holder="a rotation of secrets")

    def _require(self, caller: Principal, action: Action) -> None:
        self._policy.require(caller, action, PlatformResource(), at=self._clock())
