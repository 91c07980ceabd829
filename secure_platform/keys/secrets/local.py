"""Secrets of this home: one encrypted file each, which counts while the log says that it is the newest.

A file opens under its own name only. What was put back from a copy, exchanged with another, made up or
deleted is refused, for every change was announced in the audit log with the digest of the new file. A secret
that was removed leaves an empty one: an older file cannot take its place.
"""

import json
import re
import secrets
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

from secure_platform.audit.log import SEALED, AuditLog
from secure_platform.audit.seals import SealWitness
from secure_platform.control.database import utc_now
from secure_platform.control.locks import file_lock
from secure_platform.errors import IntegrityError, UsageError
from secure_platform.files import private_directory, replace_private
from secure_platform.keys.material import SEALED_VERSION, NotPickled
from secure_platform.keys.ring import KeyRing
from secure_platform.keys.secret_file import read_secret
from secure_platform.keys.secrets.provider import SecretsProvider
from secure_platform.keys.secrets.secret import LARGEST, Secret

RANDOM_BYTES: Final = 32
_TABLE: Final = "secret"
_PURPOSE: Final = "local-secret"
_SUFFIX: Final = ".sealed"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}(\.[a-z0-9_-]{1,63})*")
_LONGEST_NAME: Final = 128
_CHANGED_AT: Final = struct.Struct(">d")
_LARGEST_FILE: Final = LARGEST + 4096


class LocalSecrets(SecretsProvider, NotPickled):
    """The secrets of one home; usable from several threads and processes at once.

    Args:
        directory: Holds the files.
        keys: Encrypts them.
        audit: Witness of which file is the newest.
        clock: The present moment, aware.
    """

    def __init__(
        self, directory: Path, keys: KeyRing, audit: AuditLog, *, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._directory = directory
        self._keys = keys
        self._audit = audit
        self._witness = SealWitness(audit, audit.sealed)
        self._clock = clock

    def read(self, path: str) -> Secret:
        """The secret of this name.

        Raises:
            UsageError: If there is none.
            IntegrityError: If its file is not the one that was written last.
        """
        found = self._opened(path)
        if found is None:
            raise UsageError(f"{_name(path)} does not exist", f"Set it: secure-platform secret set {path}")
        return found

    def names(self) -> list[str]:
        """The names of all secrets, each of them readable.

        Raises:
            IntegrityError: If one is not the one that was written last, or is missing.
        """
        there = {file.name.removesuffix(_SUFFIX) for file in self._directory.glob(f"*{_SUFFIX}")}
        known = {name.partition(":")[2] for name in self._witness.known(_TABLE)}
        return sorted(name for name in there | known if self._opened(name) is not None)

    def sealed_with(self, version: int) -> int:
        """How many files name this version of the data key; nothing in them is believed.

        Raises:
            UsageError: If one is not a regular, private file of ours.
        """
        head = SEALED_VERSION.pack(version)
        return sum(_begins(file, head) for file in self._directory.glob(f"*{_SUFFIX}"))

    def set(self, name: str, value: bytes, *, actor: str) -> None:
        """Keep a secret under this name, in place of the former one.

        Raises:
            UsageError: If it is empty, too large, or the name cannot be used.
        """
        self._write("secret.set", Secret(value, _name(name)).value, name, actor)

    def remove(self, name: str, *, actor: str) -> None:
        """Forget a secret.

        Raises:
            UsageError: If there is none.
            IntegrityError: If its file is not the one that was written last.
        """
        self.read(name)
        self._write("secret.remove", b"", name, actor)

    def rotate(self, path: str, field: str | None, *, actor: str) -> None:
        """Put 256 random bits in place of the secret, or of one field of it.

        Raises:
            UsageError: If there is none, or no such field.
            IntegrityError: If its file is not the one that was written last.
        """
        value = secrets.token_urlsafe(RANDOM_BYTES)
        former = self.read(path)
        if field is not None:
            former.part(f"{_name(path)}#{field}", field)
            value = json.dumps({**json.loads(former.value), field: value})
        self._write("secret.set", value.encode(), path, actor)

    def _write(self, action: str, value: bytes, name: str, actor: str) -> None:
        file = self._file(name)
        content = _CHANGED_AT.pack(self._clock().timestamp()) + value
        sealed = self._keys.seal_secret(_PURPOSE, {"name": name}, content)
        # The digest of what is sealed under a random nonce says nothing of what is in it.
        row = {_row(name): sha256(sealed).hexdigest()}
        with (
            file_lock(private_directory(self._directory) / ".lock", holder="the secrets of this home"),
            self._audit.effect(action, actor=actor, subject=_name(name), detail={SEALED: row}) as outcome,
        ):
            outcome[SEALED] = row
            replace_private(file, sealed)

    def _opened(self, name: str) -> Secret | None:
        """The secret; None if there never was one, or it was removed."""
        file, since = self._file(name), self._witness.seen()
        try:
            sealed = read_secret(file, name="The secret", limit=_LARGEST_FILE)
        except FileNotFoundError:
            if self._witness.was_known(_row(name), since):
                raise _tampered(name) from None
            return None
        if not self._witness.counts(_row(name), sha256(sealed).hexdigest(), since):
            raise _tampered(name)
        content = self._keys.open_secret(_PURPOSE, {"name": name}, sealed)
        value = content[_CHANGED_AT.size :]
        if not value:
            return None
        changed_at = datetime.fromtimestamp(_CHANGED_AT.unpack_from(content)[0], UTC)
        return Secret(value, _name(name), changed_at=changed_at)

    def _file(self, name: str) -> Path:
        if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
            raise UsageError(
                "A secret of this home has a short name of a-z, 0-9, '-', '_' and '.'", "Choose such a name."
            )
        return self._directory / f"{name}{_SUFFIX}"


def _name(name: str) -> str:
    return f"secret://local/{name}"


def _row(name: str) -> str:
    return f"{_TABLE}:{name}"


def _tampered(name: str) -> IntegrityError:
    return IntegrityError(
        f"{_name(name)} is not the one that was written last",
        "Set it anew, with another value; look who can write to the home.",
    )


def _begins(file: Path, head: bytes) -> bool:
    return read_secret(file, name="The secret", limit=len(head)) == head
