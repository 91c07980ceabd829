"""A secret is bytes that are not shown: not by `repr`, not by an error, not through pickle."""

import hmac
import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from secure_platform.errors import UsageError
from secure_platform.keys.material import NotPickled

LARGEST: Final = 64 * 1024
"""Bytes of the largest secret, as of AWS Secrets Manager."""


def _is_unicode(text: str) -> bool:
    """Whether it has no half of a character, which JSON can hold and UTF-8 cannot."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


@dataclass(frozen=True, eq=False)
class Secret(NotPickled):
    """What a reference stands for.

    Attributes:
        value: The bytes; use them, never store them.
        name: The reference, for errors.
        version: Which version it is, where its provider counts them.
        changed_at: Since when it is the one that counts, where its provider knows.
    """

    value: bytes = field(repr=False)
    name: str
    version: str | None = None
    changed_at: datetime | None = None

    def __post_init__(self) -> None:
        if not self.value:
            raise UsageError(f"{self.name} is empty", "Put the secret there.")
        if len(self.value) > LARGEST:
            raise UsageError(f"{self.name} is larger than {LARGEST} bytes", "Keep a secret there, not data.")

    def equals(self, shown: bytes) -> bool:
        """Whether these are the same bytes; how long it takes does not tell where they differ."""
        return hmac.compare_digest(self.value, shown)

    @property
    def text(self) -> str:
        """The secret as text (UTF-8), every character of it.

        Raises:
            UsageError: If it is none.
        """
        try:
            return self.value.decode()
        except UnicodeDecodeError:
            raise UsageError(f"{self.name} is not text", "Put text there, in UTF-8.") from None

    @property
    def line(self) -> str:
        """A password, token or key as people keep it: one line, without the line's end.

        Raises:
            UsageError: If it holds anything else; where it would be used it would end a header or a string.
        """
        line = self.text.removesuffix("\n").removesuffix("\r")
        if not line.strip() or not line.isprintable():
            raise UsageError(f"{self.name} does not hold one secret", "Put it alone there, as one line.")
        return line

    def part(self, name: str, of: str) -> "Secret":
        """One text of a secret that is a JSON object.

        Args:
            name: Of the new secret.
            of: Which field.

        Raises:
            UsageError: If it is no object, or has no such text.
        """
        try:
            document = json.loads(self.value)
        except (ValueError, RecursionError):
            document = None
        value = document.get(of) if isinstance(document, dict) else None
        if not isinstance(value, str) or not _is_unicode(value):
            raise UsageError(
                f"{name} names a field that is not there, or not text", "Correct the field after the #."
            )
        return Secret(value.encode(), name, self.version, self.changed_at)
