"""A mask hides characters and keeps separators: a value's length and format stay visible.

A value is hidden completely unless the mask hides more of it than it shows, or at least six characters: the
middle of a card number, of which PCI DSS lets the first six and last four digits be shown. Separators hide
nothing, so they are not counted.
"""

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from secure_platform.protect.cells import Cells
from secure_platform.protect.inputs import Inputs

Flags = NDArray[np.bool_]
_ENOUGH: Final = 6
_STAR: Final = np.uint8(ord("*"))
_SEPARATOR: Final = np.zeros(256, np.bool_)
_SEPARATOR[list(b" .:/()-")] = True
_CONTINUES: Final = np.zeros(256, np.bool_)
"""Bytes of UTF-8 that do not begin a character."""
_CONTINUES[0x80:0xC0] = True


def masked(column: pl.Expr, inputs: Inputs) -> pl.Expr:
    """All characters but the separators, the first and the last ones."""
    first, last = inputs.number("keep_first") or 0, inputs.number("keep_last") or 0
    return column.map_batches(
        lambda texts: _masked(Cells.of(texts), first, last), return_dtype=pl.String, is_elementwise=True
    )


def _masked(cells: Cells, first: int, last: int) -> pl.Series:
    hidden, continues = ~_SEPARATOR[cells.flat], _CONTINUES[cells.flat]
    if first or last:
        hidden &= ~_shown(cells, hidden, continues, first, last)
    flat = np.where(hidden, _STAR, cells.flat)
    left = ~(hidden & continues)
    if left.all():
        return Cells(flat, cells.ends, cells.valid).series().cast(pl.String)
    ends = np.concatenate([[0], np.cumsum(left)])[cells.ends]
    return Cells(flat[left], ends, cells.valid).series().cast(pl.String)


def _shown(cells: Cells, counted: Flags, continues: Flags, first: int, last: int) -> Flags:
    """Which bytes belong to characters at the ends of a cell that has enough others which count."""
    # Of bytes alone, which most columns are, each is a character.
    character = np.cumsum(~continues) - 1 if continues.any() else None
    borders = cells.ends if character is None else np.concatenate([[0], character + 1])[cells.ends]
    characters = np.concatenate([[0], np.cumsum(counted & ~continues)])[cells.ends]
    long = np.diff(characters) >= first + last + min(first + last + 1, _ENOUGH)
    shown = np.zeros(borders[-1], np.bool_)
    for place in range(first):
        shown[borders[:-1][long] + place] = True
    for place in range(last):
        shown[borders[1:][long] - place - 1] = True
    return shown if character is None else shown[character]
