"""Errors found in dirty tables by contracts drafted from clean ones, and good data that they refuse.

A contract is drafted from one half of the clean rows; the other half, clean, is what must pass, and dirty,
what must be found. Halves are every other row, and the beginning and the end of the file. Beside it: the
types and empty cells that Polars infers, and a list of all values that were seen.
"""

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from benchmarks.anomalies import test_data
from benchmarks.bench import Bench, Figure
from benchmarks.measure import Stopwatch
from secure_platform.cli.main import run as command
from secure_platform.contract.load import SUFFIX
from secure_platform.contract.model import Contract
from secure_platform.contract.product import load_product
from secure_platform.source.csv import LINE
from secure_platform.validate.rules import WHOLE, validate

Cells = set[tuple[int, str]]
Detector = Callable[[pl.DataFrame, pl.DataFrame, Path], Cells]

OURS: Final = "drafted contract"
TYPES: Final = "types that Polars infers"
SEEN: Final = "all values that were seen"
SETS: Final = ("beers", "hospital")
WHOLE_FILE: Final = "the whole file"
EVERY_OTHER: Final = "every other row"
BEGINNING: Final = "beginning and end"
SPLITS: Final = (WHOLE_FILE, EVERY_OTHER, BEGINNING)
PRECISE: Final = 0.99
REFUSED: Final = "good rows refused"


@dataclass
class Tally:
    """What a detector found, over all splits of one kind.

    Attributes:
        right, flagged, wrong: Cells: found rightly, found at all, and that are errors.
        right_rows, flagged_rows, wrong_rows: The same of rows.
        refused: Rows of good data that it refuses.
        good: All rows of them.
    """

    right: int = 0
    flagged: int = 0
    wrong: int = 0
    right_rows: int = 0
    flagged_rows: int = 0
    wrong_rows: int = 0
    refused: int = 0
    good: int = 0

    def add(self, found: Cells, errors: Cells, refused: Cells, rows: int) -> None:
        """Count one split."""
        self.right += len(found & errors)
        self.flagged += len(found)
        self.wrong += len(errors)
        self.right_rows += len(_rows(found) & _rows(errors))
        self.flagged_rows += len(_rows(found))
        self.wrong_rows += len(_rows(errors))
        self.refused += len(_rows(refused))
        self.good += rows

    def figures(self) -> dict[str, float]:
        """As a child process gives them back."""
        return {
            "recall of cells": self.right / max(self.wrong, 1),
            "precision of cells": self.right / max(self.flagged, 1),
            "recall of rows": self.right_rows / max(self.wrong_rows, 1),
            "precision of rows": self.right_rows / max(self.flagged_rows, 1),
            REFUSED: self.refused / max(self.good, 1),
        }


def run(bench: Bench) -> list[Figure]:
    """Every table, split in every way."""
    figures = []
    for name in SETS[: bench.scale.tables]:
        measured = bench.measure(name, "dirty_pairs:found", table=name, folder=str(bench.folder))
        for split, detectors in measured.detail["found"].items():
            for detector, found in detectors.items():
                figures += list(_figures(f"{name}, {split}", detector, found))
    return figures


def _figures(place: str, detector: str, found: Mapping[str, float]) -> Iterator[Figure]:
    ours = detector == OURS
    for name, value in found.items():
        target = {"precision of cells": PRECISE, REFUSED: 0.0}.get(name) if ours else None
        against = "" if ours else detector
        at_least = name != REFUSED
        yield Figure(f"{name}, {place}, {detector}", value, "share", against, target, at_least=at_least)


def found(watch: Stopwatch, table: str, folder: str) -> dict[str, Any]:
    """What each detector finds of one table."""
    clean, dirty = (_read(table, part) for part in ("clean", "dirty"))
    tallies: dict[str, dict[str, Tally]] = {split: {name: Tally() for name in DETECTORS} for split in SPLITS}
    work = Path(folder) / table
    with watch:
        for split in SPLITS:
            for taught, tested in _places(split, clean.height):
                good, bad = clean[tested], dirty[tested]
                errors = _differences(good, bad)
                for name, detector in DETECTORS.items():
                    seen = detector(clean[taught], bad, work / f"{split} {taught[0]} {taught[1]}")
                    refused = detector(clean[taught], good, work / f"{split} {taught[0]} {taught[1]}")
                    tallies[split][name].add(seen, errors, refused, good.height)
    return {
        "found": {
            split: {name: tally.figures() for name, tally in each.items()} for split, each in tallies.items()
        }
    }


def _places(split: str, rows: int) -> list[tuple[list[int], list[int]]]:
    """Rows to draft from, and rows to judge."""
    everything = list(range(rows))
    if split == WHOLE_FILE:
        return [(everything, everything)]
    parts = (
        (everything[::2], everything[1::2])
        if split == EVERY_OTHER
        else (everything[: rows // 2], everything[rows // 2 :])
    )
    return [parts, parts[::-1]]


def _read(table: str, part: str) -> pl.DataFrame:
    return pl.read_csv(test_data() / "dirty_pairs" / table / f"{part}.csv", infer_schema=False)


def _differences(good: pl.DataFrame, bad: pl.DataFrame) -> Cells:
    return {
        (row, name)
        for name in good.columns
        for row, differs in enumerate(good[name].fill_null("") != bad[name].fill_null(""))
        if differs
    }


def _rows(cells: Cells) -> set[int]:
    return {row for row, _ in cells}


def _ours(taught: pl.DataFrame, tested: pl.DataFrame, folder: Path) -> Cells:
    """`contract draft` from a file, and the validation of the pull step."""
    contract = _drafted(taught, folder)
    names = [column.name for column in contract.columns]
    # The draft converts what a contract cannot name; the order of the columns stays.
    text = tested.rename(dict(zip(tested.columns, names, strict=True))).with_columns(
        pl.int_range(pl.len(), dtype=pl.UInt64).alias(LINE)
    )
    written = dict(zip(names, tested.columns, strict=True))
    quarantine = validate(contract, text.select(LINE, *names).lazy()).quarantine
    return {
        (line, written[name])
        for line, rules in quarantine.iter_rows()
        for rule in rules.split(", ")
        for name in rule.rpartition(":")[0].split("+")
        if name != WHOLE
    }


def _drafted(taught: pl.DataFrame, folder: Path) -> Contract:
    product = folder / "product"
    if not product.exists():
        folder.mkdir(parents=True)
        source = folder / "pair.csv"
        taught.write_csv(source)
        options = ["--product", "pairs", "--out", str(product), "--convert", str(folder / "converted")]
        with redirect_stdout(io.StringIO()):
            code = command(["contract", "draft", str(source), *options])
        assert code == 0, code
    (contract,) = load_product(next(product.rglob(f"*{SUFFIX}")).parents[1]).contracts.values()
    return contract


def _types(taught: pl.DataFrame, tested: pl.DataFrame, folder: Path) -> Cells:
    """A type for each column, and whether it was ever empty."""
    del folder
    inferred = pl.read_csv(io.BytesIO(taught.write_csv().encode()), infer_schema_length=None)
    cells: Cells = set()
    for name, dtype in inferred.schema.items():
        wrong = tested[name].is_not_null() & tested[name].cast(dtype, strict=False).is_null()
        if not taught[name].null_count():
            wrong |= tested[name].is_null()
        cells |= {(row, name) for row in wrong.arg_true()}
    return cells


def _seen(taught: pl.DataFrame, tested: pl.DataFrame, folder: Path) -> Cells:
    """Every value that was not there before, but in columns that never repeat one."""
    del folder
    cells: Cells = set()
    for name in taught.columns:
        if taught[name].is_duplicated().any():
            new = ~tested[name].is_in(taught[name].unique().implode(), nulls_equal=True)
            cells |= {(row, name) for row in new.arg_true()}
    return cells


DETECTORS: Final[Mapping[str, Detector]] = {OURS: _ours, TYPES: _types, SEEN: _seen}
"""Every one is given the rows to learn from, the rows to judge, and a folder of its own."""
