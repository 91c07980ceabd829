"""Which secrets providers there are; each is opened when a secret of it is first asked for."""

from collections.abc import Callable

from secure_platform.keys.secrets.aws import Aws, AwsSecrets
from secure_platform.keys.secrets.local import LocalSecrets
from secure_platform.keys.secrets.opening import EnvironmentSecrets, FileSecrets
from secure_platform.keys.secrets.resolver import Secrets
from secure_platform.keys.secrets.vault import Vault, VaultSecrets
from secure_platform.keys.secrets.vault_database import VaultDatabaseSecrets
from secure_platform.secret_reference import ENVIRONMENT, FILE

LOCAL = "local"


def open_secrets(
    *,
    local: Callable[[], LocalSecrets],
    vault: Callable[[], Vault],
    aws: Callable[[], Aws],
    ttl_seconds: float,
) -> Secrets:
    """Every secret that this process may need.

    Args:
        local: Opens those of this home.
        vault: Connects to Vault.
        aws: Connects to AWS.
        ttl_seconds: How long what is far away is remembered.
    """
    return Secrets(
        {
            FILE: FileSecrets,
            ENVIRONMENT: EnvironmentSecrets,
            LOCAL: local,
            "vault": lambda: VaultSecrets(vault()),
            "vault-database": lambda: VaultDatabaseSecrets(vault()),
            "aws": lambda: AwsSecrets(aws()),
        },
        ttl_seconds=ttl_seconds,
    )
