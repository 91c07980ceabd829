"""Our webhook is signed as Standard Webhooks has it: HMAC-SHA-256 over id, timestamp and body.

A receiver refuses an old timestamp and an id that it has seen, so what was overheard cannot be sent again;
`notify.verify` does the first for a receiver in Python.
"""

import time

from secure_platform import canonical
from secure_platform.notify.notice import Notice
from secure_platform.notify.post import post
from secure_platform.notify.verify import sign
from secure_platform.site import ChannelSettings


def send(channel: ChannelSettings, notice: Notice, secret: str) -> None:
    """Post the whole notice, signed at the time of this attempt."""
    body = canonical.dumps(notice.to_json())
    timestamp = str(int(time.time()))
    headers = {
        "webhook-id": notice.notice_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": sign(secret, notice.notice_id, timestamp, body),
    }
    post(channel, channel.url, body, headers)
