"""A secret is named by `secret://PROVIDER/PATH[#FIELD]`, and the name can only mean what it says.

No part of a path leads out of where the provider looks: no `.` or `..`, no empty part, nothing that a server
or a shell would decode (`%`, `?`, a backslash, a control character). Only a file may be named by an absolute
path, `secret://file//run/secrets/x`; a relative one is relative to the settings file that names it.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from secure_platform.errors import UsageError

SCHEME: Final = "secret://"
FILE: Final = "file"
ENVIRONMENT: Final = "env"
OPENING: Final = frozenset({FILE, ENVIRONMENT})
"""The providers that need nothing else to be opened first."""
_LONGEST: Final = 1024
_FIX: Final = "Write secret://PROVIDER/PATH or secret://PROVIDER/PATH#FIELD; see docs/secrets.md."
_PROVIDER: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")
_REFUSED: Final = re.compile(r"[%?\\#]")


@dataclass(frozen=True)
class SecretReference:
    """Where a secret is; it says nothing of what it is, and may be shown.

    Attributes:
        provider: Who keeps it.
        path: Where it is there.
        field: Which part of a secret that is a JSON object; None for the whole.
    """

    provider: str
    path: str
    field: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a reference.

        Raises:
            UsageError: If it is none; what was given is not repeated, for it may be the secret itself.
        """
        provider, slash, rest = text.removeprefix(SCHEME).partition("/")
        path, mark, field = rest.partition("#")
        if not text.startswith(SCHEME) or len(text) > _LONGEST or not slash or (mark and not field):
            raise UsageError("This is no reference to a secret", _FIX)
        reference = cls(provider, path, field or None)
        if not _PROVIDER.fullmatch(provider) or not reference.is_plain:
            raise UsageError("This reference to a secret cannot be used", _FIX)
        return reference

    @property
    def is_plain(self) -> bool:
        """Whether every part is what it seems."""
        parts = self.path.split("/")
        if self.provider == FILE and self.path.startswith("/"):
            parts = parts[1:]
        said = f"{self.path}{self.field or ''}"
        return (
            said.isprintable()
            and not _REFUSED.search(said)
            and not any(part in {"", ".", ".."} or part != part.strip() for part in parts)
        )

    def below(self, folder: Path) -> "SecretReference":
        """With a relative file made absolute; any other as it is."""
        if self.provider != FILE or self.path.startswith("/"):
            return self
        return SecretReference(self.provider, str(folder.absolute() / self.path), self.field)

    def __str__(self) -> str:
        field = "" if self.field is None else f"#{self.field}"
        return f"{SCHEME}{self.provider}/{self.path}{field}"
