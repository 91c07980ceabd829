"""Run as a program: do one thing to each home it is given when it is told to, and say what came of it."""

import os
import sys
from pathlib import Path

from built_home import PRODUCT

from secure_platform.errors import SecurePlatformError
from secure_platform.orchestration.steps.deploy import deploy, rollback
from secure_platform.services import Services
from secure_platform.settings import load_settings


def act(services: Services, verb: str) -> str:
    product = services.product(PRODUCT)
    if verb == "deploy":
        deployed = deploy(services, product)
        return f"{'found' if deployed.reused else 'deployed'} {deployed.record.number}"
    steward = services.principals.get("sam")
    assert steward is not None
    return f"went back to {rollback(services, product, steward, reason='race').record.number}"


def main(verb: str, homes: list[str]) -> None:
    for home in homes:
        os.environ["SECURE_PLATFORM_HOME"] = home
        services = Services(load_settings(home=Path(home)))
        services.audit.size()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        try:
            said = act(services, verb)
        except SecurePlatformError as error:
            said = f"{error.exit_code} {error}"
        sys.stdout.write(f"{said}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
