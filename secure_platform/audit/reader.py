"""Whoever reads an entry gets what was recorded for it: its body is compared with the hash in the tree."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from secure_platform.audit.storage import NAMES_KEYS, NAMES_SEALED_ROWS, Storage
from secure_platform.audit.tree import leaf_hash
from secure_platform.audit.verify import parse_body
from secure_platform.errors import IntegrityError

PAGE: Final = 1_000
_FORWARDS: Final = """SELECT seq, body, hash FROM entry LEFT JOIN node ON level = 0 AND idx = seq
    WHERE seq BETWEEN ? AND ? ORDER BY seq"""
_BACKWARDS: Final = """SELECT seq, body, hash FROM entry LEFT JOIN node ON level = 0 AND idx = seq
    WHERE seq BETWEEN ? AND ? AND instr(body, ?) ORDER BY seq DESC"""
_SEALED, _SEALED_KEYS = (
    f"""SELECT seq, body, hash FROM entry LEFT JOIN node ON level = 0 AND idx = seq
    WHERE {named} AND seq BETWEEN ? AND ? ORDER BY seq LIMIT {PAGE}"""  # noqa: S608 - constants only
    for named in (NAMES_SEALED_ROWS, NAMES_KEYS)
)


@dataclass(frozen=True)
class Entry:
    """One record: its position, RFC 6962 leaf hash and members."""

    seq: int
    leaf: bytes
    body: Mapping[str, Any]


class LogReader:
    """Reads the log; usable from several threads and processes at once, and before anybody can write to it.

    Args:
        path: The log's SQLite file, on a local disk.
    """

    def __init__(self, path: Path) -> None:
        self._storage = Storage(path)

    def size(self) -> int:
        """Number of entries."""
        return self._storage.size()

    def tail(self, count: int) -> list[Entry]:
        """The newest `count` entries, oldest of them first."""
        return list(self.entries(max(0, self.size() - count)))

    def entries(self, start: int = 0, end: int | None = None) -> Iterator[Entry]:
        """Entries `start … end - 1` in order, read page by page.

        Raises:
            IntegrityError: If a body is not the entry of its position, or not what was recorded for it.
        """
        stop = self.size() if end is None else min(end, self.size())
        for first in range(start, stop, PAGE):
            with self._storage.read() as connection:
                rows = connection.execute(_FORWARDS, (first, min(first + PAGE, stop) - 1)).fetchall()
            yield from map(_entry, rows)

    def backwards(self, text: str, start: int = 0, stop: int | None = None) -> Iterator[Entry]:
        """The entries `start … stop - 1` in which this text occurs, newest first, read page by page.

        The text narrows down what is parsed, it decides nothing: the caller compares members.

        Raises:
            IntegrityError: If a body is not the entry of its position, or not what was recorded for it.
        """
        newest = self.size() if stop is None else min(stop, self.size())
        for end in range(newest, start, -PAGE):
            with self._storage.read() as connection:
                span = (max(start, end - PAGE), end - 1, text.encode())
                rows = connection.execute(_BACKWARDS, span).fetchall()
            yield from map(_entry, rows)

    def sealed(self, start: int, end: int) -> Iterator[Entry]:
        """The entries `start … end - 1` that tell of sealed rows, in order; an index finds them.

        Raises:
            IntegrityError: If a body is not the entry of its position, or not what was recorded for it.
        """
        return self._indexed(_SEALED, start, end)

    def sealed_keys(self, start: int, end: int) -> Iterator[Entry]:
        """As `sealed`, but only those of keys."""
        return self._indexed(_SEALED_KEYS, start, end)

    def close(self) -> None:
        """Close the idle connections of this process; the log opens new ones when it is used again."""
        self._storage.close()

    def _indexed(self, query: str, start: int, end: int) -> Iterator[Entry]:
        while start < end:
            with self._storage.read() as connection:
                rows = connection.execute(query, (start, end - 1)).fetchall()
            yield from map(_entry, rows)
            start = rows[-1][0] + 1 if len(rows) == PAGE else end


def _entry(row: tuple[int, bytes, bytes | None]) -> Entry:
    seq, body, recorded = row
    entry = Entry(seq, leaf_hash(body), parse_body(seq, body))
    if entry.leaf != recorded:
        raise IntegrityError(
            f"Audit entry {seq} does not match the hash that was recorded for it",
            "Treat the log as tampered with: compare it with an exported copy.",
        )
    return entry
