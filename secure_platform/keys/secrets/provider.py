"""A secrets provider reads what is at a path, each time anew; who asks it remembers the answer."""

from typing import Protocol

from secure_platform.keys.secrets.secret import Secret


class SecretsProvider(Protocol):
    """Where secrets are kept."""

    def read(self, path: str) -> Secret:
        """The whole secret at a path, as it is now.

        Raises:
            UsageError: If there is none, or it cannot be had; the error says what to do.
        """
        ...
