"""Production of one product is a folder: database files, the pointer to the one that counts, and its history.

    warehouse/<product>/CURRENT                         the sealed pointer, replaced atomically
    warehouse/<product>/history/<sequence>.json         every pointer, written before it becomes CURRENT
    warehouse/<product>/<number>-<digest>.duckdb        encrypted, never changed once pointed to

A pointer proves that we made it, not that it is the newest. The audit log, which lies elsewhere and only
grows, tells: a change that it records after the pointer's own means that an old pointer was put back, and a
log without the entry that the pointer names means that the log was. Whoever puts back both, log and
warehouse, is found only by a checkpoint kept elsewhere.
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from secure_platform.audit.log import AuditLog
from secure_platform.control.locks import file_lock
from secure_platform.deploy.pointer import MAX_BYTES, Pointer, seal, signer_of, unseal
from secure_platform.errors import IntegrityError, UsageError
from secure_platform.files import private_directory, replace_private
from secure_platform.keys.ring import KeyRing
from secure_platform.store.location import NAME, list_directory, open_file

PUBLISH: Final = "deploy.publish"
ROLLBACK: Final = "deploy.rollback"
SETTLE: Final = "deploy.settle"
RESIGN: Final = "deploy.resign"
CHANGES: Final = frozenset({PUBLISH, ROLLBACK, SETTLE})
CURRENT: Final = "CURRENT"
HISTORY: Final = "history"
LOCK: Final = ".lock"
_RECORD: Final = re.compile(r"([0-9]{9})\.json")
_DATABASE: Final = re.compile(r"[0-9]{1,9}-[0-9a-f]{12}\.duckdb(\.wal)?")
_UNFINISHED: Final = re.compile(r"\.(CURRENT|[0-9]{9}\.json)\.[0-9a-f]{16}")


class Shelf:
    """The production folder of one product.

    Args:
        warehouse: Holds one folder per product.
        product: Its name.
        keys: Seal and open pointers.
        audit: Records every change of production.

    Raises:
        UsageError: If the name cannot be a product's.
    """

    def __init__(self, warehouse: Path, product: str, keys: KeyRing, audit: AuditLog) -> None:
        if not NAME.fullmatch(product):
            raise UsageError(f"{product[:80]!r} cannot name a product", "Name one of the project's products.")
        self.folder = warehouse / product
        self._warehouse = warehouse
        self._product = product
        self._keys = keys
        self._audit = audit

    def lock(self) -> AbstractContextManager[None]:
        """Only one process at a time changes production."""
        private_directory(self.folder)
        return file_lock(self.folder / LOCK, holder=f"production of {self._product}")

    def current(self) -> Pointer | None:
        """What is in production, or None before the first publication.

        Raises:
            IntegrityError: If the pointer is not ours, or not the newest that the audit log knows.
        """
        # What the log holds now was done before the pointer is read, so it cannot be newer than the pointer.
        end = self._audit.size()
        document = self._read(CURRENT)
        pointer = None if document is None else unseal(document, self._keys, self._product)
        self._require_newest(pointer, end)
        return pointer

    def is_recorded(self, pointer: Pointer) -> bool:
        """Whether the log has the outcome of the change that made this pointer current."""
        return pointer.state in self._done(pointer.audit_seq, self._audit.size())

    def records(self) -> Iterator[Pointer]:
        """Every pointer that was prepared, newest first; the newest may not have become current.

        Raises:
            IntegrityError: If one of them is not ours.
        """
        names = [
            name
            for name in list_directory(self._warehouse, [self._product, HISTORY])
            if _RECORD.fullmatch(name)
        ]
        return (self._record(name) for name in reversed(names))

    def find(self, release: str, file: str) -> Pointer | None:
        """A record of this release whose database, under this name, is still what it was."""
        if not (self.folder / file).exists():
            return None
        candidates = (r for r in self.records() if (r.release, r.file) == (release, file))
        return next((record for record in candidates if self.intact(record)), None)

    def switch(self, pointer: Pointer) -> None:
        """Make this pointer current: its record first, then `CURRENT` by one atomic replacement."""
        document = seal(pointer, self._keys)
        private_directory(self.folder / HISTORY)
        replace_private(self.folder / HISTORY / f"{pointer.sequence:09}.json", document)
        replace_private(self.folder / CURRENT, document)

    def resign(self, leaked: str) -> int:
        """Seal every pointer that a key signed which is not believed any more under the present ones.

        Besides its signature, the MAC, which another key makes, and the log speak for a pointer. One that
        never became current is removed. Hold the lock.

        Returns:
            How many were sealed again.

        Raises:
            IntegrityError: If one is not ours, or the log does not know it.
        """
        current = self.current()
        if current is None:
            return 0
        done, count = set(self._done(0, self._audit.size())), 0
        for record in list(self.records()):
            name = f"{record.sequence:09}.json"
            if record.sequence > current.sequence:
                (self.folder / HISTORY / name).unlink()
            elif record.state not in done:
                raise IntegrityError(
                    f"The audit log does not know state {record.sequence} of production of {self._product}",
                    "Restore its warehouse folder, and find out who changed it.",
                )
            else:
                count += self._seal_again(record, leaked, HISTORY, name)
        return count + self._seal_again(current, leaked, CURRENT)

    def database(self, pointer: Pointer) -> Path:
        """The pointer's database file, whose digest was checked.

        Raises:
            IntegrityError: If it is missing, changed, or has a write-ahead log, which DuckDB would replay.
        """
        path = self.folder / pointer.file
        problem = self._problem(pointer)
        if problem is not None:
            raise IntegrityError(
                f"The database {pointer.file} in production of {self._product} {problem}",
                "Restore it from a copy, or publish its release again, which builds it anew.",
            )
        return path

    def intact(self, pointer: Pointer) -> bool:
        """Whether the pointer's database file is what it was."""
        return self._problem(pointer) is None

    def forget(self, release: str) -> list[str]:
        """Remove the databases of a release that is not current; returns their names. Hold the lock."""
        current = self.current()
        if current is not None and current.release == release:
            return []
        names = sorted({record.file for record in self.records() if record.release == release})
        gone = [name for name in names if (self.folder / name).exists()]
        for name in gone:
            (self.folder / name).unlink()
        return gone

    def tidy(self, keep: int, *, files: set[str], releases: set[str]) -> None:
        """Remove what killed processes left, and databases that are neither recent nor needed.

        Args:
            keep: How many of the newest databases remain.
            files: Databases that remain in any case.
            releases: Releases whose databases remain in any case; all of them are on record.
        """
        kept = files | self._kept(keep, set(releases))
        for path in self.folder.iterdir():
            obsolete = _DATABASE.fullmatch(path.name) and path.name not in kept
            if obsolete or _UNFINISHED.fullmatch(path.name):
                path.unlink()
        for path in (self.folder / HISTORY).glob(".*"):
            if _UNFINISHED.fullmatch(path.name):
                path.unlink()

    def _kept(self, keep: int, awaited: set[str]) -> set[str]:
        kept: set[str] = set()
        for record in self.records():
            if len(kept) < keep or record.release in awaited:
                kept.add(record.file)
            awaited.discard(record.release)
            if len(kept) >= keep and not awaited:
                break
        return kept

    def _seal_again(self, pointer: Pointer, leaked: str, *parts: str) -> bool:
        if signer_of(self._read(*parts) or b"") != leaked:
            return False
        replace_private(self.folder.joinpath(*parts), seal(pointer, self._keys))
        return True

    def _problem(self, pointer: Pointer) -> str | None:
        wal = self.folder / f"{pointer.file}.wal"
        if wal.is_symlink() or wal.exists():
            return "has a write-ahead log that we did not leave there"
        try:
            file = open_file(self._warehouse, [self._product, pointer.file])
        except FileNotFoundError:
            return "is missing"
        with file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        return None if f"sha256:{found}" == pointer.file_digest else "was changed"

    def _require_newest(self, pointer: Pointer | None, end: int) -> None:
        since, state = (pointer.audit_seq, pointer.state) if pointer else (0, (0, ""))
        if pointer is not None:
            begun = next(self._audit.entries(since, since + 1), None)
            if begun is None or begun.leaf.hex() != pointer.audit_leaf:
                raise IntegrityError(
                    f"The audit log is not the one that recorded the last change of {self._product}",
                    "Verify the audit log against a checkpoint that was kept elsewhere.",
                )
        # A pointer that was prepared but never published has the sequence of the one published instead of it.
        if any(
            done[0] > state[0] or (done[0] == state[0] and done != state) for done in self._done(since, end)
        ):
            raise IntegrityError(
                f"Production of {self._product} is not in the state that the audit log records last",
                "Restore its warehouse folder, and find out who changed it.",
            )

    def _done(self, since: int, end: int) -> Iterator[tuple[int, str]]:
        """Sequence and database digest of the changes of this product that the log records as done."""
        for entry in self._audit.entries(since, end):
            body = entry.body
            if (body["subject"], body["phase"]) == (self._product, "done") and body["action"] in CHANGES:
                yield body["detail"]["sequence"], body["detail"]["file_digest"]

    def _record(self, name: str) -> Pointer:
        pointer = unseal(self._read(HISTORY, name) or b"", self._keys, self._product)
        if name != f"{pointer.sequence:09}.json":
            raise IntegrityError(
                f"A record in the production history of {self._product} is in another's place",
                "Restore its warehouse folder, and find out who changed it.",
            )
        return pointer

    def _read(self, *parts: str) -> bytes | None:
        try:
            file = open_file(self._warehouse, [self._product, *parts])
        except FileNotFoundError:
            return None
        with file:
            return file.read(MAX_BYTES + 1)
