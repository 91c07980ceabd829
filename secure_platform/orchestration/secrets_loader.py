"""A code location's processes get the environment variables that the settings list for it, and no others.

Named by `secrets: custom:` in `dagster.yaml`. Whoever may look at the environment of such a process sees
them: code of one's own resolves `secret://…` inside the step instead (`SecretsResource`).
"""

from collections.abc import Mapping
from typing import Any, Self

from dagster._core.secrets.loader import SecretsLoader
from dagster._serdes import ConfigurableClass, ConfigurableClassData

from secure_platform.errors import UsageError
from secure_platform.keys.secrets.secret import Secret
from secure_platform.orchestration.guard import value_free
from secure_platform.services import Services
from secure_platform.settings import load_settings


class PlatformSecretsLoader(SecretsLoader[Any], ConfigurableClass):
    """What Dagster asks when it starts a code server or a run.

    Args:
        inst_data: Dagster's own.
    """

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        self._inst_data = inst_data

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """Dagster's own."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """No settings of its own in `dagster.yaml`."""
        return {}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> Self:
        """As Dagster makes it."""
        return cls(inst_data, **config_value)

    def get_secrets_for_environment(self, location_name: str | None) -> Mapping[str, str]:
        """The variables of a code location.

        Raises:
            UsageError: If one of its secrets is not there, or cannot be the value of a variable.
            ServiceError: If who keeps one cannot be reached, or refuses.
        """
        return value_free("Reading the secrets of a code location", lambda: _variables(location_name))


def _variables(location: str | None) -> Mapping[str, str]:
    settings = load_settings()
    listed = settings.secrets.environment.get(location or "", {})
    if not listed:
        return {}
    secrets = Services(settings).secrets
    return {name: _value(secrets.get(reference)) for name, reference in listed.items()}


def _value(secret: Secret) -> str:
    text = secret.text.removesuffix("\n")
    if "\0" in text:
        raise UsageError(f"{secret.name} cannot be a variable: it holds a NUL", "Read it inside the step.")
    return text
