"""A PagerDuty event (Events API v2): one incident per release, open while somebody must act."""

from collections.abc import Mapping
from typing import Any, Final

from secure_platform import canonical
from secure_platform.notify.notice import Notice
from secure_platform.notify.post import post
from secure_platform.site import ChannelSettings, Event

_ACTIONS: Final[Mapping[Event, str]] = {
    "release.approved": "acknowledge",
    "release.rejected": "resolve",
    "release.withdrawn": "resolve",
    "release.deployed": "resolve",
    "incident.settled": "resolve",
}


def send(channel: ChannelSettings, notice: Notice, secret: str) -> None:
    """Post the event; the secret is the routing key."""
    post(channel, channel.url, canonical.dumps(body(notice, secret)), {})


def body(notice: Notice, routing_key: str) -> dict[str, Any]:
    """The event; PagerDuty takes one that comes twice for one, by its `dedup_key`."""
    event = {
        "routing_key": routing_key,
        "event_action": _ACTIONS.get(notice.event, "trigger"),
        "dedup_key": notice.subject,
        "payload": {
            "summary": notice.text,
            "source": f"secure_platform {notice.environment}",
            "severity": _severity(notice),
            "timestamp": notice.occurred_at.isoformat(),
            "component": notice.product or "platform",
            "class": notice.event,
            "custom_details": notice.to_json(),
        },
    }
    links = [{"href": url, "text": name} for name, url in notice.links]
    return {**event, "links": links} if links else event


def _severity(notice: Notice) -> str:
    if notice.urgent:
        return "critical"
    return "warning" if notice.alert else "info"
