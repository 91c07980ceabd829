"""Secrets of a KV v2 engine: `secret://vault/MOUNT/PATH#FIELD` is a field of the newest version there.

A rotation writes a version with one other field, and only after the version it has read: of two at once, one
is refused.
"""

import json
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Final, Protocol

from secure_platform.control.database import as_utc
from secure_platform.errors import ServiceError, UsageError
from secure_platform.keys.secrets.provider import SecretsProvider
from secure_platform.keys.secrets.secret import Secret

RANDOM_BYTES: Final = 32


class Vault(Protocol):
    """A connection that is logged in."""

    def read(self, path: str) -> dict[str, Any]:
        """The answer to a GET."""
        ...

    def write(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The answer to a POST."""
        ...

    def stay_logged_in(self) -> float:
        """Keep the token alive: it is renewed if it is time; the seconds until it is time again."""
        ...


class VaultSecrets(SecretsProvider):
    """A KV v2 engine.

    Args:
        vault: The connection.
    """

    is_remote: ClassVar[bool] = True

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def read(self, path: str) -> Secret:
        """The newest version, as a JSON object of its fields.

        Raises:
            UsageError: If the path names no mount.
            ServiceError: If Vault cannot be reached, refuses, or has none.
        """
        document, metadata = self._newest(path)
        return Secret(
            json.dumps(document, ensure_ascii=False).encode(errors="surrogatepass"),
            f"secret://vault/{path}",
            str(metadata["version"]),
            metadata["created_time"],
        )

    def rotate(self, path: str, field: str | None, *, actor: str) -> None:
        """Write a version in which the field is 256 random bits; other fields stay as they are.

        Raises:
            UsageError: If no field is named, or it is not there.
            ServiceError: If Vault cannot be reached, refuses, or somebody else wrote at the same time.
        """
        del actor
        document, metadata = self._newest(path)
        if field is None or field not in document:
            raise UsageError(f"secret://vault/{path} is rotated by its field", "Name one after a #.")
        changed = {**document, field: secrets.token_urlsafe(RANDOM_BYTES)}
        options = {"cas": metadata["version"]}
        self._vault.write(_data(path), {"data": changed, "options": options})

    def _newest(self, path: str) -> tuple[dict[str, Any], dict[str, Any]]:
        try:
            answer = self._vault.read(_data(path))["data"]
            return dict(answer["data"]), {
                "version": int(answer["metadata"]["version"]),
                "created_time": as_utc(datetime.fromisoformat(answer["metadata"]["created_time"])),
            }
        except (KeyError, TypeError, ValueError, OverflowError):
            raise ServiceError(
                f"secret://vault/{path} is not in a KV engine of version 2", "Name a mount that is one."
            ) from None


def _data(path: str) -> str:
    mount, slash, name = path.partition("/")
    if not slash:
        raise UsageError(f"secret://vault/{path} names no mount", "Write secret://vault/MOUNT/PATH#FIELD.")
    return f"{mount}/data/{name}"
