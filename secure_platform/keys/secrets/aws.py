"""Secrets of AWS Secrets Manager: `secret://aws/NAME#FIELD` is a field of the version AWSCURRENT.

A rotation is AWS's own: it runs the function that the secret names. It has happened when another version is
AWSCURRENT, and not before.
"""

import time
from typing import Any, ClassVar, Final, Protocol

from secure_platform.errors import ServiceError
from secure_platform.keys.secrets.provider import SecretsProvider
from secure_platform.keys.secrets.secret import Secret

SERVICE: Final = "secretsmanager"
CURRENT: Final = "AWSCURRENT"
TRIES: Final = 30
PAUSE_SECONDS: Final = 2.0


class Aws(Protocol):
    """A connection to one account."""

    def call(self, service: str, operation: str, /, *, about: str, **parameters: Any) -> dict[str, Any]:
        """What AWS answers."""
        ...


class AwsSecrets(SecretsProvider):
    """Secrets Manager of one account and region.

    Args:
        aws: The connection.
    """

    is_remote: ClassVar[bool] = True

    def __init__(self, aws: Aws) -> None:
        self._aws = aws

    def read(self, path: str) -> Secret:
        """The current version: its text, or its bytes.

        Raises:
            UsageError: If it is empty or too large.
            ServiceError: If AWS cannot be reached, refuses, or has none.
        """
        answer = self._ask("get_secret_value", path, VersionStage=CURRENT)
        value = answer.get("SecretBinary") or str(answer.get("SecretString", "")).encode()
        return Secret(bytes(value), _name(path), answer.get("VersionId"), answer.get("CreatedDate"))

    def rotate(self, path: str, field: str | None, *, actor: str) -> None:
        """Have AWS rotate the secret, and wait until it has.

        Raises:
            ServiceError: If AWS cannot be reached, refuses, or has not finished within a minute.
        """
        del field, actor
        version = self._ask("rotate_secret", path, RotateImmediately=True).get("VersionId")
        for _ in range(TRIES):
            stages = self._ask("describe_secret", path).get("VersionIdsToStages", {})
            if CURRENT in stages.get(version, []):
                return
            time.sleep(PAUSE_SECONDS)
        raise ServiceError(
            f"AWS has begun to rotate {_name(path)}, and has not finished",
            "Look into the log of its rotation function; the former version is still the current one.",
        )

    def _ask(self, operation: str, path: str, **parameters: Any) -> dict[str, Any]:
        return self._aws.call(SERVICE, operation, about=_name(path), SecretId=path, **parameters)


def _name(path: str) -> str:
    return f"secret://aws/{path}"
