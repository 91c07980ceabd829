"""A notice says what happened to which release, by names and digests: no data value, nobody's name."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final, Self

from secure_platform.site import Event, Severity

FORMAT: Final = "secure-platform/notice/v1"
TEXTS: Final[Mapping[Event, str]] = {
    "release.pending": "{what} waits for approval",
    "release.approved": "{what} is approved",
    "release.rejected": "{what} was rejected",
    "release.withdrawn": "{what} was withdrawn",
    "release.deployed": "{what} is in production",
    "deploy.failed": "The deployment of {what} failed; production stays as it was",
    "release.rolled_back": "Production went back from {what}",
    "break_glass.opened": "Somebody broke the glass for {what}; it must be reviewed",
    "freeze.set": "Deployments of {what} are frozen",
    "key.rotated": "A key has a new version",
    "key.rotation_failed": "A key that is due could not be rotated",
    "secret.rotation_failed": "A secret could not be rotated and is as it was",
    "key.disabled": "A version of a key was disabled; what was made with it cannot be read",
    "key.destroyed": "A version of a key was destroyed",
    "key.backed_up": "All keys were taken out into a backup",
    "key.moved": "All keys were given to another provider",
    "incident.opened": "{what} has an incident",
    "incident.worse": "The incident of {what} got worse",
    "incident.settled": "The incident of {what} is settled",
    "monitor.silent": "The daemon is silent: nothing is built, deployed or watched",
    "monitor.alive": "The daemon lives",
}
URGENT: Final[frozenset[Event]] = frozenset(
    {
        "deploy.failed",
        "break_glass.opened",
        "key.rotation_failed",
        "secret.rotation_failed",
        "key.disabled",
        "key.destroyed",
        "key.backed_up",
        "key.moved",
        "monitor.silent",
    }
)
_PAGES: Final[Mapping[Event, str]] = {
    "break_glass.opened": "/access",
    "freeze.set": "/access",
    "key.rotated": "/keys",
    "key.rotation_failed": "/keys",
    "secret.rotation_failed": "/keys",
    "key.disabled": "/keys",
    "key.destroyed": "/keys",
    "key.backed_up": "/keys",
    "key.moved": "/keys",
}


@dataclass(frozen=True)
class Alert:
    """What an incident is about.

    Attributes:
        incident: Its id.
        kind: What kind of incident it is.
        signals: Which checks found something, by name.
        runbook: What to do; None where the settings name none.
    """

    incident: str
    kind: str
    severity: Severity
    signals: tuple[str, ...]
    runbook: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As it is sent and queued."""
        return {**asdict(self), "signals": list(self.signals)}

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:
        """As it was queued."""
        return cls(**{**record, "signals": tuple(record["signals"])})


@dataclass(frozen=True)
class Notice:
    """Something that happened.

    Attributes:
        notice_id: The same whenever it is delivered again: who receives it twice knows it by this.
        environment: Which platform it happened on.
        product: Which data product; None for all of them.
        release: Digest of the release, if it is about one.
        number: Its number.
        ticket: The change ticket that was named with the decision.
        link: Page that shows more; None where no URL of the server is set.
        alert: The incident, if it is about one.
    """

    notice_id: str
    event: Event
    occurred_at: datetime
    environment: str
    product: str | None = None
    release: str | None = None
    number: int | None = None
    ticket: str | None = None
    link: str | None = None
    alert: Alert | None = None

    @property
    def text(self) -> str:
        """One sentence."""
        release = f"release {self.number} of {self.product}"
        what = release if self.number is not None else self.product or "all products"
        said = TEXTS[self.event].format(what=what)
        if self.alert is not None:
            found = self.alert
            said = f"{said}: {', '.join(found.signals)} ({found.kind}, {found.severity})"
        return f"{said[0].upper()}{said[1:]} ({self.environment})."

    @property
    def subject(self) -> str:
        """What it is about: the incident or release, else the product, else the platform."""
        incident = self.alert.incident if self.alert else None
        return incident or self.release or self.product or "platform"

    @property
    def urgent(self) -> bool:
        """Whether somebody must look at once."""
        return self.event in URGENT or (self.alert is not None and self.alert.severity == "fail")

    @property
    def links(self) -> tuple[tuple[str, str], ...]:
        """Where more is to be found, each with its name."""
        runbook = self.alert.runbook if self.alert else None
        return tuple((name, url) for name, url in (("Open", self.link), ("Runbook", runbook)) if url)

    def to_json(self) -> dict[str, Any]:
        """The whole notice."""
        return {
            "format": FORMAT,
            "id": self.notice_id,
            "event": self.event,
            "occurred_at": self.occurred_at.isoformat(),
            "environment": self.environment,
            "product": self.product,
            "release": self.release,
            "number": self.number,
            "ticket": self.ticket,
            "text": self.text,
            "link": self.link,
            "alert": None if self.alert is None else self.alert.to_json(),
        }


def page_of(event: Event, release: str | None, incident: str | None = None) -> str:
    """The page that shows more, below the server's URL."""
    if incident is not None:
        return f"/incidents/{incident}"
    return _PAGES.get(event) or (f"/approvals/{release}" if release else "/releases")
