"""Logins at databases that Vault makes: `secret://vault-database/MOUNT/creds/ROLE#username` or `#password`.

Such a login is made for one run, prolonged while the run holds it, and revoked when the run ends. When the
run is killed nobody prolongs it: it ends by its time to live, which is therefore kept short in Vault. It ends
with the token that it was made with, too, which is kept alive as long. `MOUNT/static-creds/ROLE` is one login
whose password Vault rotates.
"""

import json
import logging
import math
import threading
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Final

from secure_platform.errors import SecurePlatformError, ServiceError, UsageError
from secure_platform.keys.material import NotPickled
from secure_platform.keys.secrets.provider import SecretsProvider
from secure_platform.keys.secrets.secret import Secret
from secure_platform.keys.secrets.vault import Vault

_MADE: Final = "creds"
_KEPT: Final = "static-creds"
_ROTATE: Final = "rotate-role"
_PARTS: Final = 3
_RENEW_AFTER: Final = 1 / 3
SHORTEST_PAUSE: Final = 0.25
_logger = logging.getLogger(__name__)


class VaultDatabaseSecrets(SecretsProvider):
    """A database engine of Vault.

    Args:
        vault: The connection.
    """

    is_remote: ClassVar[bool] = True

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def read(self, path: str) -> Secret:
        """User name and password of a static role.

        Raises:
            UsageError: If the path names none.
            ServiceError: If Vault cannot be reached, refuses, or has none.
        """
        if self.lends(path):
            raise UsageError(
                f"{_name(path)} is made for one run", "Ask for it inside a step: see docs/secrets.md."
            )
        answer = self._vault.read(path)
        try:
            changed_at = datetime.fromisoformat(answer["data"]["last_vault_rotation"])
        except (KeyError, TypeError, ValueError):
            raise _not_ours(path) from None
        return _login(path, answer, changed_at=changed_at)

    def lends(self, path: str) -> bool:
        """Whether the path names a dynamic role, and not a static one."""
        parts = path.split("/")
        if len(parts) != _PARTS or parts[1] not in {_MADE, _KEPT}:
            raise UsageError(
                f"{_name(path)} names no role", f"Write MOUNT/{_MADE}/ROLE or MOUNT/{_KEPT}/ROLE."
            )
        return parts[1] == _MADE

    def lease(self, path: str) -> "DatabaseLease":
        """A new login.

        Raises:
            UsageError: If the path names no dynamic role.
            ServiceError: If Vault cannot be reached, or refuses.
        """
        if not self.lends(path):
            raise UsageError(f"{_name(path)} is the same for everybody", "Read it instead.")
        return DatabaseLease(self._vault, path)

    def rotate(self, path: str, field: str | None, *, actor: str) -> None:
        """Have Vault set another password for a static role; the former one is refused at once.

        Raises:
            UsageError: If the path names no static role.
            ServiceError: If Vault cannot be reached, or refuses.
        """
        del field, actor
        if self.lends(path):
            raise UsageError(f"{_name(path)} is another one for each run", "Rotate a static role.")
        mount, _, role = path.split("/")
        self._vault.write(f"{mount}/{_ROTATE}/{role}")


class DatabaseLease(NotPickled):
    """A login that is prolonged until it is ended.

    Args:
        vault: The connection.
        path: `MOUNT/creds/ROLE`.
    """

    def __init__(self, vault: Vault, path: str) -> None:
        self._vault = vault
        self._path = path
        asked_at = time.monotonic()
        answer = vault.read(path)
        try:
            self._id, self._seconds = str(answer["lease_id"]), _seconds(answer)
        except (KeyError, TypeError, ValueError):
            raise _not_ours(path) from None
        self._secret = _login(path, answer)
        self._ends_at = asked_at + self._seconds
        self._stop = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name=f"lease of {path}", daemon=True)
        self._keeper.start()

    @property
    def secret(self) -> Secret:
        """User name and password.

        Raises:
            ServiceError: If it has ended.
        """
        if self._stop.is_set() or time.monotonic() >= self._ends_at:
            raise ServiceError(
                f"{_name(self._path)} has ended", "Ask for it again; raise max_ttl of the role for long runs."
            )
        return self._secret

    def end(self) -> None:
        """Revoke it.

        Raises:
            ServiceError: If Vault did not; it then ends by its time to live.
        """
        self._stop.set()
        self._keeper.join()
        self._vault.write("sys/leases/revoke", {"lease_id": self._id, "sync": True})

    def _keep(self) -> None:
        """Prolong it after a third of its time; go on asking when that fails, until it has ended."""
        due_at, pause = time.monotonic() + self._seconds * _RENEW_AFTER, 0.0
        while not self._stop.wait(max(SHORTEST_PAUSE, min(pause, due_at - time.monotonic()))):
            try:
                pause = self._vault.stay_logged_in()
                if time.monotonic() >= due_at:
                    due_at += self._seconds * _RENEW_AFTER
                    self._prolong()
            except (SecurePlatformError, KeyError, TypeError, ValueError) as error:
                _logger.warning("%s was not prolonged: %s", _name(self._path), type(error).__name__)
            if time.monotonic() >= self._ends_at:
                return

    def _prolong(self) -> None:
        asked_at = time.monotonic()
        wanted = {"lease_id": self._id, "increment": int(self._seconds)}
        granted = self._vault.write("sys/leases/renew", wanted)
        self._ends_at = asked_at + _seconds(granted)


def _seconds(answer: Mapping[str, Any]) -> float:
    seconds = float(answer["lease_duration"])
    if not math.isfinite(seconds):
        raise ValueError(seconds)
    return seconds


def _login(path: str, answer: Mapping[str, Any], *, changed_at: datetime | None = None) -> Secret:
    try:
        login = {part: str(answer["data"][part]) for part in ("username", "password")}
    except (KeyError, TypeError):
        raise _not_ours(path) from None
    return Secret(json.dumps(login).encode(), _name(path), changed_at=changed_at)


def _not_ours(path: str) -> ServiceError:
    return ServiceError(f"{_name(path)} is not in a database engine", "Name a mount that is one.")


def _name(path: str) -> str:
    return f"secret://vault-database/{path}"
