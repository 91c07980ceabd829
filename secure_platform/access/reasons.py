"""Why somebody did something is free text and may hold names: it is encrypted in the control database."""

from typing import Final

from secure_platform.canonical import is_unicode
from secure_platform.errors import UsageError
from secure_platform.keys.ring import KeyRing

LONGEST_REASON: Final = 2_000
_PURPOSE: Final = "reason"


def require_reason(text: str) -> str:
    """The text, if it is one.

    Raises:
        UsageError: If there is none, it is too long, or no Unicode.
    """
    if not text.strip() or len(text) > LONGEST_REASON or not is_unicode(text):
        raise UsageError(
            f"A decision needs a reason of 1 to {LONGEST_REASON} characters", "Say why, with --reason."
        )
    return text


def seal_reason(keys: KeyRing, row: str, text: str) -> bytes:
    """The text as it is stored in the row of this id."""
    return keys.seal_secret(_PURPOSE, {"row": row}, text.encode())


def open_reason(keys: KeyRing, row: str, sealed: bytes) -> str:
    """The text that was stored in the row of this id.

    Raises:
        IntegrityError: If it was changed, or belongs to another row.
    """
    return keys.open_secret(_PURPOSE, {"row": row}, sealed).decode()
