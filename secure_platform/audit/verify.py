"""Verification trusts nothing that is stored: every hash is derived from the entries' bodies again.

Entries, all nodes (they are only a cache, and one that no proof happens to use could hide a change), stored
and kept checkpoints must agree. Entries after the newest checkpoint that somebody else keeps are only
protected against those who cannot rewrite the whole file.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from secure_platform import canonical
from secure_platform.audit.checkpoint import Checkpoint
from secure_platform.audit.tree import EMPTY_ROOT, grow, leaf_hash, node_hash
from secure_platform.errors import IntegrityError

FIX: Final = "Treat the log as tampered with: compare it with an exported copy or a kept checkpoint."
MEMBERS: Final = {"time": str, "action": str, "actor": str, "subject": str, "detail": dict}
PHASES: Final = ("intent", "done", "failed", "event")
OUTCOMES: Final = ("done", "failed")


@dataclass(frozen=True)
class VerifyReport:
    """What was found to hold.

    Attributes:
        size: Entries in the log.
        root: Merkle tree hash of all of them.
        checkpoints: Sizes of the checkpoints, stored and given, that the log agrees with.
        unfinished: Entries that announce an effect whose outcome was never recorded: the process died in it.
    """

    size: int
    root: bytes
    checkpoints: tuple[int, ...]
    unfinished: tuple[int, ...]


def parse_body(seq: int, body: bytes) -> Mapping[str, Any]:
    """The entry's members.

    Raises:
        IntegrityError: If the body is not an entry with this sequence number.
    """
    members = canonical.loads(body, name=f"Audit entry {seq}")
    valid = (
        isinstance(members, dict)
        and type(members.get("seq")) is int
        and members["seq"] == seq
        and members.get("phase") in PHASES
        and all(isinstance(members.get(name), kind) for name, kind in MEMBERS.items())
        and ("intent" not in members or (members["phase"] in OUTCOMES and type(members["intent"]) is int))
    )
    if not valid:
        raise IntegrityError(f"Audit entry {seq} does not have the members of an entry", FIX)
    return dict(members)


def recompute(connection: sqlite3.Connection, checkpoints: Sequence[Checkpoint]) -> VerifyReport:
    """Derive the tree from the bodies and compare everything with it, in one pass and constant memory.

    Args:
        connection: In a read transaction, so that appending meanwhile does not disturb.
        checkpoints: Already verified signatures; their roots are compared here.

    Raises:
        IntegrityError: Naming the first problem.
    """
    nodes, frontier, effects = _Nodes(connection), _Frontier(), _Effects()
    due = _by_size(checkpoints)
    frontier.compare(due.pop(0, []))
    for expected, (seq, body) in enumerate(_rows(connection)):
        if seq != expected:
            raise IntegrityError(f"Audit entry {expected} is missing or out of order", FIX)
        for level, index, digest in frontier.append(leaf_hash(body)):
            nodes.compare(level, index, digest)
        effects.observe(seq, parse_body(seq, body))
        frontier.compare(due.pop(frontier.size, []))
    nodes.finish(frontier.size)
    if due:
        raise IntegrityError(
            f"The log has {frontier.size} entries but a checkpoint covers {max(due)}:"
            " entries were cut off its end, or an older copy was put back",
            FIX,
        )
    sizes = tuple(sorted({c.size for c in checkpoints}))
    return VerifyReport(frontier.size, frontier.root(), sizes, tuple(effects.open))


class _Frontier:
    """The right edge of the growing tree: the last perfect subtree of each level."""

    def __init__(self) -> None:
        self.size = 0
        self._edge: dict[int, bytes] = {}

    def append(self, leaf: bytes) -> list[tuple[int, int, bytes]]:
        created = grow(self.size, leaf, lambda level, _: self._edge[level])
        level, _, digest = created[-1]
        self._edge[level] = digest
        self.size += 1
        return created

    def root(self) -> bytes:
        levels = [level for level in range(self.size.bit_length()) if self.size >> level & 1]
        if not levels:
            return EMPTY_ROOT
        digest = self._edge[levels[0]]
        for level in levels[1:]:
            digest = node_hash(self._edge[level], digest)
        return digest

    def compare(self, checkpoints: Sequence[Checkpoint]) -> None:
        for checkpoint in checkpoints:
            if checkpoint.root != self.root():
                raise IntegrityError(
                    f"The first {checkpoint.size} audit entries are not those of the signed checkpoint", FIX
                )


class _Nodes:
    """The stored nodes, read level by level in step with the recomputation."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._levels: dict[int, sqlite3.Cursor] = {}

    def compare(self, level: int, index: int, digest: bytes) -> None:
        if level not in self._levels:
            query = "SELECT idx, hash FROM node WHERE level = ? ORDER BY idx"
            self._levels[level] = self._connection.execute(query, (level,))
        if self._levels[level].fetchone() != (index, digest):
            what = f"Audit entry {index}" if level == 0 else f"Node {level}/{index} of the audit log"
            raise IntegrityError(f"{what} does not match the hash that was recorded for it", FIX)

    def finish(self, size: int) -> None:
        expected = sum(size >> level for level in range(size.bit_length()))
        stored = self._connection.execute("SELECT count(*) FROM node").fetchone()[0]
        if stored != expected:
            raise IntegrityError(
                f"The audit log stores {stored} hashes where {size} entries have {expected}:"
                " entries were cut off its end, or hashes added",
                FIX,
            )


class _Effects:
    """An outcome that names an announced effect closes it, once, for the same action and subject."""

    def __init__(self) -> None:
        self.open: dict[int, tuple[str, str]] = {}

    def observe(self, seq: int, members: Mapping[str, Any]) -> None:
        what = (members["action"], members["subject"])
        if members["phase"] == "intent":
            self.open[seq] = what
        elif "intent" in members and self.open.pop(members["intent"], None) != what:
            raise IntegrityError(f"Audit entry {seq} is an outcome without its announcement", FIX)


def _rows(connection: sqlite3.Connection) -> Iterator[tuple[int, bytes]]:
    for seq, body in connection.execute("SELECT seq, body FROM entry ORDER BY seq"):
        if not isinstance(body, bytes):
            raise IntegrityError(f"Audit entry {seq} is not stored as bytes", FIX)
        yield seq, body


def _by_size(checkpoints: Sequence[Checkpoint]) -> dict[int, list[Checkpoint]]:
    grouped: dict[int, list[Checkpoint]] = {}
    for checkpoint in checkpoints:
        grouped.setdefault(checkpoint.size, []).append(checkpoint)
    return grouped
