"""What an adopter may import, spelled out by hand: a list read off the code would agree with every change."""

import importlib
import inspect

import pytest

SURFACE = {
    "secure_platform.errors": {
        "AccessDeniedError",
        "AlreadyRolledBackError",
        "ContractError",
        "DataRefusedError",
        "GateRefusedError",
        "IntegrityError",
        "PlanRefusedError",
        "SecurePlatformError",
        "ServiceError",
        "StepFailedError",
        "StorageError",
        "UsageError",
    },
    "secure_platform.homes": {"initialise"},
    "secure_platform.orchestration.component": {"DataProduct", "product_definitions"},
    "secure_platform.orchestration.governance": {"govern"},
    "secure_platform.orchestration.instance": {"SecureInstance"},
    "secure_platform.orchestration.project": {"load_products"},
    "secure_platform.orchestration.resources": {
        "AuditLogResource",
        "KeyRingResource",
        "MaskingResource",
        "PlatformResource",
        "ScannerResource",
        "SecretsResource",
        "SnapshotStoreResource",
        "platform_resources",
    },
    "secure_platform.services": {"Services"},
    "secure_platform.settings": {"Settings", "find_project", "load_settings"},
}


@pytest.mark.parametrize("module", sorted(SURFACE))
def test_the_public_names_are_exactly_these(module: str) -> None:
    loaded = importlib.import_module(module)
    public = {
        name
        for name, value in vars(loaded).items()
        if name.isidentifier()
        and not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == module
    }
    assert public == SURFACE[module]
