"""The connection to AWS for everybody in this process who needs it.

Credentials come from where AWS's own tools find them (environment, profile, role of the machine), the address
from our settings only. A call is
tried again, a few times and after growing random pauses, when AWS throttles or fails. What AWS says about a
failure is never repeated: its text may name what was sent.
"""

import threading
from typing import Any, Final

from secure_platform.key_settings import AwsSettings
from secure_platform.keys.material import NotPickled
from secure_platform.keys.providers.aws_errors import explained, unreachable

TRIES: Final = 4


class AwsSession(NotPickled):
    """Clients of one account and region.

    Args:
        settings: Which region, and where.
    """

    def __init__(self, settings: AwsSettings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._clients: dict[str, Any] = {}

    def call(self, service: str, operation: str, /, *, about: str, **parameters: Any) -> dict[str, Any]:
        """What AWS answers.

        Args:
            service: Such as `kms` or `secretsmanager`.
            operation: Such as `generate_data_key`.
            about: The key or secret, for the error.
            parameters: Of the operation.

        Raises:
            ServiceError: If AWS cannot be reached, refuses, or has no such thing.
            IntegrityError: If it says that a key does not open what it was given.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        asked = f"{service}:{operation} for {about} in {self.settings.region}"
        try:
            return dict(getattr(self._client(service), operation)(**parameters))
        except ClientError as error:
            raise explained(asked, error.response) from None
        except BotoCoreError as error:
            raise unreachable(asked, self.settings, error) from None

    def _client(self, service: str) -> Any:
        # Making a client is not safe from two threads at once; using one is.
        with self._lock:
            if service not in self._clients:
                self._clients[service] = _client(self.settings, service)
            return self._clients[service]


def _client(settings: AwsSettings, service: str) -> Any:
    import boto3
    from botocore.config import Config

    seconds = settings.timeout_seconds
    return boto3.session.Session().client(
        service,
        region_name=settings.region,
        endpoint_url=settings.endpoint_url,
        config=Config(
            connect_timeout=seconds,
            read_timeout=seconds,
            retries={"mode": "standard", "total_max_attempts": TRIES},
            # Else AWS_ENDPOINT_URL, which people set for an object store, would send keys there, by http too.
            ignore_configured_endpoint_urls=True,
        ),
    )
