"""Production is compared with its release also when nobody deploys: what differs blocks the next deployment.

So is what a waiver let out that has ended since: it is told, and does not block the deployment that mends it.

Nothing is taken back: who changed production beside the gate is a matter for a person. What differs is told
once a day until it does not: a person settles a day, not the release.

One day may be left out because production is being changed. When it was last compared is in the metrics
history, which is sealed: whoever holds the lock of deployments night after night is told of. Where it does
not say so yet, as in a home of an earlier version, the days are counted from the first look.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from datetime import date, datetime

from secure_platform import canonical
from secure_platform.contract.product import Product
from secure_platform.control.database import utc_now
from secure_platform.errors import GateRefusedError, IntegrityError, ServiceError
from secure_platform.monitor.history import Record
from secure_platform.monitor.incident import WAIVERS, Severity, Sighting
from secure_platform.orchestration.steps.deploy import (
    ended_in,
    matches_release,
    one_at_a_time,
    signed_package,
)
from secure_platform.orchestration.steps.production import MATCHES, ZONE, production_record
from secure_platform.services import Services

TURN_SECONDS = 60.0
"""How long a deployment is waited for: a run that waits holds a place that others need."""
UNKNOWN = "unknown"
"""Stands for the release where it cannot be told which one is in production."""
COMPARED = "recount"
"""In the metrics history: the zone of what says on which days production was compared."""

BEGUN = "first_look"
"""The same of the first look that could not compare, where no day was known."""


def recount(services: Services, product: Product) -> str | None:
    """Read production back and let the incidents take in whether it is what was released.

    Returns:
        What was found; None if production is being changed, which is compared when it is done.

    Raises:
        ServiceError: If it is being changed, and was not compared the day before either.
        IntegrityError: If the metrics history does not say any more when it was.
    """
    with ExitStack() as stack:
        # A deployment meanwhile would look like a difference.
        turn = one_at_a_time(services, product.name, timeout_seconds=TURN_SECONDS)
        try:
            stack.enter_context(turn)
        except GateRefusedError:
            _may_be_left_out(services, product)
            return None
        release, problem = _compared(services, product)
        ended = _ended(services, release, problem)
    if release is not None:
        services.incidents.report(
            product.name,
            [*_sightings(product, release, problem), *_unwaived(product, release, ended)],
            release=None if release == UNKNOWN else release,
        )
    services.metrics.add(_mark(product, COMPARED))
    if release is None:
        return f"Nothing of {product.name} is in production."
    if ended:
        return f"Production of {product.name} has what a waiver let out that has ended: {', '.join(ended)}."
    return problem or f"Production of {product.name} is what was released."


def _sightings(product: Product, release: str, problem: str | None) -> list[Sighting]:
    return [
        Sighting(
            ZONE,
            table,
            MATCHES,
            _point(release, table),
            "fail" if problem else None,
            blocking=problem is not None,
        )
        for table in product.models
    ]


def _ended(services: Services, release: str | None, problem: str | None) -> list[str] | None:
    """What is in production under a waiver that has ended; unknown where it is not what was signed."""
    if release is None or problem is not None:
        return None
    return ended_in(signed_package(services, services.gate.get(release)))


def _unwaived(product: Product, release: str, ended: Sequence[str] | None) -> list[Sighting]:
    """It does not block: what mends it is another deployment."""
    if ended is None:
        return []
    state: Severity | None = "fail" if ended else None
    return [Sighting(ZONE, table, WAIVERS, _point(release, table), state) for table in product.models]


def _mark(product: Product, what: str) -> Record:
    now = utc_now()
    name = canonical.sha256(canonical.dumps([product.name, what, str(now.date())]))
    return Record(
        product.name,
        ZONE,
        what,
        name.removeprefix("sha256:")[:32],
        numbers={},
        recorded_at=now,
    )


def _may_be_left_out(services: Services, product: Product) -> None:
    last, today = _last_compared(services, product), utc_now().date()
    if last is None and services.target.base(product.name) is None:
        # The first deployment is under way.
        return
    if _last(services, product, ZONE, COMPARED) is None and _first_look(services, product) == today:
        # An earlier version compared, and did not write down when.
        return
    if last is None or (today - last.date()).days > 1:
        since = "never been compared" if last is None else f"not been compared since {last.date()}"
        raise ServiceError(
            f"Production of {product.name} has {since}: whenever it was to be, it was being changed",
            f"End what holds up the deployments of {product.name}: a run that hangs, or a process of no run.",
        )


def _first_look(services: Services, product: Product) -> date:
    """The day of the first look that could not compare, where no day was known; today, if this is it."""
    if (begun := _last(services, product, ZONE, BEGUN)) is None:
        services.metrics.add(mark := _mark(product, BEGUN))
        begun = mark.recorded_at
    return begun.date()


def _last_compared(services: Services, product: Product) -> datetime | None:
    """When production was compared, here or after a deployment, which records the tables then."""
    places = [(ZONE, COMPARED), *((table, ZONE) for table in product.models)]
    days = [_last(services, product, *place) for place in places]
    return max((day for day in days if day is not None), default=None)


def _last(services: Services, product: Product, dataset: str, zone: str) -> datetime | None:
    services.metrics.require_whole(product.name, dataset, zone)
    found = services.metrics.before(product.name, dataset, zone, limit=1)
    return found[0].recorded_at if found else None


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
