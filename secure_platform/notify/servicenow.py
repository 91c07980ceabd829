"""A change request in ServiceNow: all about one release carries its digest, and the ticket if named."""

import base64
from typing import Any

from secure_platform import canonical
from secure_platform.notify.notice import Notice
from secure_platform.notify.post import post
from secure_platform.site import ChannelSettings


def send(channel: ChannelSettings, notice: Notice, secret: str) -> None:
    """Post to the table API, or to a scripted endpoint that takes the same members."""
    login = base64.b64encode(f"{channel.user}:{secret}".encode()).decode()
    post(channel, channel.url, canonical.dumps(body(notice)), {"Authorization": f"Basic {login}"})


def body(notice: Notice) -> dict[str, Any]:
    """Members of the table `change_request`."""
    described = [notice.text, *(url for _, url in notice.links)]
    return {
        "type": "emergency" if notice.urgent else "normal",
        "short_description": notice.text,
        "description": "\n".join(described),
        "correlation_id": notice.subject,
        "correlation_display": f"secure_platform {notice.event} {notice.notice_id}",
        **({"parent": notice.ticket} if notice.ticket else {}),
    }
