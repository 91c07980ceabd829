"""Sends the notice of a release's new state after the change; whether it can be sent changes nothing."""

from secure_platform.gate.records import ReleaseRecord
from secure_platform.services import Services
from secure_platform.site import Event


def tell(
    services: Services,
    event: Event,
    record: ReleaseRecord,
    *,
    ticket: str | None = None,
    occasion: str = "",
) -> None:
    """Queue a notice about a release, after what it tells has happened."""
    services.notices.announce(
        event,
        product=record.product,
        release=record.digest,
        number=record.number,
        ticket=ticket,
        occasion=occasion,
    )
