"""The state of a notice (waiting, delivered, given up), and who was notified of an incident."""

from dataclasses import dataclass
from datetime import datetime

from secure_platform.notify.notice import Alert, Notice
from secure_platform.site import Event


@dataclass(frozen=True)
class Queued:
    """A notice for one channel, and what became of it.

    Attributes:
        problem: Why the last attempt failed, without anything secret.
    """

    notice: Notice
    channel: str
    attempts: int
    due_at: datetime
    delivered_at: datetime | None
    given_up_at: datetime | None
    problem: str | None

    @property
    def state(self) -> str:
        """`waiting`, `delivered` or `given up`."""
        if self.delivered_at:
            return "delivered"
        return "given up" if self.given_up_at else "waiting"


@dataclass(frozen=True)
class Alerted:
    """That a channel was told of an incident.

    Attributes:
        subject: The incident's id, a slash, and the occasion.
    """

    channel: str
    event: Event
    subject: str
    at: datetime
    product: str
    alert: Alert
