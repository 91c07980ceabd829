"""Which provider keeps the keys is a setting; an installed package may bring a further one (docs/keys.md).

A package registers a function under `secure_platform.key_providers`: it takes `keys.options` and returns a
`KeyProvider`. The names of the built-in ones are not given away.
"""

from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final, Protocol, cast

from secure_platform.errors import UsageError
from secure_platform.key_settings import AWS, LOCAL, VAULT, AwsSettings, KeySettings, VaultSettings
from secure_platform.keys.provider import KeyProvider
from secure_platform.keys.providers.aws import AwsKeyProvider
from secure_platform.keys.providers.aws_session import AwsSession
from secure_platform.keys.providers.local import ROOT_KEY_FILE, LocalKeyProvider
from secure_platform.keys.providers.vault import VaultKeyProvider
from secure_platform.keys.providers.vault_session import VaultSession
from secure_platform.keys.secrets.opening import read_opening

GROUP: Final = "secure_platform.key_providers"


class Site(Protocol):
    """What the settings say of keys."""

    @property
    def home(self) -> Path:
        """Has the root key of the embedded provider in `keys/`."""
        ...

    @property
    def keys(self) -> KeySettings:
        """Which provider."""
        ...

    @property
    def vault(self) -> VaultSettings | None:
        """A Vault server."""
        ...

    @property
    def aws(self) -> AwsSettings | None:
        """An AWS account."""
        ...


class Connections:
    """One login at each service, for keys and secrets alike, made when it is first needed.

    Args:
        site: The settings.
    """

    def __init__(self, site: Site) -> None:
        self._site = site

    @cached_property
    def vault(self) -> VaultSession:
        """The Vault server of the settings.

        Raises:
            UsageError: If they name none.
        """
        if self._site.vault is None:
            raise UsageError("The settings name no Vault server", "Add `vault`; see docs/settings.md.")
        return VaultSession(self._site.vault)

    @cached_property
    def aws(self) -> AwsSession:
        """The AWS account of the settings.

        Raises:
            UsageError: If they name none.
        """
        if self._site.aws is None:
            raise UsageError("The settings name no AWS account", "Add `aws`; see docs/settings.md.")
        return AwsSession(self._site.aws)


def open_provider(site: Site, connections: Connections, name: str | None = None) -> KeyProvider:
    """The provider that wraps the keys of this home.

    Args:
        site: The settings.
        connections: The logins that it uses.
        name: Another one than they choose, to move keys from or to.

    Raises:
        UsageError: If there is no such provider, or the settings lack what it needs.
        IntegrityError: If the root key of this home is missing.
    """
    match name or site.keys.provider:
        case "local":
            return LocalKeyProvider.open(site.home / "keys", _passphrase(site))
        case "vault":
            return VaultKeyProvider(connections.vault)
        case "aws":
            return AwsKeyProvider(connections.aws)
        case other:
            return _brought(other, site.keys.options)


def prepare_provider(site: Site) -> None:
    """Make the root key of a home that keeps its keys itself and has none yet."""
    directory = site.home / "keys"
    if site.keys.provider == LOCAL and not (directory / ROOT_KEY_FILE).exists():
        LocalKeyProvider.create(directory, _passphrase(site))


def _passphrase(site: Site) -> str | None:
    reference = site.keys.local.passphrase
    return None if reference is None else read_opening(reference).line


def _brought(name: str, options: dict[str, str]) -> KeyProvider:
    found = [point for point in entry_points(group=GROUP) if point.name == name]
    if len(found) != 1:
        how_many = "No" if not found else "More than one"
        raise UsageError(
            f"{how_many} installed package brings the key provider {name!r}",
            f"Choose {LOCAL}, {VAULT} or {AWS}, or install the one package that brings it.",
        )
    provider = cast("KeyProvider", found[0].load()(options))
    if provider.name != name:
        raise UsageError(
            f"The key provider {name!r} calls itself {provider.name!r}", "Correct the package that brings it."
        )
    return provider
