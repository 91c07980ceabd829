"""A code of an authenticator app counts once, for half a minute around the present (RFC 6238)."""

import base64
import hmac
from datetime import datetime
from typing import Final

import pyotp

ISSUER: Final = "secure_platform"
SECRET_BYTES: Final = 20
_STEP_SECONDS: Final = 30
_NEIGHBOURS: Final = (-1, 0, 1)


def enrolment_uri(secret: bytes, name: str) -> str:
    """What the QR code holds."""
    return _totp(secret).provisioning_uri(name=name, issuer_name=ISSUER)


def readable_secret(secret: bytes) -> str:
    """The secret as people type it into an app that has no camera."""
    text = _base32(secret)
    return " ".join(text[start : start + 4] for start in range(0, len(text), 4))


def step_of(secret: bytes, code: str, *, now: datetime, last: int | None) -> int | None:
    """The time step that this is the code of; None if it is wrong, out of time or was used before.

    Args:
        secret: Shared with the app.
        code: What was typed; spaces do not count.
        now: The present moment, aware.
        last: The step of the code that was used last: this one and all before are used up.
    """
    present = int(now.timestamp()) // _STEP_SECONDS
    typed = "".join(code.split()).encode()
    totp = _totp(secret)
    found = None
    for step in (present + neighbour for neighbour in _NEIGHBOURS):
        if hmac.compare_digest(totp.generate_otp(step).encode(), typed) and step > (last or 0):
            found = step
    return found


def _totp(secret: bytes) -> pyotp.TOTP:
    return pyotp.TOTP(_base32(secret), interval=_STEP_SECONDS)


def _base32(secret: bytes) -> str:
    return base64.b32encode(secret).decode()
