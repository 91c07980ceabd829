"""An e-mail leaves over TLS only; its headers are built from fixed words and checked names."""

import smtplib
import socket
from contextlib import closing
from email.errors import MessageError
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any, Final

from secure_platform.errors import UsageError
from secure_platform.notify.guard import (
    STEP_SECONDS,
    Destination,
    SecretRefusedError,
    UndeliveredError,
    connected,
    destination,
    trust,
)
from secure_platform.notify.notice import Notice
from secure_platform.site import ChannelSettings

PORTS: Final = {"smtps": 465, "smtp": 587}


class _Mail(smtplib.SMTP):
    """Speaks over a connection that was made by the guard."""

    def __init__(self, ready: socket.socket, place: Destination, domain: str) -> None:
        self._ready = ready
        super().__init__(place.host, place.port, local_hostname=domain, timeout=STEP_SECONDS)

    def _get_socket(self, *_: Any) -> socket.socket:
        return self._ready


def send(channel: ChannelSettings, notice: Notice, secret: str) -> None:
    """Hand the message to the mail server, logged in if the channel names a user."""
    place, message, tls = destination(channel.url, PORTS), compose(channel, notice), trust(channel.ca)
    domain = str(channel.sender).rpartition("@")[2]
    implicit = tls if place.scheme == "smtps" else None
    with connected(place, channel.allow, tls=implicit) as ready:
        try:
            with closing(_Mail(ready, place, domain)) as mail:
                if implicit is None:
                    mail.starttls(context=tls)
                if channel.user:
                    mail.login(channel.user, secret)
                mail.send_message(message, channel.sender, channel.recipients)
                mail.quit()
        except smtplib.SMTPException as error:
            code = getattr(error, "smtp_code", "")
            refused = isinstance(error, smtplib.SMTPAuthenticationError)
            kind = SecretRefusedError if refused else UndeliveredError
            raise kind(
                f"{place.host} refused the e-mail: {type(error).__name__} {code}".rstrip(),
                "Check the channel's user, sender and recipients, and that it offers TLS.",
            ) from None


def compose(channel: ChannelSettings, notice: Notice) -> EmailMessage:
    """The message.

    Raises:
        UsageError: If an address of the channel cannot stand in a header.
    """
    message = EmailMessage()
    try:
        message["From"], message["To"] = channel.sender, ", ".join(channel.recipients)
        message["Subject"] = notice.text
        message["Date"] = format_datetime(notice.occurred_at)
        message["Message-ID"] = f"<{notice.notice_id}@{str(channel.sender).rpartition('@')[2]}>"
    except (ValueError, MessageError, IndexError):
        raise UsageError(
            f"The channel {channel.name} has an address that cannot be used", "Correct sender and recipients."
        ) from None
    lines = [notice.text, *([f"Ticket: {notice.ticket}"] if notice.ticket else [])]
    message.set_content("\n".join([*lines, *(url for _, url in notice.links)]) + "\n")
    return message
