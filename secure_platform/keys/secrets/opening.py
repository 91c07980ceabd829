"""The secrets that open everything else: from a private file, or from this process's environment.

Both are read each time. A file is the better place: an environment is handed on to children, and shown by
whatever lists processes.
"""

import os
from pathlib import Path
from typing import Final

from secure_platform.errors import UsageError
from secure_platform.keys.secret_file import read_secret
from secure_platform.keys.secrets.provider import SecretsProvider
from secure_platform.keys.secrets.secret import LARGEST, Secret
from secure_platform.secret_reference import ENVIRONMENT, FILE, OPENING, SecretReference


class FileSecrets(SecretsProvider):
    """A secret is the content of a regular file of ours with mode 0600."""

    def read(self, path: str) -> Secret:
        """The file's bytes.

        Raises:
            UsageError: If it is missing, not private, not ours, not regular, empty or too large.
        """
        name = str(SecretReference(FILE, path))
        if not path.startswith("/"):
            raise UsageError(f"{name} is relative to nothing", f"Name the whole path: secret://{FILE}//…")
        try:
            content = read_secret(Path(path), name="The secret", limit=LARGEST + 1)
        except FileNotFoundError:
            raise UsageError(f"{path} does not exist", "Put the secret there, with mode 0600.") from None
        return Secret(content, name)


class EnvironmentSecrets(SecretsProvider):
    """A secret is the value of an environment variable."""

    def read(self, path: str) -> Secret:
        """The variable's value.

        Raises:
            UsageError: If it is not set, or empty.
        """
        value = os.environb.get(path.encode())
        if not value:
            raise UsageError(f"The environment variable {path} is not set", "Set it to the secret.")
        return Secret(value, str(SecretReference(ENVIRONMENT, path)))


_PROVIDERS: Final[dict[str, SecretsProvider]] = {FILE: FileSecrets(), ENVIRONMENT: EnvironmentSecrets()}


def read_opening(reference: str) -> Secret:
    """What a reference to a file or a variable stands for.

    Raises:
        UsageError: If it names another provider, or there is nothing to read.
    """
    named = SecretReference.parse(reference)
    if named.provider not in OPENING:
        raise UsageError(
            f"{named} cannot be read before the provider that it opens", "Name a file or a variable."
        )
    secret = _PROVIDERS[named.provider].read(named.path)
    return secret if named.field is None else secret.part(str(named), named.field)
