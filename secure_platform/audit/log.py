"""No effect without its record: an intent is durable in the log before the effect begins, an outcome follows.

The log is an RFC 6962 Merkle tree: an edit, deletion, insertion or reordering changes its root, and signed
checkpoints kept elsewhere show a rewritten or shortened log. Identifiers of people are keyed hashes, and no
entry ever holds a data value or the text of an exception.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, Protocol, TypeAlias, Union

from secure_platform import canonical
from secure_platform.audit.checkpoint import (
    Checkpoint,
    NoteKey,
    read_checkpoint,
    require_note_name,
    signing_key,
)
from secure_platform.audit.proof import InclusionProof
from secure_platform.audit.reader import Entry, LogReader
from secure_platform.audit.storage import log_size, node_reader
from secure_platform.audit.tiles import CHECKPOINT_NAME, write_tiles
from secure_platform.audit.tree import consistency_path, grow, inclusion_path, leaf_hash, root
from secure_platform.audit.verify import VerifyReport, recompute
from secure_platform.errors import IntegrityError, SecurePlatformError, UsageError
from secure_platform.files import private_directory

JSON: TypeAlias = Union[bool, int, float, str, "Sequence[JSON]", "Mapping[str, JSON]", None]
Phase: TypeAlias = Literal["intent", "done", "failed", "event"]
Identify: TypeAlias = Callable[[str], str]

MAX_ENTRY_BYTES: Final = 65_535  # A C2SP entry bundle counts an entry's bytes in 16 bits.
SEALED: Final = "sealed"
"""In a detail: the seals of rows, by their names."""
ACTION: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")


class Signer(Protocol):
    """What signs checkpoints; the key ring implements it."""

    @property
    def name(self) -> str:
        """C2SP key name."""

    @property
    def public_key(self) -> bytes:
        """32-byte Ed25519 public key that signs now."""

    @property
    def readable_keys(self) -> Sequence[bytes]:
        """Public keys whose signatures count, newest first."""

    @property
    def own_keys(self) -> Sequence[bytes]:
        """Public keys of this log, also those whose signatures do not count any more."""

    def sign(self, message: bytes) -> bytes:
        """64-byte Ed25519 signature."""


class AuditLog(LogReader):
    """Append, prove, verify and export; usable from several threads and processes at once.

    Args:
        path: The log's SQLite file, on a local disk.
        origin: The log's identity in its checkpoints, like a URL without its scheme.
        signer: Signs checkpoints.
        identify: Keyed hash of an identifier.
    """

    def __init__(self, path: Path, *, origin: str, signer: Signer, identify: Identify) -> None:
        super().__init__(path)
        require_note_name(origin)
        require_note_name(signer.name)
        self._origin = origin
        self._signer = signer
        self._identify = identify

    @property
    def origin(self) -> str:
        """The log's identity."""
        return self._origin

    def identify(self, identifier: str) -> str:
        """The keyed hash under which an identifier appears in this log."""
        return self._identify(identifier)

    def append(
        self,
        action: str,
        *,
        actor: str,
        subject: str,
        phase: Phase = "event",
        detail: Mapping[str, JSON] = {},
    ) -> Entry:
        """Record something; it is durable on return.

        Args:
            action: Dotted lower case, e.g. `snapshot.write`.
            actor: Who did it, in the clear; only its keyed hash is stored.
            subject: What it was done to; never a person's name or a data value.
            phase: `event` for what has no outcome of its own; `effect` announces and closes the others.
            detail: Plain JSON.

        Raises:
            IntegrityError: If the entry cannot be stored; the caller must not go on.
            StorageError: If that is because the disk is full or failing.
            UsageError: If the action is not dotted lower case.
        """
        return self._append(action, actor, subject, phase, {"detail": dict(detail)})

    @contextmanager
    def effect(
        self, action: str, *, actor: str, subject: str, detail: Mapping[str, JSON] = {}
    ) -> Iterator[dict[str, JSON]]:
        """Record the intent, run the block, record its outcome.

        Yields:
            A dict that the block fills with detail of its success. On an exception only the name of its class
            is recorded, and which sealed rows may have been written (`audit/seals.py`). Should that fail too,
            the intent stays without outcome, as if the process had died.

        Raises:
            IntegrityError: If the intent cannot be stored; then the block never runs.
            StorageError: If that is because the disk is full or failing.
        """
        intent = self._append(action, actor, subject, "intent", {"detail": dict(detail)}).seq
        outcome: dict[str, JSON] = {}
        try:
            yield outcome
        except BaseException as error:
            written = {SEALED: outcome[SEALED]} if SEALED in outcome else {}
            members = {"intent": intent, "detail": {"error": type(error).__name__, **written}}
            try:
                self._append(action, actor, subject, "failed", members)
            except SecurePlatformError:
                error.add_note("The failure could not be recorded in the audit log.")
            raise
        self._append(action, actor, subject, "done", {"intent": intent, "detail": outcome})

    def checkpoint(self) -> str:
        """Sign, store and return a checkpoint of the present state.

        Raises:
            IntegrityError: If the log does not begin with its newest stored checkpoint; a log that was
                rewritten never gets a signature again.
        """
        with self._storage.write() as connection:
            read, size = node_reader(connection), log_size(connection)
            query = "SELECT note FROM checkpoint ORDER BY size DESC LIMIT 1"
            newest = connection.execute(query).fetchone()
            if newest is not None:
                self._require_extends(newest[0], size, lambda earlier: root(earlier, read))
            text = Checkpoint(self._origin, size, root(size, read)).text()
            note = self._note_key().attach(text, self._signer.sign(text.encode()))
            connection.execute("INSERT OR REPLACE INTO checkpoint VALUES (?, ?)", (size, note))
        return note

    def require_contains(self, checkpoints: Sequence[str]) -> None:
        """Refuse a log that is older than what it signed before; the tree is not recomputed.

        Args:
            checkpoints: Signed notes kept elsewhere.

        Raises:
            IntegrityError: If the log does not begin with one of them, or one is not of this log.
        """
        with self._storage.read() as connection:
            size, read = log_size(connection), node_reader(connection)
            for note in checkpoints:
                self._require_extends(note, size, lambda earlier: root(earlier, read))

    def verify(self, checkpoints: Sequence[str] = ()) -> VerifyReport:
        """Recompute everything from the bodies and compare it with nodes, stored and given checkpoints.

        Args:
            checkpoints: Signed notes kept elsewhere.

        Raises:
            IntegrityError: Naming the first problem.
        """
        with self._storage.read() as connection:
            stored = connection.execute("SELECT size, note FROM checkpoint ORDER BY size").fetchall()
            states = [self._read(note) for note in checkpoints]
            for size, note in stored:
                state = self._read_stored(note)
                if state.size != size:
                    raise IntegrityError(
                        f"The checkpoint stored for {size} entries covers {state.size}",
                        "Treat the log as tampered with: compare it with an exported copy.",
                    )
                states.append(state)
            return recompute(connection, states)

    def prove(self, seq: int) -> InclusionProof:
        """Proof that entry `seq` is in the log, against a fresh checkpoint.

        Raises:
            UsageError: If there is no such entry.
        """
        note = self.checkpoint()
        size = self._read(note).size
        if not 0 <= seq < size:
            raise UsageError(f"The audit log has no entry {seq}", f"Name one of 0 to {size - 1}.")
        with self._storage.read() as connection:
            body = connection.execute("SELECT body FROM entry WHERE seq = ?", (seq,)).fetchone()
            hashes = inclusion_path(seq, size, node_reader(connection))
        if body is None:
            raise IntegrityError(f"Audit entry {seq} is missing", "Verify the audit log.")
        proof = InclusionProof(seq, size, body[0].decode(), tuple(hashes), note)
        proof.verify(origin=self._origin, key=self._note_key())
        return proof

    def consistency(self, old: int, new: int) -> list[bytes]:
        """Proof that the first `new` entries begin with the first `old` entries.

        Raises:
            UsageError: If the log has no such sizes.
        """
        with self._storage.read() as connection:
            size = log_size(connection)
            if not 0 <= old <= new <= size:
                raise UsageError(
                    f"There is no consistency proof from {old} to {new} entries", f"The log has {size}."
                )
            return consistency_path(old, new, node_reader(connection))

    def export(self, directory: Path) -> None:
        """Verify the log, then write or extend a C2SP tlog-tiles tree: `checkpoint`, `tile/…`.

        Raises:
            IntegrityError: If the log does not verify, or does not begin with what was exported here before.
        """
        earlier = directory / CHECKPOINT_NAME
        kept = [earlier.read_bytes().decode("utf-8", "replace")] if earlier.exists() else []
        note = self.checkpoint()
        self.verify([*kept, note])
        private_directory(directory)
        with self._storage.read() as connection:
            write_tiles(connection, directory, self._read(note).size, note)

    def _append(
        self, action: str, actor: str, subject: str, phase: Phase, members: Mapping[str, Any]
    ) -> Entry:
        if not ACTION.fullmatch(action):
            raise UsageError(f"{action!r} is not an audit action", "Name it like snapshot.write.")
        fixed = {"action": action, "phase": phase, "actor": self.identify(actor), "subject": subject}
        with self._storage.write() as connection:
            seq = log_size(connection)
            entry = {"seq": seq, "time": _now(), **fixed, **members}
            body = canonical.dumps(entry)
            if len(body) > MAX_ENTRY_BYTES:
                raise IntegrityError(
                    f"An audit entry of {action} has {len(body)} bytes; {MAX_ENTRY_BYTES} are allowed",
                    "Keep large detail in a file and put its digest into the entry.",
                )
            leaf = leaf_hash(body)
            connection.execute("INSERT INTO entry VALUES (?, ?)", (seq, body))
            nodes = grow(seq, leaf, node_reader(connection))
            connection.executemany("INSERT INTO node VALUES (?, ?, ?)", nodes)
        return Entry(seq, leaf, entry)

    def _read(self, note: str) -> Checkpoint:
        return self._read_under(note, self._signer.readable_keys)

    def _read_stored(self, note: str) -> Checkpoint:
        """One of the log's own: it is only compared with the log, so a key that is disabled does no harm."""
        return self._read_under(note, self._signer.own_keys)

    def _read_under(self, note: str, public_keys: Sequence[bytes]) -> Checkpoint:
        keys = [NoteKey(self._signer.name, public_key) for public_key in public_keys]
        return read_checkpoint(note, origin=self._origin, key=signing_key(note, keys))

    def _note_key(self) -> NoteKey:
        return NoteKey(self._signer.name, self._signer.public_key)

    def _require_extends(self, note: str, size: int, root_at: Callable[[int], bytes]) -> None:
        earlier = self._read_stored(note)
        if earlier.size > size or root_at(earlier.size) != earlier.root:
            raise IntegrityError(
                f"The audit log no longer begins with the {earlier.size} entries it signed before",
                "Treat the log as tampered with: compare it with an exported copy.",
            )


class LateLog(LogReader):
    """The log for those whose keys it is signed with: they read it first, and write once it can be opened.

    Args:
        path: The log's SQLite file.
        open_log: Opens the log.
    """

    def __init__(self, path: Path, open_log: Callable[[], AuditLog]) -> None:
        super().__init__(path)
        self._open_log = open_log

    def effect(
        self, action: str, *, actor: str, subject: str, detail: Mapping[str, JSON] = {}
    ) -> AbstractContextManager[dict[str, JSON]]:
        """As `AuditLog.effect`."""
        return self._open_log().effect(action, actor=actor, subject=subject, detail=detail)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
