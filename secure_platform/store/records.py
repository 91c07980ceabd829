"""A stored record is believed only under a MAC made for its purpose.

The document is canonical JSON `{"body": …, "mac": …}`; the MAC covers the canonical bytes of the body, and
one purpose's MAC is worth nothing for another.
"""

from collections.abc import Mapping
from typing import Any, Final

from secure_platform import canonical
from secure_platform.errors import IntegrityError
from secure_platform.keys.ring import KeyRing

MAX_BYTES: Final = 16 << 20


def seal(keys: KeyRing, purpose: str, body: Mapping[str, Any]) -> bytes:
    """The document of a record.

    Raises:
        IntegrityError: If the body is too large to be read again, or canonical JSON cannot carry it.
    """
    document = canonical.dumps({"body": body, "mac": keys.mac(purpose, canonical.dumps(body))})
    if len(document) > MAX_BYTES:
        raise IntegrityError(
            f"A {purpose} record has {len(document)} bytes; {MAX_BYTES} are allowed",
            "Keep large detail out of verdicts and provenance.",
        )
    return document


def claims(record: Any, member: str, value: str) -> bool:
    """Whether a record says this of itself; not authenticated, so use it only to choose what to unseal."""
    body = record.get("body") if isinstance(record, dict) else None
    return isinstance(body, dict) and body.get(member) == value


def unseal(keys: KeyRing, purpose: str, document: bytes, *, name: str) -> dict[str, Any]:
    """The body of a record that is ours.

    Args:
        keys: The ring that sealed it.
        purpose: What it must have been sealed for.
        document: Its bytes.
        name: What it is, for the error.

    Raises:
        IntegrityError: If it is malformed or its MAC is not ours.
    """
    record = canonical.loads(document, name=name)
    if not isinstance(record, dict) or record.keys() != {"body", "mac"}:
        raise _foreign(name)
    body, mac = record["body"], record["mac"]
    if not isinstance(body, dict) or not isinstance(mac, str):
        raise _foreign(name)
    if not keys.verify_mac(purpose, canonical.dumps(body), mac):
        raise IntegrityError(
            f"{name} was changed after it was written", "Restore it from a copy, or build it again."
        )
    return body


def _foreign(name: str) -> IntegrityError:
    return IntegrityError(f"{name} is not a sealed record", "Restore it from a copy, or build it again.")
