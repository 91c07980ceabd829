"""How times, numbers and digests read on a page; every time is UTC and says so."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

NOTHING: Final = "\u2013"
_SHOWN: Final = 19
_TONES: Final[Mapping[str, str]] = {
    "approved": "good",
    "deployed": "good",
    "pending": "mark",
    "rejected": "bad",
    "deploy_failed": "bad",
    "rolled_back": "warn",
    "restricted": "bad",
    "confidential": "warn",
    "internal": "mark",
    "public": "good",
    "active": "good",
    "decrypt-only": "mark",
    "disabled": "warn",
    "destroyed": "bad",
    "open": "bad",
    "acknowledged": "mark",
    "resolved": "good",
    "false_alarm": "good",
    "pass": "good",
    "warn": "warn",
    "fail": "bad",
    "learning": "mark",
}


def moment(value: datetime | str | None) -> str:
    """Date and time to the minute; a dash for none."""
    if value is None:
        return NOTHING
    at = datetime.fromisoformat(value) if isinstance(value, str) else value
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def machine(value: datetime | str) -> str:
    """The same for programs, for the attribute `datetime`."""
    return value if isinstance(value, str) else value.astimezone(UTC).isoformat()


def brief(digest: str | None) -> str:
    """The beginning of a digest; a dash for none."""
    if digest is None:
        return NOTHING
    return f"{digest[:_SHOWN]}…" if len(digest) > _SHOWN + 1 else digest


def count(value: float | None) -> str:
    """A number with thin spaces; a dash for none."""
    return NOTHING if value is None else f"{value:,}".replace(",", "\u2009")


def figure(value: float) -> str:
    """A measured number, to six places that matter."""
    return f"{value:.6g}"


def spoken(word: str) -> str:
    """A word of code as people write it."""
    return word.replace("_", " ")


def tone(word: str) -> str:
    """The colour that a state or classification has everywhere; what it says never hangs on it alone."""
    return _TONES.get(word, "")


FILTERS: Final[Mapping[str, Callable[..., Any]]] = {
    "moment": moment,
    "machine": machine,
    "brief": brief,
    "count": count,
    "figure": figure,
    "spoken": spoken,
    "tone": tone,
}
