"""Which provider keeps the keys is a setting; an installed package may bring a further one.

A package registers a function under `secure_platform.key_providers` (docs/key-providers.md): it takes
`keys.options` and returns a `KeyProvider`. The names of the built-in ones are not given away.
"""

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final, cast

from secure_platform.errors import UsageError
from secure_platform.key_settings import AWS, LOCAL, VAULT, KeySettings, LocalKeySettings
from secure_platform.keys.provider import KeyProvider
from secure_platform.keys.providers.aws import AwsKeyProvider
from secure_platform.keys.providers.aws_session import AwsSession
from secure_platform.keys.providers.local import ROOT_KEY_FILE, LocalKeyProvider
from secure_platform.keys.providers.vault import VaultKeyProvider
from secure_platform.keys.providers.vault_session import VaultSession
from secure_platform.keys.secrets.opening import read_opening

GROUP: Final = "secure_platform.key_providers"


def open_provider(
    settings: KeySettings,
    directory: Path,
    *,
    vault: Callable[[], VaultSession],
    aws: Callable[[], AwsSession],
    name: str | None = None,
) -> KeyProvider:
    """A provider that wraps keys.

    Args:
        settings: Which one.
        directory: Where the embedded one keeps its root key.
        vault: Connects to Vault.
        aws: Connects to AWS.
        name: Another one than the settings choose, to move keys from or to.

    Raises:
        UsageError: If there is no such provider, or the settings lack what it needs.
        IntegrityError: If the root key of this home is missing.
    """
    built_in: dict[str, Callable[[], KeyProvider]] = {
        LOCAL: lambda: LocalKeyProvider.open(directory, _passphrase(settings.local)),
        VAULT: lambda: VaultKeyProvider(vault()),
        AWS: lambda: AwsKeyProvider(aws()),
    }
    chosen = name or settings.provider
    return built_in[chosen]() if chosen in built_in else _brought(chosen, settings.options)


def prepare_provider(settings: KeySettings, directory: Path, *, name: str | None = None) -> None:
    """Make the root key of a home that keeps its keys itself, or is about to, and has none yet."""
    if (name or settings.provider) == LOCAL and not (directory / ROOT_KEY_FILE).exists():
        LocalKeyProvider.create(directory, _passphrase(settings.local))


def _passphrase(settings: LocalKeySettings) -> bytes | None:
    return None if settings.passphrase is None else read_opening(settings.passphrase).line.encode()


def _brought(name: str, options: Mapping[str, str]) -> KeyProvider:
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
