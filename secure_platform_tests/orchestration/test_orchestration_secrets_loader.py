"""A code location gets the variables that are listed for it, or does not start."""

import json
from collections.abc import Iterator

import dagster as dg
import pytest
from key_servers import private_file, reference

from secure_platform.errors import UsageError
from secure_platform.orchestration.home import open_instance, prepare
from secure_platform.orchestration.secrets_loader import PlatformSecretsLoader
from secure_platform.settings import load_settings

CANARY = "canary-5ac2d9"
LISTED = {"reports": {"PASSWORD": "a", "TOKEN": "b"}, "broken": {"GONE": "none"}, "odd": {"BYTES": "nul"}}


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    folder = tmp_path_factory.mktemp("loader")
    private_file(folder / "a", f"{CANARY}\n")
    private_file(folder / "b", "two\nlines\n")
    private_file(folder / "nul", f"{CANARY}\0")
    environment = {
        location: {name: reference(folder / file) for name, file in variables.items()}
        for location, variables in LISTED.items()
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECURE_PLATFORM_HOME", str(folder / "home"))
        patch.setenv("SECURE_PLATFORM_SECRETS", json.dumps({"environment": environment}))
        settings = load_settings()
        prepare(settings)
        with open_instance(settings) as opened:
            yield opened


def test_each_location_gets_its_own_and_a_run_of_nowhere_none(instance: dg.DagsterInstance) -> None:
    loader = instance._secrets_loader
    assert isinstance(loader, PlatformSecretsLoader)
    wanted = {"PASSWORD": CANARY, "TOKEN": "two\nlines"}
    assert loader.get_secrets_for_environment("reports") == wanted
    assert loader.get_secrets_for_environment("elsewhere") == {}
    assert loader.get_secrets_for_environment(None) == {}
    assert loader.inst_data is not None
    assert loader.inst_data.class_name == "PlatformSecretsLoader"


@pytest.mark.parametrize(("location", "said"), [("broken", "does not exist"), ("odd", "holds a NUL")])
def test_what_cannot_be_a_variable_is_an_error_without_the_value(
    instance: dg.DagsterInstance, location: str, said: str
) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        instance.inject_env_vars(location)
    assert CANARY not in str(refused.value)
    assert refused.value.__context__ is None
