"""The files that a contract is drafted from, as tables of text: complete, and spelled exactly as they are.

CSV and Parquet are read as the platform pulls them; CSV with other separators, and JSON by line, as they are
scanned. The latter must be converted before they can be pulled, and the draft says so. A header whose cells
look like data is refused: a draft names columns, and would name people.
"""

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, Final

import polars as pl

from secure_platform.contract.names import IDENTIFIER
from secure_platform.contract.place import shown
from secure_platform.errors import DataRefusedError, UsageError
from secure_platform.scan.columns import Scanner
from secure_platform.scan.draft.names import fitting_names, usable_names
from secure_platform.scan.sources import json
from secure_platform.scan.sources.database import Wanted, database_rows
from secure_platform.scan.sources.documents import SkippedError
from secure_platform.source.csv import COLUMN_LIMIT, LINE, CsvText, check_names
from secure_platform.source.parquet import ParquetSource
from secure_platform.source.stream import Readable, SourceFile
from secure_platform.store.parquet import from_batches

HELD: Final = 1 << 30
"""Bytes of text up to which a table stays in memory; a larger one is read again for every look."""
CELL: Final = 8
"""Bytes of a cell that is held, be it empty."""
MALFORMED: Final = 0.05
"""Share of records that cannot be read, up to which a table is a table."""
TELLING: Final = 0.5
_SEPARATORS: Final = (";", "\t", "|")
_LINES: Final = frozenset({".ndjson", ".jsonl"})
_DELIMITED: Final = {".csv": ",", ".tsv": "\t", ".tab": "\t", ".psv": "|"}
KNOWN: Final = frozenset({*_DELIMITED, *_LINES, ".parquet"})
_NUMBER_OR_DATE: Final = re.compile(r"[-+]?[0-9][0-9.,:/ TZ+-]*")


@dataclass(frozen=True)
class Table:
    """A file as text.

    Attributes:
        dataset: A name for it, made of the file's name.
        source_file: The file's name as a contract gives it.
        header: All names, as written.
        usable: Those that a contract can name.
        frame: All columns.
        as_it_is: Whether the platform pulls the file as it is.
        written: What the file calls columns that have another name here.
    """

    dataset: str
    source_file: str
    header: tuple[str, ...]
    usable: tuple[str, ...]
    frame: pl.LazyFrame = field(repr=False)
    rows: int
    malformed: int
    as_it_is: bool
    written: Mapping[str, str] = field(default_factory=dict)

    @property
    def left_out(self) -> tuple[str, ...]:
        """Names that no contract can have, as they are shown."""
        return tuple(shown(name) for name in self.header if name not in self.usable)


def read_table(path: Path, scanner: Scanner) -> Table:
    """Read one file whole.

    Raises:
        UsageError: If it is no file of a kind that is read, or its name gives no name for a dataset.
        DataRefusedError: If it is no table, or has no header.
    """
    stem, kind = _kind(path)
    if kind in _LINES:
        return _table(path, stem, scanner, *_read_lines(path), as_it_is=False)
    separator = _DELIMITED.get(kind)
    source = _delimited(path, separator) if separator else ParquetSource(path)
    if separator == "," and len(source.header) == 1:
        separator = next((other for other in _SEPARATORS if other in source.header[0]), separator)
        source = _delimited(path, separator)
    as_it_is = separator in {",", None}
    return _table(path, stem, scanner, source.header, *_read_source(source), as_it_is=as_it_is)


def read_database(name: str, url: str, wanted: Wanted, scanner: Scanner) -> list[Table]:
    """Read tables of a PostgreSQL database whole.

    Args:
        name: How errors call the database: the reference to its URL.
        url: Its URL.
        wanted: Which tables.
        scanner: Looks at the names of columns.

    Raises:
        UsageError: If there is no such table, or the URL cannot be used.
        ServiceError: If the database cannot be reached.
        DataRefusedError: If a table cannot be read, or is too large to be held.
    """
    tables = [_read_rows(table, rows, scanner) for table, rows in database_rows(name, url, wanted)]
    if not tables:
        raise UsageError(f"There is no such table in {name}", "Name a table that its user may see.")
    return tables


def _read_rows(name: str, rows: Callable[[], Iterator[pl.DataFrame]], scanner: Scanner) -> Table:
    place, held, frames = Path(name), 0.0, []
    try:
        for frame in rows():
            held += frame.estimated_size()
            if held > HELD:
                raise _refusal(place, "has more than 1 GiB of text", "Export it as Parquet.")
            frames.append(frame)
    except SkippedError as error:
        raise _refusal(place, f"cannot be read: {error}", "Look at the rights of its user.") from None
    whole = pl.concat(frames)
    header = check_names(whole.columns, _Refusal(place))
    return _table(place, name, scanner, header, whole.lazy(), whole.height, 0, as_it_is=False)


def _kind(path: Path) -> tuple[str, str]:
    if not path.is_file():
        raise UsageError(f"{path} is not a file", "Name the files to draft contracts from.")
    name = path.name.removesuffix(".gz")
    stem, dot, suffix = name.rpartition(".")
    kind = (dot + suffix).lower()
    if kind not in KNOWN or (kind == ".parquet" and name != path.name):
        known = ", ".join(sorted(KNOWN))
        raise UsageError(
            f"{path.name} is of no kind that is read", f"Give one of: {known}, text also as .gz."
        )
    return stem, kind


def _table(
    path: Path,
    stem: str,
    scanner: Scanner,
    header: tuple[str, ...],
    frame: pl.LazyFrame,
    rows: int,
    malformed: int,
    *,
    as_it_is: bool,
) -> Table:
    if malformed > MALFORMED * (rows + malformed):
        raise _refusal(
            path,
            f"has {malformed:,} records of {rows + malformed:,} that are none of a table",
            "Save it as UTF-8 with one separator and quotes around what holds it.",
        )
    usable = usable_names(header)
    _require_header(path, header, frame, scanner)
    if not usable:
        raise _refusal(path, "has no column that a contract can name", "Rename the columns in the file.")
    return Table(_dataset(stem), f"{stem}.csv", header, usable, frame, rows, malformed, as_it_is)


def converted(table: Table) -> Table:
    """The table as it can be pulled: names that a contract can have, and no blanks after separators."""
    text = pl.nth(range(len(table.header)))
    if any(name.startswith(" ") for name in table.header):
        text = text.str.strip_chars_start(" ").replace("", None)
    names = fitting_names(table.header)
    frame = table.frame.select(text).rename(dict(zip(table.header, names, strict=True)))
    return replace(
        table,
        source_file=f"{table.dataset}.csv",
        header=names,
        usable=names,
        frame=frame,
        as_it_is=True,
        written=dict(zip(names, table.header, strict=True)),
    )


def _dataset(stem: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "_", stem.lower()).strip("_")
    name = (words if words[:1].isalpha() else f"t_{words}")[:63]
    if not words or not IDENTIFIER.fullmatch(name):
        raise UsageError("A file's name gives no name for a dataset", "Rename it, with ASCII letters.")
    return name


def _delimited(path: Path, separator: str) -> CsvText:
    return CsvText(SourceFile(path), delimiter=ord(separator))


def _read_source(source: CsvText | ParquetSource) -> tuple[pl.LazyFrame, int, int]:
    rows = malformed = 0
    held = 0.0
    kept: list[pl.DataFrame] = []
    for batch in source.batches():
        rows += batch.frame.height
        malformed += len(batch.malformed)
        held += batch.frame.estimated_size()
        kept = [*kept, batch.frame.drop(LINE)] if held <= HELD else []
    if kept:
        return pl.concat(kept).lazy(), rows, malformed
    schema = pl.Schema(dict.fromkeys(source.header, pl.String))
    return (
        from_batches(schema, lambda: (batch.frame.drop(LINE) for batch in source.batches())),
        rows,
        malformed,
    )


def _read_lines(path: Path) -> tuple[tuple[str, ...], pl.LazyFrame, int, int]:
    columns: dict[str, list[str | None]] = {}
    rows = malformed = 0
    try:
        with _text(path) as file:
            for line in file:
                record = json.parsed(line)
                if not isinstance(record, dict):
                    malformed += bool(line.strip())
                    continue
                for name in record:
                    columns.setdefault(name, [None] * rows)
                _require_alike(path, rows, len(columns))
                for name, cells in columns.items():
                    cells.append(json.spelled(record.get(name)))
                rows += 1
    except UnicodeDecodeError:
        raise _refusal(path, "is not text", "Save it as UTF-8.") from None
    if not columns:
        raise _refusal(path, "holds no record", "Give one JSON object on each line.")
    header = check_names([name or None for name in columns], _Refusal(path))
    frame = pl.DataFrame(columns, schema=dict.fromkeys(header, pl.String))
    return header, frame.lazy(), rows, malformed


def _require_alike(path: Path, rows: int, columns: int) -> None:
    """Refuse objects whose members are data: each of them would be a column of every other."""
    if columns > COLUMN_LIMIT or rows * columns > HELD // CELL:
        raise _refusal(
            path, "has objects with too many different members", "Give records that have the same members."
        )


@contextmanager
def _text(path: Path) -> Iterator[IO[str]]:
    with SourceFile(path).text() as raw:
        yield io.TextIOWrapper(io.BufferedReader(_Bounded(raw)), "utf-8-sig", newline="")


class _Bounded(io.RawIOBase):
    """The bytes of a file that is held in memory, as far as it can be.

    Args:
        text: Where they come from.
    """

    def __init__(self, text: Readable) -> None:
        self._text, self._left = text, HELD

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """As `io.RawIOBase.readinto`.

        Raises:
            DataRefusedError: If the file is too large to be held.
        """
        block = self._text.read(len(buffer))
        self._left -= len(block)
        if self._left < 0:
            raise DataRefusedError("A file has more than 1 GiB of text", "Give it as CSV or Parquet.")
        buffer[: len(block)] = block
        return len(block)


def _require_header(path: Path, header: Sequence[str], frame: pl.LazyFrame, scanner: Scanner) -> None:
    """Refuse a first record that looks like data."""
    values = sum(bool(_NUMBER_OR_DATE.fullmatch(name)) for name in header)
    if values <= TELLING * len(header):
        values = sum(frame.select(_in_its_own_column(header)).collect(engine="streaming").row(0))
    cells = pl.LazyFrame({"cell": header})
    told = any(scanner.types[finding.info_type].sensitive for finding in scanner.scan(cells))
    if told or values > TELLING * len(header):
        raise _refusal(
            path, "has no header: its first record looks like data", "Put a line of column names first."
        )


def _in_its_own_column(header: Sequence[str]) -> Iterator[pl.Expr]:
    for place, name in enumerate(header):
        yield (pl.nth(place) == name).any().fill_null(value=False).alias(str(place))


class _Refusal:
    """Makes errors about a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, what: str, fix: str) -> DataRefusedError:
        return _refusal(self._path, what, fix)


def _refusal(path: Path, what: str, fix: str) -> DataRefusedError:
    return DataRefusedError(f"{path.name} {what}", fix)
