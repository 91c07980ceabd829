"""Production is compared with its release also when nobody deploys: what differs blocks the next deployment.

Nothing is taken back: who changed production beside the gate is a matter for a person. What differs is told
once a day until it does not: a person settles a day, not the release.
"""

from contextlib import ExitStack

from secure_platform.contract.product import Product
from secure_platform.control.database import utc_now
from secure_platform.errors import GateRefusedError, IntegrityError
from secure_platform.monitor.incident import Sighting
from secure_platform.orchestration.steps.deploy import matches_release, one_at_a_time
from secure_platform.orchestration.steps.production import MATCHES, ZONE, production_record
from secure_platform.services import Services

TURN_SECONDS = 60.0
"""How long a deployment is waited for: a run that waits holds a place that others need."""
UNKNOWN = "unknown"
"""Stands for the release where it cannot be told which one is in production."""


def recount(services: Services, product: Product) -> str | None:
    """Read production back and let the incidents take in whether it is what was released.

    Returns:
        What was found; None if production is being changed, which is compared when it is done.
    """
    with ExitStack() as stack:
        # A deployment meanwhile would look like a difference.
        turn = one_at_a_time(services, product.name, timeout_seconds=TURN_SECONDS)
        try:
            stack.enter_context(turn)
        except GateRefusedError:
            return None
        release, problem = _compared(services, product)
    if release is None:
        return f"Nothing of {product.name} is in production."
    services.incidents.report(
        product.name,
        [
            Sighting(
                ZONE,
                table,
                MATCHES,
                _point(release, table),
                "fail" if problem else None,
                blocking=problem is not None,
            )
            for table in product.models
        ],
        release=None if release == UNKNOWN else release,
    )
    return problem or f"Production of {product.name} is what was released."


def _point(release: str, table: str) -> str:
    return f"{production_record(release, table)}/{utc_now().date()}"


def _compared(services: Services, product: Product) -> tuple[str | None, str | None]:
    """What is in production, and what is wrong with it."""
    release: str | None = UNKNOWN
    try:
        release = services.target.base(product.name)
        production = services.target.current(product.name)
        if production is not None:
            matches_release(services, production)
    except IntegrityError as error:
        return release, error.culprit
    return release, None
