"""A channel is a kind of message and a place; its secret is read from its file when a notice is sent."""

from collections.abc import Callable, Mapping
from typing import Final

from secure_platform.errors import UsageError
from secure_platform.keys.secret_file import read_secret
from secure_platform.notify import mail, pagerduty, servicenow, slack, webhook
from secure_platform.notify.notice import Notice
from secure_platform.site import ChannelSettings, Kind

_SECRET_BYTES: Final = 1024
_SENDERS: Final[Mapping[Kind, Callable[[ChannelSettings, Notice, str], None]]] = {
    "slack": slack.send,
    "webhook": webhook.send,
    "servicenow": servicenow.send,
    "pagerduty": pagerduty.send,
    "email": mail.send,
}


def send(channel: ChannelSettings, notice: Notice) -> None:
    """Deliver a notice now.

    Raises:
        UndeliveredError: If the channel did not take it.
        UsageError: If the channel's settings or secret cannot be used.
    """
    _SENDERS[channel.kind](channel, notice, _secret(channel))


def wants(channel: ChannelSettings, event: str, product: str | None) -> bool:
    """Whether a channel is told about this; what concerns all products concerns each of them."""
    about = not channel.products or product is None or product in channel.products
    return about and (not channel.events or event in channel.events)


def _secret(channel: ChannelSettings) -> str:
    path = channel.secret_file
    if path is None:
        return ""
    try:
        content = read_secret(path, name=f"The secret of channel {channel.name}", limit=_SECRET_BYTES)
    except FileNotFoundError:
        raise UsageError(
            f"{path} does not exist", f"Put the secret of channel {channel.name} there."
        ) from None
    secret = content.decode("ascii", "replace").strip()
    if not secret or not secret.isprintable() or not secret.isascii():
        raise UsageError(f"{path} does not hold one secret", "Put the secret alone into it, as one line.")
    return secret
