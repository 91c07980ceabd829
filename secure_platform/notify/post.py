"""Every outgoing message is one POST; only the status of the answer counts, and only 2xx is a delivery."""

import http.client
from collections.abc import Mapping
from typing import Final

from secure_platform.notify.guard import (
    RejectedError,
    SecretRefusedError,
    UndeliveredError,
    connected,
    destination,
    trust,
)
from secure_platform.site import OutgoingSettings

PORTS: Final = {"https": 443, "http": 80}
_OK: Final = range(200, 300)
_REDIRECT: Final = range(300, 400)
# Where the address is the secret, a wrong one is not found, or gone.
_KINDS: Final[Mapping[int, type[UndeliveredError]]] = {
    **dict.fromkeys((401, 403, 404, 410), SecretRefusedError),
    **dict.fromkeys((400, 413, 415, 422), RejectedError),
}


def post(outgoing: OutgoingSettings, url: str, body: bytes, headers: Mapping[str, str]) -> None:
    """Send a document, JSON unless a header says otherwise; redirects are not followed.

    Args:
        outgoing: Says what may be reached and whom to trust.
        url: Where to; it may hold a secret, and is not repeated in errors.
        body: The document.
        headers: Further headers.

    Raises:
        UndeliveredError: If it was not accepted; RejectedError if the same document never will be.
    """
    place = destination(url, PORTS)
    tls = trust(outgoing.ca) if place.scheme == "https" else None
    with connected(place, outgoing.allow, tls=tls) as ready:
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
        kind = _KINDS.get(status, UndeliveredError)
        raise kind(f"{place.host} answered {status}{redirected}", "Look at it; it is tried again.")
