"""A Slack message: one sentence and a button that opens the page; whoever presses it must still log in."""

from typing import Any

from secure_platform import canonical
from secure_platform.notify.notice import Notice
from secure_platform.notify.post import post
from secure_platform.site import ChannelSettings


def send(channel: ChannelSettings, notice: Notice, secret: str) -> None:
    """Post to the incoming webhook; its address ends with the secret."""
    post(channel, f"{channel.url.rstrip('/')}/{secret.lstrip('/')}", canonical.dumps(body(notice)), {})


def body(notice: Notice) -> dict[str, Any]:
    """Blocks, with the plain text for notifications."""
    context = [notice.event, *([f"ticket {notice.ticket}"] if notice.ticket else [])]
    blocks: list[dict[str, Any]] = [
        {"type": "section", "text": {"type": "plain_text", "text": notice.text}},
        {"type": "context", "elements": [{"type": "plain_text", "text": " · ".join(context)}]},
    ]
    buttons = [
        {"type": "button", "text": {"type": "plain_text", "text": name}, "url": url}
        for name, url in notice.links
    ]
    if buttons:
        blocks.append({"type": "actions", "elements": buttons})
    return {"text": notice.text, "blocks": blocks}
