"""Cells of data frames: one vectorised pass picks those that can hold a secret; each different one is searched.

A column whose name means a secret needs no keyword in its cells: the name stands before them.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import polars as pl

from secure_platform.scan.cells import column_of, shape, text_of
from secure_platform.scan.secrets.engine import Engine, Hit
from secure_platform.scan.secrets.findings import ColumnPlace, SecretFinding, reasons
from secure_platform.scan.secrets.linear import compile_pattern
from secure_platform.scan.secrets.scanner import SecretScanner

_NAMED: Final = compile_pattern(
    r"(?i)(?:^|[^a-z])(?:pass_?word|passwd|pwd|pass_?phrase|secret|api[_ -]?key|(?:access|private|secret)[_ -]?key"
    r"|(?:access|auth|api|refresh|bearer|session)[_ -]?token|client[_ -]?secret|credential)s?(?:[^a-z]|$)"
    r"|[a-z](?-i:Password|Passwd|Secret|(?:Api|Access|Private|Secret)Key|(?:Auth|Access|Api)Token)s?$",
    "names of secret columns",
)
_ENCODED: Final = r"%[0-9A-Fa-f]{2}|[A-Za-z0-9+/_-]{40}"
_DIGEST: Final = r"^[0-9A-Fa-f-]*$"
_SHORTEST: Final = 4
_SLICE: Final = 1 << 17
_CELL: Final = "cell"
_COUNT: Final = "rows"


@dataclass
class _Found:
    rows: int = 0
    hits: list[Hit] = field(default_factory=list)


def scan_columns(scanner: SecretScanner, frame: pl.LazyFrame) -> list[SecretFinding]:
    """The secrets in the text columns of a frame, in the order of columns, then by rule.

    Raises:
        DataRefusedError: If a column holds bytes, which cannot be searched.
    """
    schema = frame.collect_schema()
    texts = [name for name, dtype in schema.items() if shape(name, dtype) == "text"]
    findings: list[SecretFinding] = []
    for name in texts:
        cells = _distinct(frame, text_of(name, schema[name]))
        named = _NAMED.search(name.encode()) is not None
        found = _searched(
            scanner, cells if named else _announced(scanner.engine, cells), name if named else ""
        )
        if found:
            filled = frame.select(column_of(name).count()).collect(engine="streaming").item()
            findings += [_finding(scanner, name, each, filled) for _, each in sorted(found.items())]
    return findings


def _distinct(frame: pl.LazyFrame, text: pl.Expr) -> pl.DataFrame:
    cells = frame.select(text.alias(_CELL)).filter(pl.col(_CELL).str.len_bytes() >= _SHORTEST)
    return cells.group_by(_CELL).agg(pl.len().alias(_COUNT)).collect(engine="streaming")


def _announced(engine: Engine, cells: pl.DataFrame) -> pl.DataFrame:
    """The cells with a sign of a secret in them: those of a slice are searched as one text."""
    return pl.concat([_with_signs(engine, each) for each in cells.iter_slices(_SLICE)] or [cells])


def _with_signs(engine: Engine, cells: pl.DataFrame) -> pl.DataFrame:
    cell = pl.col(_CELL)
    ends = cells.select((cell.str.len_bytes().cast(pl.Int64) + 1).cum_sum()).to_series().to_numpy()
    text = cells.select(cell.str.join("\n")).item().encode()
    signs = np.fromiter(engine.signs(text), dtype=np.int64)
    signed = np.zeros(cells.height, dtype=np.bool_)
    signed[np.searchsorted(ends, signs, side="right")] = True
    encoded = cell.str.contains(_ENCODED) & ~cell.str.contains(_DIGEST)
    return cells.filter(pl.Series(signed) | encoded)


def _searched(scanner: SecretScanner, counted: pl.DataFrame, name: str) -> Mapping[str, _Found]:
    found: defaultdict[str, _Found] = defaultdict(_Found)
    for cell, rows in counted.sort(_CELL).iter_rows():
        best = {hit.rule.id: hit for hit in _hits(scanner, cell, name)}
        for rule, hit in best.items():
            found[rule].rows += rows
            found[rule].hits.append(hit)
    return found


def _hits(scanner: SecretScanner, cell: str, name: str) -> Iterator[Hit]:
    hits = scanner.engine.hits(cell.encode())
    if hits or not name:
        yield from hits
        return
    prefix = f"{name}: ".encode()
    quote = b"'" if '"' in cell else b'"'
    yield from scanner.engine.hits(prefix + quote + cell.encode() + quote)


def _finding(scanner: SecretScanner, column: str, found: _Found, filled: int) -> SecretFinding:
    rule = found.hits[0].rule
    return SecretFinding(
        rule.id,
        rule.description,
        ColumnPlace(column, found.rows, found.rows / filled, len(found.hits)),
        max(hit.entropy for hit in found.hits),
        max(hit.confidence for hit in found.hits),
        scanner.identity(b"column", rule.id.encode(), column.encode()),
        reasons(found.hits),
    )
