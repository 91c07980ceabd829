"""Where the records of a CSV text begin and end, by RFC 4180 and nothing looser.

A field is either free of quotes and carriage returns, or it is quoted from its first byte to its last with
inner quotes doubled; fields are parted by commas, unless another byte is named. A record ends at a line feed,
with or without a carriage return before it, outside quotes. The first quote or bare carriage return that
breaks this makes its record *broken*: every physical line from the record's start to the line of the break
counts as one broken record, and reading goes on at the next line. So nothing that a stray quote swallowed
goes uncounted, and nothing inside it is taken for a record.

Everything is computed on the bytes by position; UTF-8 needs no care, because its multi-byte sequences hold no
ASCII.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

LF: Final = 0x0A
CR: Final = 0x0D
QUOTE: Final = 0x22
COMMA: Final = 0x2C

BROKEN: Final = 0
"""`Records.fields` of a broken record; every other record has at least one field."""

RECORD_LIMIT: Final = 16 << 20
"""No honest record has more bytes; a quote that is never closed would make one of the whole rest."""

FIRST_WINDOW: Final = 4096
"""After a break the rest is looked at in windows that double from here, so many breaks cost linear time."""

Offsets = NDArray[np.int64]


def _table(*allowed: int) -> NDArray[np.bool_]:
    table = np.zeros(256, np.bool_)
    table[list(allowed)] = True
    return table


_BEFORE_OPENING: Final = _table(LF, QUOTE)
_BEHIND_CLOSING: Final = _table(LF, CR, QUOTE)


@dataclass(frozen=True)
class Records:
    """Complete records of a buffer, in order and without gaps.

    Attributes:
        start: Offset of each record's first byte.
        stop: Offset behind each record's line terminator.
        fields: Number of fields, or `BROKEN`.
        feeds: Line feeds in the buffer before `stop`.
    """

    start: Offsets
    stop: Offsets
    fields: Offsets
    feeds: Offsets

    @property
    def consumed(self) -> int:
        """Bytes that belong to complete records; what follows is an unfinished record."""
        return int(self.stop[-1]) if self.stop.size else 0


class _Window(NamedTuple):
    """The complete records in one window, numbered from its start."""

    stop: Offsets
    fields: Offsets
    feeds: Offsets
    broken: bool


def split(data: bytes, *, final: bool, delimiter: int = COMMA) -> Records:
    """Find the complete records of a buffer that begins at a record's start.

    Args:
        data: Bytes of the text.
        final: Nothing follows: the end of the buffer ends the last record too. Bytes that even then are not
            consumed belong to a quoted field that is never closed.
        delimiter: The byte between two fields.
    """
    codes = np.frombuffer(data, np.uint8)
    windows: list[_Window] = []
    position, feeds, size = 0, 0, len(data)
    while position < len(data):
        end = min(position + size, len(data))
        window = _split_window(codes[position:end], delimiter, final=final and end == len(data))
        if not window.stop.size:
            if end == len(data):
                break
            size *= 2
            continue
        windows.append(window._replace(stop=window.stop + position, feeds=window.feeds + feeds))
        position, feeds = int(windows[-1].stop[-1]), int(windows[-1].feeds[-1])
        size = FIRST_WINDOW if window.broken else size * 2
    return _join(windows)


def _join(windows: list[_Window]) -> Records:
    if not windows:
        none = np.empty(0, np.int64)
        return Records(none, none, none, none)
    stop, fields, feeds = (
        np.concatenate(parts) for parts in zip(*(window[:3] for window in windows), strict=True)
    )
    start = np.concatenate((np.zeros(1, np.int64), stop[:-1]))
    return Records(start, stop, fields, feeds)


def _split_window(codes: NDArray[np.uint8], delimiter: int, *, final: bool) -> _Window:
    """The good records before the first break, or the broken lines when the window begins with them."""
    quotes = np.flatnonzero(codes == QUOTE)
    feeds = np.flatnonzero(codes == LF)
    broken_at = _first_break(codes, quotes, delimiter)
    limit = codes.size if broken_at is None else broken_at
    stop = _outside(feeds[: np.searchsorted(feeds, limit)], quotes) + 1
    if broken_at is None and final and quotes.size % 2 == 0 and (not stop.size or stop[-1] < codes.size):
        stop = np.append(stop, codes.size)
    if stop.size or broken_at is None:
        fields = _count_fields(codes, quotes, stop, delimiter)
        return _Window(stop, fields, np.searchsorted(feeds, stop), broken=False)
    last = int(np.searchsorted(feeds, broken_at))
    if last < feeds.size:
        stop = feeds[: last + 1] + 1
    elif final:
        stop = np.append(feeds + 1, codes.size)
    if stop.size and stop[-1] > RECORD_LIMIT:
        # One record too long, which the reader refuses however much it was given at a time.
        stop = stop[-1:]
    return _Window(stop, np.full(stop.size, BROKEN, np.int64), np.searchsorted(feeds, stop), broken=True)


def _outside(positions: Offsets, quotes: Offsets) -> Offsets:
    """The positions that have an even number of quotes before them."""
    if not quotes.size:
        return positions
    outside: Offsets = positions[np.searchsorted(quotes, positions) % 2 == 0]
    return outside


def _count_fields(codes: NDArray[np.uint8], quotes: Offsets, stop: Offsets, delimiter: int) -> Offsets:
    between = _outside(np.flatnonzero(codes == delimiter), quotes)
    fields: Offsets = np.diff(np.searchsorted(between, stop), prepend=0) + 1
    return fields


def _first_break(codes: NDArray[np.uint8], quotes: Offsets, delimiter: int) -> int | None:
    """Offset of the first quote or carriage return in a place that RFC 4180 does not allow.

    The window's last byte has no right neighbour: if nothing follows, it is allowed to end there, and if
    something does, its record is not complete and will be looked at again.
    """
    opening, closing = quotes[0::2], quotes[1::2]
    opening = opening[opening > 0]
    closing = closing[closing < codes.size - 1]
    returns = _outside(np.flatnonzero(codes == CR), quotes)
    returns = returns[returns < codes.size - 1]
    before, behind = codes[opening - 1], codes[closing + 1]
    breaks = (
        opening[~(_BEFORE_OPENING[before] | (before == delimiter))],
        closing[~(_BEHIND_CLOSING[behind] | (behind == delimiter))],
        returns[codes[returns + 1] != LF],
    )
    found = [int(places[0]) for places in breaks if places.size]
    return min(found, default=None)
