"""`secret://…` becomes a secret where and when it is used, and not before.

What a file, a variable or this home holds is read each time. What is far away is remembered for a while, in
this process only; it is read again when it was changed from here, and when somebody was refused with it. When
it cannot be read again there is no secret: an old one may have been revoked.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from secure_platform.audit.log import AuditLog
from secure_platform.errors import UsageError
from secure_platform.keys.material import NotPickled
from secure_platform.keys.secrets.provider import Lease, SecretsProvider
from secure_platform.keys.secrets.secret import Secret
from secure_platform.secret_reference import SecretReference

REMEMBERED: Final = 256
REFRESH_PAUSE: Final = 1.0
"""Seconds between two readings of one secret because somebody was refused with it."""
_logger = logging.getLogger(__name__)


@dataclass
class _Slot:
    """One remembered secret; its lock lets one ask for it while others wait for the answer."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    secret: Secret | None = field(default=None, repr=False)
    read_at: float = 0.0


class Secrets(NotPickled):
    """Every secret that this process may need; usable from several threads.

    Args:
        providers: Name → what opens it, the first time that it is asked.
        ttl_seconds: How long what is far away is remembered.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        providers: Mapping[str, Callable[[], SecretsProvider]],
        *,
        ttl_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._openers = providers
        self._ttl = ttl_seconds
        self._clock = clock
        self._opened: dict[str, SecretsProvider] = {}
        self._slots: OrderedDict[tuple[str, str], _Slot] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, reference: str) -> Secret:
        """What a reference stands for.

        Raises:
            UsageError: If it is no reference, or what it stands for is not there or cannot be used.
            ServiceError: If who keeps it cannot be reached, or refuses.
        """
        return self._get(SecretReference.parse(reference), lambda _secret, age: age < self._ttl)

    def newest(self, reference: str) -> Secret:
        """What a reference stands for at this moment, whatever is remembered.

        Raises:
            UsageError: If it is no reference, or what it stands for is not there or cannot be used.
            ServiceError: If who keeps it cannot be reached, or refuses.
        """
        return self._get(SecretReference.parse(reference), lambda _secret, _age: False)

    def refresh(self, failed: Secret) -> Secret:
        """The secret as it is now, after somebody was refused with it; the same one if it did not change.

        Args:
            failed: As `get` gave it.

        Raises:
            UsageError: If it is not there any more.
            ServiceError: If who keeps it cannot be reached, or refuses.
        """
        named = SecretReference.parse(failed.name)

        def is_good(secret: Secret, age: float) -> bool:
            # Whoever can make us fail must not be able to make us ask without end.
            return age < REFRESH_PAUSE or not _of(named, secret).equals(failed.value)

        return self._get(named, is_good)

    def rotate(self, reference: str, *, actor: str) -> None:
        """Put a new secret in place of this one, where its keeper can.

        Raises:
            UsageError: If it cannot be changed from here.
            ServiceError: If its keeper cannot be reached, or refuses; the secret is then as it was.
        """
        named = SecretReference.parse(reference)
        try:
            self.provider(named.provider).rotate(named.path, named.field, actor=actor)
        finally:
            # Also after an error: a keeper whose answer was lost may have changed it.
            slot = self._slot(named)
            with slot.lock:
                slot.secret = None

    def provider(self, name: str) -> SecretsProvider:
        """The provider of this name, opened when it is first asked for.

        Raises:
            UsageError: If there is none, or the settings do not say where it is.
        """
        if name not in self._openers:
            raise UsageError(
                f"There is no secrets provider {name}", f"Known are: {', '.join(sorted(self._openers))}."
            )
        with self._lock:
            if name not in self._opened:
                self._opened[name] = self._openers[name]()
            return self._opened[name]

    def _get(self, named: SecretReference, is_good: Callable[[Secret, float], bool]) -> Secret:
        provider = self.provider(named.provider)
        if not provider.is_remote:
            return _of(named, provider.read(named.path))
        slot = self._slot(named)
        with slot.lock:
            if slot.secret is None or not is_good(slot.secret, self._clock() - slot.read_at):
                slot.secret = None
                slot.read_at = self._clock()
                slot.secret = provider.read(named.path)
            return _of(named, slot.secret)

    def _slot(self, named: SecretReference) -> _Slot:
        key = named.provider, named.path
        with self._lock:
            slot = self._slots.setdefault(key, _Slot())
            self._slots.move_to_end(key)
            if len(self._slots) > REMEMBERED:
                self._slots.popitem(last=False)
            return slot


class HeldSecrets(NotPickled):
    """Secrets for one piece of work: what is lent for it is given back when it ends.

    Args:
        secrets: Every secret.
        audit: Where it is recorded what was lent.
        actor: Who works.
    """

    def __init__(self, secrets: Secrets, audit: Callable[[], AuditLog], actor: str) -> None:
        self._secrets = secrets
        self._audit = audit
        self._actor = actor
        self._leases: dict[tuple[str, str], Lease] = {}
        self._lock = threading.Lock()

    def get(self, reference: str) -> Secret:
        """What a reference stands for; the user name and the password of one login belong together.

        Raises:
            UsageError: If it is no reference, or what it stands for is not there or cannot be used.
            ServiceError: If who keeps it cannot be reached, or refuses, or what was lent has ended.
        """
        named = SecretReference.parse(reference)
        provider = self._secrets.provider(named.provider)
        if not provider.lends(named.path):
            return self._secrets.get(reference)
        with self._lock:
            lease = self._leases.get((named.provider, named.path)) or self._lend(provider, named)
            return _of(named, lease.secret)

    def refresh(self, failed: Secret) -> Secret:
        """The secret as it is now, or another login, after somebody was refused with this one.

        Raises:
            UsageError: If it is not there any more.
            ServiceError: If who keeps it cannot be reached, or refuses.
        """
        named = SecretReference.parse(failed.name)
        provider = self._secrets.provider(named.provider)
        if not provider.lends(named.path):
            return self._secrets.refresh(failed)
        with self._lock:
            lease = self._leases.pop((named.provider, named.path), None)
            if lease is not None:
                self._give_back(named, lease)
            return _of(named, self._lend(provider, named).secret)

    def close(self) -> None:
        """Give everything back; what is not taken back ends by itself, and stops nobody's work."""
        with self._lock:
            while self._leases:
                (provider, path), lease = self._leases.popitem()
                self._give_back(SecretReference(provider, path), lease)

    def _lend(self, provider: SecretsProvider, named: SecretReference) -> Lease:
        with self._audit().effect("secret.lend", actor=self._actor, subject=_whole(named)):
            lease = self._leases[named.provider, named.path] = provider.lease(named.path)
        return lease

    def _give_back(self, named: SecretReference, lease: Lease) -> None:
        try:
            with self._audit().effect("secret.return", actor=self._actor, subject=_whole(named)):
                lease.end()
        except Exception as error:  # noqa: BLE001 - whatever one keeper says, the others are given theirs
            _logger.warning("%s was not revoked and ends by itself: %s", _whole(named), type(error).__name__)


@contextmanager
def held(secrets: Secrets, audit: Callable[[], AuditLog], *, actor: str) -> Iterator[HeldSecrets]:
    """Secrets for as long as a block runs, whatever becomes of it."""
    lent = HeldSecrets(secrets, audit, actor)
    try:
        yield lent
    finally:
        lent.close()


def _of(named: SecretReference, whole: Secret) -> Secret:
    return whole if named.field is None else whole.part(str(named), named.field)


def _whole(named: SecretReference) -> str:
    return str(SecretReference(named.provider, named.path))
