"""An export is a C2SP tlog-tiles tree: any static file server and any tlog client can check it.

An export into a directory that holds an earlier one extends it, and is refused when the log no longer begins
with what was exported: the directory is a witness. Source: c2sp.org/tlog-tiles.
"""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from secure_platform.audit.tree import HASH_BYTES
from secure_platform.errors import IntegrityError
from secure_platform.files import private_directory, replace_private

TILE_WIDTH: Final = 256
TILE_LEVELS: Final = 8
CHECKPOINT_NAME: Final = "checkpoint"


def tile_name(index: int, width: int) -> str:
    """`x001/x234/067` for tile 1234067; `…067.p/17` when it holds only 17 of 256 hashes."""
    groups = [f"{index % 1000:03d}"]
    while index := index // 1000:
        groups.append(f"x{index % 1000:03d}")
    suffix = "" if width == TILE_WIDTH else f".p/{width}"
    return "/".join(reversed(groups)) + suffix


def write_tiles(connection: sqlite3.Connection, directory: Path, size: int, note: str) -> None:
    """Write all tiles and entry bundles of the first `size` entries, and the checkpoint last.

    Raises:
        IntegrityError: If a tile that was exported before differs.
    """
    for level in range(0, size.bit_length(), TILE_LEVELS):
        query = "SELECT hash FROM node WHERE level = ? AND idx BETWEEN ? AND ? ORDER BY idx"
        for index, start, width in _tiles(size >> level):
            rows = connection.execute(query, (level, start, start + width - 1)).fetchall()
            tile = b"".join(row[0] for row in rows)
            if len(tile) != width * HASH_BYTES:
                raise IntegrityError(f"Tile {level}/{index} lacks hashes", "Verify the audit log.")
            _put(directory / "tile" / str(level // TILE_LEVELS) / tile_name(index, width), tile)
    query = "SELECT body FROM entry WHERE seq BETWEEN ? AND ? ORDER BY seq"
    for index, start, width in _tiles(size):
        rows = connection.execute(query, (start, start + width - 1)).fetchall()
        bundle = b"".join(len(row[0]).to_bytes(2, "big") + row[0] for row in rows)
        _put(directory / "tile" / "entries" / tile_name(index, width), bundle)
    replace_private(directory / CHECKPOINT_NAME, note.encode())


def _tiles(hashes: int) -> Iterator[tuple[int, int, int]]:
    """(tile index, first hash, width) of each tile of a level."""
    for start in range(0, hashes, TILE_WIDTH):
        yield start // TILE_WIDTH, start, min(TILE_WIDTH, hashes - start)


def _put(path: Path, content: bytes) -> None:
    if not path.exists():
        private_directory(path.parent)
        replace_private(path, content)
    elif path.read_bytes() != content:
        raise IntegrityError(
            f"The export already holds another {path.name}: it is of another log, or this log was rewritten",
            "Keep that export as evidence, and export into an empty directory.",
        )
