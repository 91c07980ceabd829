"""The Merkle tree of RFC 6962 §2.1, over hashes of perfect subtrees that are stored once and never change.

A node is addressed by (level, index): level 0 holds the leaves, and node (l, i) covers the entries
`i * 2**l … (i + 1) * 2**l - 1`. Appending costs O(1) amortised, a root or a proof O(log n) reads.
"""

import hashlib
from collections.abc import Callable
from typing import Final

ReadNode = Callable[[int, int], bytes]
NewNode = tuple[int, int, bytes]

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()


def leaf_hash(body: bytes) -> bytes:
    """Hash of an entry; the prefix keeps a leaf from passing as an inner node."""
    return hashlib.sha256(b"\x00" + body).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def grow(size: int, leaf: bytes, read: ReadNode) -> list[NewNode]:
    """The nodes that come into being when `leaf` is appended to a tree of `size` entries."""
    level, index, digest = 0, size, leaf
    created = [(level, index, digest)]
    while index & 1:
        digest = node_hash(read(level, index - 1), digest)
        level, index = level + 1, index >> 1
        created.append((level, index, digest))
    return created


def root(size: int, read: ReadNode) -> bytes:
    """Merkle tree hash of the first `size` entries."""
    return _subtree(0, size, read) if size else EMPTY_ROOT


def inclusion_path(index: int, size: int, read: ReadNode) -> list[bytes]:
    """Audit path of entry `index` in the tree of `size` entries, leaf to root (RFC 6962 §2.1.1)."""
    path = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_subtree(middle, end, read))
            end = middle
        else:
            path.append(_subtree(start, middle, read))
            start = middle
    return path[::-1]


def consistency_path(old: int, new: int, read: ReadNode) -> list[bytes]:
    """Proof that the tree of `new` entries begins with the tree of `old` entries (RFC 6962 §2.1.2)."""
    if old == 0:
        return []
    path = []
    start, end, whole = 0, new, True
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(_subtree(middle, end, read))
            end = middle
        else:
            path.append(_subtree(start, middle, read))
            start, whole = middle, False
    if not whole:
        path.append(_subtree(start, end, read))
    return path[::-1]


def _subtree(start: int, end: int, read: ReadNode) -> bytes:
    width = end - start
    if width & (width - 1) == 0:
        level = width.bit_length() - 1
        return read(level, start >> level)
    middle = start + _split(width)
    return node_hash(_subtree(start, middle, read), _subtree(middle, end, read))


def _split(width: int) -> int:
    """The largest power of two below `width`."""
    return 1 << (width - 1).bit_length() - 1
