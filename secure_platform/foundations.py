"""What every other room of a home stands on: its databases, keys, log and secrets, opened when needed."""

from functools import cached_property
from pathlib import Path
from typing import Final

from secure_platform.access.seals import SealedRows
from secure_platform.audit.log import AuditLog
from secure_platform.control.database import ControlDatabase
from secure_platform.errors import UsageError
from secure_platform.keys.home import HomeKeys
from secure_platform.keys.provider import KeyProvider
from secure_platform.keys.providers.aws_session import AwsSession
from secure_platform.keys.providers.choice import open_provider
from secure_platform.keys.providers.vault_session import VaultSession
from secure_platform.keys.ring import KeyRing
from secure_platform.keys.secrets.local import LocalSecrets
from secure_platform.keys.secrets.opened import open_secrets
from secure_platform.keys.secrets.resolver import Secrets
from secure_platform.settings import Settings

AUDIT_LOG: Final = "audit.db"


class Foundations:
    """The foundations of one home.

    Args:
        settings: The resolved settings; the home must be initialised (see `initialise`).
        key_provider: Opens the keys in place of the provider that the settings choose.
    """

    def __init__(self, settings: Settings, *, key_provider: KeyProvider | None = None) -> None:
        self.settings = settings
        self._stand_in = key_provider

    @cached_property
    def database(self) -> ControlDatabase:
        """The control database."""
        return ControlDatabase.at(self.settings.home / "control.db")

    @property
    def keys(self) -> KeyRing:
        """The key ring over the provider of the settings."""
        return self._opened.ring

    @cached_property
    def key_provider(self) -> KeyProvider:
        """What wraps the keys."""
        return self._stand_in or self.provider()

    def provider(self, name: str | None = None) -> KeyProvider:
        """What wraps the keys; another one than the settings choose, by its name, to move keys from or to."""
        return open_provider(
            self.settings.keys,
            self.settings.home / "keys",
            vault=lambda: self.vault,
            aws=lambda: self.aws,
            name=name,
        )

    @property
    def audit(self) -> AuditLog:
        """The tamper-evident log."""
        return self._opened.audit

    @cached_property
    def _opened(self) -> HomeKeys:
        return HomeKeys(
            self.key_provider,
            self.database,
            self.settings.home / AUDIT_LOG,
            fips=self.settings.keys.fips,
        )

    @cached_property
    def sealed_rows(self) -> SealedRows:
        """The rows of the control database that say who somebody is and what they may do."""
        return SealedRows(self.database, self.keys, self.audit)

    @cached_property
    def secrets(self) -> Secrets:
        """What `secret://…` stands for."""
        return open_secrets(
            local=lambda: self.local_secrets,
            vault=lambda: self.vault,
            aws=lambda: self.aws,
            ttl_seconds=self.settings.secrets.ttl_seconds,
        )

    @cached_property
    def local_secrets(self) -> LocalSecrets:
        """The secrets that this home keeps itself."""
        return LocalSecrets(self.settings.home / "secrets", self.keys, self.audit)

    @cached_property
    def vault(self) -> VaultSession:
        """The login at Vault.

        Raises:
            UsageError: If the settings name no Vault.
        """
        if self.settings.vault is None:
            raise UsageError("No Vault is named", "Set vault: in platform.yaml; see docs/settings.md.")
        return VaultSession(self.settings.vault)

    @cached_property
    def aws(self) -> AwsSession:
        """The connection to AWS.

        Raises:
            UsageError: If the settings name no AWS region.
        """
        if self.settings.aws is None:
            raise UsageError("No AWS is named", "Set aws: in platform.yaml; see docs/settings.md.")
        return AwsSession(self.settings.aws)

    @property
    def temporary(self) -> Path:
        """Private scratch space on the same file system as the rooms."""
        return self.settings.home / "tmp"

    @property
    def releases(self) -> Path:
        """The folder of the signed packages."""
        return self.settings.home / "releases"
