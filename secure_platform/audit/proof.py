"""Proofs are checked from their bytes alone: pure functions of RFC 6962 §2.1, no access to the log.

An inclusion proof carries its entry, and the leaf is always derived from that entry: a proof that is valid
for another entry proves nothing about this one.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from secure_platform.audit.checkpoint import NoteKey, read_checkpoint
from secure_platform.audit.tree import EMPTY_ROOT, leaf_hash, node_hash
from secure_platform.errors import IntegrityError

FIX: Final = "Ask the log for the proof again, and keep the checkpoint that you trust."


@dataclass(frozen=True)
class InclusionProof:
    """Entry `index` is part of the log whose checkpoint of `size` entries is `checkpoint`.

    Attributes:
        entry: The entry's canonical JSON, exactly as logged.
        hashes: The audit path, leaf to root.
        checkpoint: The signed note the path leads to.
    """

    index: int
    size: int
    entry: str
    hashes: tuple[bytes, ...]
    checkpoint: str

    def to_json(self) -> dict[str, Any]:
        """The proof as plain JSON; hashes in base64."""
        return {
            "index": self.index,
            "size": self.size,
            "entry": self.entry,
            "hashes": [base64.b64encode(h).decode() for h in self.hashes],
            "checkpoint": self.checkpoint,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "InclusionProof":
        """Read what `to_json` wrote.

        Raises:
            IntegrityError: If a member is missing or of the wrong type.
        """
        try:
            proof = cls(
                document["index"],
                document["size"],
                document["entry"],
                tuple(base64.b64decode(h, validate=True) for h in document["hashes"]),
                document["checkpoint"],
            )
        except (KeyError, TypeError, ValueError, binascii.Error):
            raise IntegrityError("The inclusion proof is malformed", FIX) from None
        if not isinstance(document["hashes"], list) or not _has_types(proof):
            raise IntegrityError("The inclusion proof is malformed", FIX)
        return proof

    def verify(self, *, origin: str, key: NoteKey) -> None:
        """Check the checkpoint's signature, then the path from the entry to its root.

        Raises:
            IntegrityError: If either does not hold.
        """
        checkpoint = read_checkpoint(self.checkpoint, origin=origin, key=key)
        if checkpoint.size != self.size:
            raise IntegrityError("The inclusion proof and its checkpoint differ in size", FIX)
        leaf = leaf_hash(self.entry.encode("utf-8", "surrogatepass"))
        verify_inclusion(leaf, self.index, self.size, self.hashes, checkpoint.root)


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Check that `leaf` is entry `index` of the tree of `size` entries with this root (RFC 9162 §2.1.3.2).

    Raises:
        IntegrityError: If it is not.
    """
    position, last, digest = index, size - 1, leaf
    if not 0 <= index < size:
        raise IntegrityError(f"Entry {index} cannot be in a log of {size} entries by this proof", FIX)
    for sibling in path:
        if last == 0:
            raise IntegrityError(f"The path of entry {index} is longer than its log is deep", FIX)
        if position & 1 or position == last:
            digest = node_hash(sibling, digest)
            position, last = _skip_even(position, last)
        else:
            digest = node_hash(digest, sibling)
        position, last = position >> 1, last >> 1
    if last or digest != root:
        raise IntegrityError(f"Entry {index} is not in the log of {size} entries", FIX)


def verify_consistency(old: int, new: int, path: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    """Check that the tree of `new` entries begins with the tree of `old` entries (RFC 9162 §2.1.4.2).

    Raises:
        IntegrityError: If it does not.
    """
    if old in (0, new):
        holds = not path and old_root == (new_root if old else EMPTY_ROOT)
    else:
        holds = 0 < old < new and bool(path) and _fold(old, new, path, old_root) == (old_root, new_root)
    if not holds:
        raise IntegrityError(
            f"The log of {new} entries does not begin with the log of {old} entries that was signed before",
            "Treat the log as rewritten: compare it with an exported copy.",
        )


def _fold(old: int, new: int, path: Sequence[bytes], old_root: bytes) -> tuple[bytes, bytes] | None:
    """Both roots as the path implies them, or None when its length is wrong."""
    position, last = old - 1, new - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    hashes = [old_root, *path] if old & (old - 1) == 0 else list(path)
    before = after = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            return None
        if position & 1 or position == last:
            before, after = node_hash(sibling, before), node_hash(sibling, after)
            position, last = _skip_even(position, last)
        else:
            after = node_hash(after, sibling)
        position, last = position >> 1, last >> 1
    return None if last else (before, after)


def _skip_even(position: int, last: int) -> tuple[int, int]:
    while position and not position & 1:
        position, last = position >> 1, last >> 1
    return position, last


def _has_types(proof: InclusionProof) -> bool:
    numbers = all(type(n) is int for n in (proof.index, proof.size))
    return numbers and isinstance(proof.entry, str) and isinstance(proof.checkpoint, str)
