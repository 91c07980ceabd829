"""Run as a program: look at each home it is given, do one thing to it when told to, say what came of it."""

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from built_home import PRODUCT

from secure_platform.errors import SecurePlatformError
from secure_platform.gate.records import ReleaseRecord
from secure_platform.orchestration.steps.deploy import deploy, in_production, rollback
from secure_platform.services import Services
from secure_platform.settings import load_settings


def prepared(services: Services, verb: str) -> Callable[[], str]:
    if verb == "deploy":
        return partial(deploys, services)
    return partial(goes_back, services, in_production(services, PRODUCT))


def deploys(services: Services) -> str:
    deployed = deploy(services, services.product(PRODUCT))
    return f"{'found' if deployed.reused else 'deployed'} {deployed.record.number}"


def goes_back(services: Services, left: ReleaseRecord) -> str:
    steward = services.principals.get("sam")
    assert steward is not None
    return f"went back to {rollback(services, left, steward, reason='race').record.number}"


def main(verb: str, homes: list[str]) -> None:
    for home in homes:
        os.environ["SECURE_PLATFORM_HOME"] = home
        services = Services(load_settings(home=Path(home)))
        services.audit.size()
        act = prepared(services, verb)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        try:
            said = act()
        except SecurePlatformError as error:
            said = f"{error.exit_code} {error}"
        sys.stdout.write(f"{said}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
