"""A keeper of secrets that is far away: what it gave is remembered, whatever it holds by now."""

from typing import ClassVar

from secure_platform.keys.secrets.provider import SecretsProvider
from secure_platform.keys.secrets.resolver import Secrets
from secure_platform.keys.secrets.secret import Secret

REFERENCE = "secret://shelf/one"


class RemoteShelf(SecretsProvider):
    """Holds one secret."""

    is_remote: ClassVar[bool] = True

    def __init__(self, value: str) -> None:
        self.value = value
        self._seconds = 0.0

    def read(self, path: str) -> Secret:
        return Secret(self.value.encode(), f"secret://shelf/{path}")

    def remembered_by(self) -> Secrets:
        """A resolver that has read it, a while ago."""
        secrets = Secrets({"shelf": lambda: self}, ttl_seconds=3600, clock=lambda: self._seconds)
        secrets.get(REFERENCE)
        self.later()
        return secrets

    def later(self) -> None:
        """Some time passes, less than it is remembered."""
        self._seconds += 60
