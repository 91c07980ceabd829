"""A channel is a kind of message and a place; its secret is resolved when a notice is sent.

A channel that refuses its secret is tried once more, if there is another one by now.
"""

from collections.abc import Callable, Mapping
from typing import Final

from secure_platform.errors import UsageError
from secure_platform.keys.secrets.resolver import Secrets
from secure_platform.keys.secrets.secret import Secret
from secure_platform.notify import mail, pagerduty, servicenow, slack, webhook
from secure_platform.notify.guard import SecretRefusedError
from secure_platform.notify.notice import Notice
from secure_platform.site import ChannelSettings, Kind, Severity

_SENDERS: Final[Mapping[Kind, Callable[[ChannelSettings, Notice, str], None]]] = {
    "slack": slack.send,
    "webhook": webhook.send,
    "servicenow": servicenow.send,
    "pagerduty": pagerduty.send,
    "email": mail.send,
}


def send(channel: ChannelSettings, notice: Notice, secrets: Secrets) -> None:
    """Deliver a notice now.

    Raises:
        UndeliveredError: If the channel did not take it.
        UsageError: If the channel's settings or secret cannot be used.
        ServiceError: If who keeps its secret cannot be reached, or refuses.
    """
    sender = _SENDERS[channel.kind]
    if channel.secret is None:
        sender(channel, notice, "")
        return
    secret = secrets.get(channel.secret)
    try:
        sender(channel, notice, _word(secret))
    except SecretRefusedError:
        newest = secrets.refresh(secret)
        if newest.equals(secret.value):
            raise
        sender(channel, notice, _word(newest))


def wants(channel: ChannelSettings, event: str, product: str | None) -> bool:
    """Whether a channel is told about this; what concerns all products concerns each of them."""
    about = not channel.products or product is None or product in channel.products
    return about and (not channel.events or event in channel.events)


def wants_alert(channel: ChannelSettings, event: str, product: str, severity: Severity, owner: str) -> bool:
    """Whether a channel is told about an incident of this severity, of a product of this owner."""
    grave = not channel.severities or severity in channel.severities
    theirs = not channel.owners or owner in channel.owners
    return grave and theirs and wants(channel, event, product)


def _word(secret: Secret) -> str:
    if not secret.line.isascii():
        raise UsageError(f"{secret.name} is not plain ASCII", "Put there what the service gave you.")
    return secret.line.strip()
