"""For receivers of our webhook: a notice is genuine if its signature is right and its timestamp is of now.

Remember the ids of the last ten minutes: the same id again is the same notice, delivered twice or overheard.
The form is that of Standard Webhooks, so its libraries in other languages verify the same.
"""

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Mapping
from typing import Final

from secure_platform.errors import IntegrityError, UsageError

TOLERANCE_SECONDS: Final = 300
SHORTEST_SECRET: Final = 24
_PREFIX: Final = "whsec_"


def verify(
    secret: str, headers: Mapping[str, str], body: bytes, *, tolerance: float = TOLERANCE_SECONDS
) -> str:
    """Check a delivery and return the notice's id.

    Args:
        secret: `whsec_…`, the channel's secret.
        headers: Of the request; names in any case.
        body: Of the request, byte for byte.
        tolerance: How many seconds the timestamp may be away from now.

    Raises:
        IntegrityError: If it is not signed with this secret, or not of now.
    """
    given = {name.lower(): value for name, value in headers.items()}
    notice_id, timestamp = given.get("webhook-id", ""), given.get("webhook-timestamp", "")
    expected = sign(secret, notice_id, timestamp, body)
    offered = given.get("webhook-signature", "").split()
    if not any(hmac.compare_digest(expected.encode(), one.encode()) for one in offered):
        raise IntegrityError("The notice is not signed with this secret", "Do not trust it.")
    if not timestamp.isdecimal() or abs(time.time() - int(timestamp)) > tolerance:
        raise IntegrityError("The notice was signed too long ago", "Do not trust it; compare the clocks.")
    return notice_id


def sign(secret: str, notice_id: str, timestamp: str, body: bytes) -> str:
    """The signature, `v1,<base64>`.

    Raises:
        UsageError: If the secret is none, or too short.
    """
    key = _key(secret)
    message = b".".join((notice_id.encode(), timestamp.encode(), body))
    return f"v1,{base64.b64encode(hmac.digest(key, message, hashlib.sha256)).decode()}"


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(_PREFIX) or len(key) < SHORTEST_SECRET:
        raise UsageError(
            f"A webhook's secret is {_PREFIX} and the base64 of at least {SHORTEST_SECRET} random bytes",
            "Make one: echo whsec_$(openssl rand -base64 32)",
        )
    return key
