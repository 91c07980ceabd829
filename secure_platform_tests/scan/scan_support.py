"""Scanning a table that is written as columns."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from secure_platform.scan.columns import Finding, Scanner
from secure_platform.taxonomy.info_types import info_types

SCANNER = Scanner(info_types())


def scan(columns: Mapping[str, Sequence[Any]]) -> dict[tuple[str, str], Finding]:
    """Findings by (column, info type)."""
    return {(f.column, f.info_type): f for f in SCANNER.scan(pl.LazyFrame(columns))}


def kinds(values: Sequence[Any], column: str = "opaque") -> set[str]:
    """The info types found in one column."""
    return {kind for _, kind in scan({column: values})}
