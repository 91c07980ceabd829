"""A notice is one JSON POST; of the answer only the status counts, and only 2xx is a delivery."""

import http.client
from collections.abc import Mapping
from typing import Final

from secure_platform.notify.guard import (
    SecretRefusedError,
    UndeliveredError,
    connected,
    destination,
    trust,
)
from secure_platform.site import ChannelSettings

PORTS: Final = {"https": 443, "http": 80}
_OK: Final = range(200, 300)
_REDIRECT: Final = range(300, 400)
# Where the address is the secret, a wrong one is not found, or gone.
_REFUSED: Final = frozenset({401, 403, 404, 410})


def post(channel: ChannelSettings, url: str, body: bytes, headers: Mapping[str, str]) -> None:
    """Send a JSON document; redirects are not followed.

    Args:
        channel: Says what may be reached and whom to trust.
        url: Where to; it may hold a secret, and is not repeated in errors.
        body: The document.
        headers: Further headers.

    Raises:
        UndeliveredError: If it was not accepted.
    """
    place = destination(url, PORTS)
    tls = trust(channel.ca) if place.scheme == "https" else None
    with connected(place, channel.allow, tls=tls) as ready:
        connection = http.client.HTTPConnection(place.host, place.port)
        connection.sock = ready
        sent = {"Content-Type": "application/json", "User-Agent": "secure-platform", "Connection": "close"}
        try:
            connection.request("POST", place.target, body, {**sent, **headers})
            with connection.getresponse() as answer:
                status = answer.status
        except (http.client.HTTPException, ValueError):
            raise UndeliveredError(f"{place.host} did not answer in HTTP", "Look at it.") from None
    if status not in _OK:
        redirected = "; redirects are not followed" if status in _REDIRECT else ""
        kind = SecretRefusedError if status in _REFUSED else UndeliveredError
        raise kind(f"{place.host} answered {status}{redirected}", "Look at it; it is tried again.")
