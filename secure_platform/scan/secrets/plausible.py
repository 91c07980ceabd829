"""Whether a value beside a telling name is plausibly a secret, where no list of placeholders can decide."""

from itertools import pairwise
from typing import Final

_SHORTEST: Final = 4
_FEWEST: Final = 3
_RUN_SHARE: Final = 0.75


def doubt(secret: bytes, before: bytes, after: bytes) -> str:
    """Why the value is probably none; empty if nothing speaks against it.

    Args:
        secret: The value.
        before: The match up to it, with the name.
        after: The bytes behind it.
    """
    lowered = secret.lower()
    if len(secret) < _SHORTEST or len(set(lowered)) < _FEWEST:
        return "too little variety"
    if _runs(lowered) >= _RUN_SHARE:
        return "a sequence"
    name = before.lower()
    if lowered.isalpha() and lowered in name:
        return "the name again"
    if after[:1] == b"(" and before[-1:] not in {b'"', b"'", b"`"}:
        return "a call"
    if not any(byte > ord(" ") for byte in secret):
        return "blank"
    return ""


def _runs(text: bytes) -> float:
    """The share of bytes that follow, precede or repeat the one before them."""
    steps = pairwise(text)
    return sum(-1 <= after - before <= 1 for before, after in steps) / max(1, len(text) - 1)
