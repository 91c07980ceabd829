"""A CSV file becomes text columns, and every record that is no record of its table is set aside by name.

Read by RFC 4180 (`source/records.py`), strictly UTF-8, with these decisions:

- A byte order mark at the start is dropped; line ends may be LF or CRLF; an empty line is no record.
- An empty field is null, quoted or not. Every other value keeps its exact text.
- A record is malformed, and kept as bytes, for the first of these rules that it breaks: `encoding` (not
  UTF-8), `nul_byte`, `quoting` (see `records.py`; one per physical line), `field_count` (not as many fields
  as the header).
- A file is refused as a whole when its rest cannot be trusted: a quoted field that is never closed, a record
  longer than 16 MiB, more malformed bytes than can be held, a damaged gzip member, a change while it is read.

What stands in a file is not told in an error. A header may be somebody's data in a file that has none, so its
cells are named only where the contract's own columns show that it is one.
"""

import codecs
import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from secure_platform.contract.model import Contract
from secure_platform.errors import DataRefusedError
from secure_platform.source.pieces import GOOD, RULES, Piece, Rule, parse
from secure_platform.source.records import COMMA, RECORD_LIMIT
from secure_platform.source.stream import Readable, SourceFile, Stored, Text

LINE: Final = "__line"
"""The column of the 1-based physical line on which a record starts."""

COLUMN_LIMIT: Final = 10_000
HEADER_BLOCK: Final = 64 << 10
MALFORMED_BUDGET: Final = 256 << 20
MALFORMED_COST: Final = 256
"""Bytes that a malformed record is taken to need in memory beside its own."""
SHOWN_NAME: Final = 63
SHOWN_NAMES: Final = 10
SIMILAR: Final = 0.8
Naming: TypeAlias = Callable[[Sequence[str | None]], Sequence[str]]


@dataclass(frozen=True)
class Malformed:
    """A record that is no record of the table.

    Attributes:
        line: 1-based physical line on which it starts.
        rule: What it breaks.
        record: Its bytes without the line terminator.
    """

    line: int
    rule: Rule
    record: bytes = field(repr=False)


@dataclass
class Batch:
    """Records that follow one another in the file.

    Attributes:
        frame: `__line` (UInt64), then one String column per header field.
        malformed: The records between them that were set aside, in order.
    """

    frame: pl.DataFrame = field(repr=False)
    malformed: list[Malformed]


class CsvText:
    """CSV with a header, wherever its bytes come from.

    Args:
        file: Gives the bytes, the same each time.
        delimiter: The byte between two fields.
        names: Makes column names of the header's cells, or refuses them; by default as a dataset needs them.

    Attributes:
        header: The column names, in the file's order; by default exactly as written.

    Raises:
        DataRefusedError: If it is empty, or its first record cannot be a header.
    """

    def __init__(self, file: Text, *, delimiter: int = COMMA, names: Naming | None = None) -> None:
        self._text = file
        self._delimiter = delimiter
        self._names: Naming = names or (lambda cells: check_names(cells, self._refusal))
        self._header_line, self.header = self._read_header()

    def batches(self, *, bytes_per_batch: int = 2 << 20) -> Iterator[Batch]:
        """Read all records in bounded memory; a file without records gives one empty batch.

        Args:
            bytes_per_batch: Bytes of text that are read at a time; a batch holds the records that end in
                them.

        Raises:
            DataRefusedError: If the file as a whole is refused (see the module).
        """
        budget = MALFORMED_BUDGET
        batch = None
        for piece in self._pieces(bytes_per_batch):
            codes = piece.codes(len(self.header))
            data = (piece.lines > self._header_line) & ~piece.empty
            good = data & (codes == GOOD)
            bad = np.flatnonzero(data & ~good)
            budget -= self._cost(piece, bad)
            if budget < 0:
                raise self._refusal(
                    "has too many malformed records to set aside",
                    "Check that it is UTF-8 with commas and RFC 4180 quotes.",
                )
            malformed = [
                Malformed(int(piece.lines[index]), RULES[codes[index]], piece.record(index))
                for index in bad.tolist()
            ]
            batch = Batch(self._frame(piece.gather(good), piece.lines[good]), malformed)
            yield batch
        if batch is None:
            yield Batch(self._frame([], np.empty(0, np.uint64)), [])

    def _pieces(self, size: int) -> Iterator[Piece]:
        """Complete records, block after block; a longer record makes its block longer."""
        with self._text.text() as text:
            rest, line, final = _read(text, len(codecs.BOM_UTF8)).removeprefix(codecs.BOM_UTF8), 1, False
            while not final:
                # Doubling keeps the cost of one long record linear; beyond the limit it is refused.
                wanted = max(size, min(len(rest), RECORD_LIMIT + 1 - len(rest)))
                block = _read(text, wanted)
                final = len(block) < wanted
                piece = Piece.of(rest + block, line, final=final, delimiter=self._delimiter)
                rest, line = piece.rest, line + piece.feeds
                self._check_lengths(piece, line)
                if piece.records.consumed:
                    yield piece
            if rest:
                raise self._refusal(
                    f"ends inside a quoted field of the record that starts on line {line}",
                    "Copy it again if it was cut off, or close the quote.",
                )

    def _check_lengths(self, piece: Piece, line_of_rest: int) -> None:
        long = np.flatnonzero(piece.records.stop - piece.records.start > RECORD_LIMIT)
        if long.size or len(piece.data) - piece.records.consumed > RECORD_LIMIT:
            line = piece.lines[long[0]] if long.size else line_of_rest
            raise self._refusal(
                f"has a record of more than 16 MiB that starts on line {line}",
                "Look for a quote that is not closed.",
            )

    def _read_header(self) -> tuple[int, tuple[str, ...]]:
        for piece in self._pieces(HEADER_BLOCK):
            written = np.flatnonzero(~piece.empty)
            if written.size:
                index = int(written[0])
                return int(piece.lines[index]), tuple(self._names(self._header_cells(piece, index)))
        raise self._refusal("is empty", "Give a file with a header and records.")

    def _header_cells(self, piece: Piece, index: int) -> Sequence[str | None]:
        width = int(piece.records.fields[index])
        if width > COLUMN_LIMIT:
            raise self._refusal(
                f"has {width:,} columns", f"Give a file with at most {COLUMN_LIMIT:,} columns."
            )
        code = piece.codes(width)[index]
        if code != GOOD:
            raise self._refusal(
                f"has a header that breaks the rule {RULES[code]!r}",
                "Give a file with a header, in UTF-8, with commas and RFC 4180 quotes.",
            )
        cells = parse(
            [piece.record(index)], [str(position) for position in range(width)], 1, delimiter=self._delimiter
        )
        return self._read_by_polars(cells).row(0)

    def _cost(self, piece: Piece, bad: NDArray[np.intp]) -> int:
        """Bytes that records need once they are set aside, counted before they are."""
        lengths = piece.records.stop[bad] - piece.records.start[bad]
        return int(lengths.sum()) + MALFORMED_COST * bad.size

    def _frame(self, runs: Sequence[bytes], lines: NDArray[np.uint64]) -> pl.DataFrame:
        frame = self._read_by_polars(parse(runs, self.header, lines.size, delimiter=self._delimiter))
        return frame.insert_column(0, pl.Series(LINE, lines, pl.UInt64))

    def _read_by_polars(self, frame: pl.DataFrame | None) -> pl.DataFrame:
        if frame is None:
            raise self._refusal(
                "is read by Polars in another way than RFC 4180 says",
                "Report this as a defect, with the version of Polars.",
            )
        return frame

    def _refusal(self, what: str, fix: str) -> DataRefusedError:
        return self._text.refusal(what, fix)


class CsvSource(CsvText):
    """A `.csv` or `.csv.gz` file of a dataset; it says nothing about types.

    Args:
        file: The file, or the path of one; it must be a regular file.

    Raises:
        DataRefusedError: If it is not such a file, is empty, or its first record cannot be a header.
    """

    types: Mapping[str, str] = MappingProxyType({})

    def __init__(self, file: Path | Stored) -> None:
        self._file: Stored = SourceFile(file) if isinstance(file, Path) else file
        super().__init__(self._file)

    def fingerprint(self) -> str:
        """Digest of the file's own bytes, `sha256:<64 hex digits>`."""
        return self._file.fingerprint()

    @property
    def written_at(self) -> datetime:
        """When the file was last written; aware, UTC."""
        return self._file.written_at


def check_names(
    cells: Sequence[str | None], refusal: Callable[[str, str], DataRefusedError]
) -> tuple[str, ...]:
    """The column names of a file, in its order, if each of them can be one.

    Args:
        cells: The names as written; None where there is none.
        refusal: Makes an error about the file.

    Raises:
        DataRefusedError: If a name is missing, reserved, or there twice.
    """
    positions: dict[str, int] = {}
    for position, name in enumerate(cells, start=1):
        if name is None:
            raise refusal(f"has no name for column {position}", "Name every column in the header.")
        if name == LINE:
            raise refusal(f"has a column named {LINE}", "Rename it; this name is reserved.")
        if name in positions:
            raise refusal(
                f"gives columns {positions[name]} and {position} the same name", "Name every column once."
            )
        positions[name] = position
    return tuple(positions)


def find_source(directory: Path, contract: Contract) -> Path:
    """The one file of a dataset: plain, with `.gz` appended, or `.parquet`; no link may lead out.

    Raises:
        DataRefusedError: If there is none, or several, or it is elsewhere.
    """
    where = f"the source file {contract.source_file!r} of {contract.dataset}"
    try:
        root = directory.resolve()
        named = root / contract.source_file
        forms = (named, named.with_name(f"{named.name}.gz"), named.with_suffix(".parquet"))
        found = [path for path in forms if path.is_file()]
    except (OSError, RuntimeError):
        raise DataRefusedError(
            f"The directory of {where} cannot be read", "Check its permissions and links."
        ) from None
    if not found:
        raise DataRefusedError(
            f"There is no {where.removeprefix('the ')}",
            "Put it, or its .gz, or a .parquet of its name, into the source directory.",
        )
    if len(found) > 1:
        raise DataRefusedError(
            f"Both {where} and its {found[1].suffix} are there", "Remove the one that is not meant."
        )
    path = found[0].resolve()
    if not path.is_relative_to(root):
        raise DataRefusedError(
            f"A link leads from {where} out of the source directory", "Put the file itself there."
        )
    return path


def check_header(contract: Contract, header: Sequence[str]) -> list[str]:
    """Compare a header with the contract; order does not matter, spelling does.

    Returns:
        The columns that the contract does not name, in the file's order, if it keeps such columns in raw.

    Raises:
        DataRefusedError: If a column is missing, or one too many and the contract refuses extra columns.
    """
    names = [column.name for column in contract.columns]
    missing = [name for name in names if name not in header]
    extra = [name for name in header if name not in names]
    is_header = len(missing) * 2 <= len(names)
    if missing:
        said = ", ".join(missing)
        renamed = _renamed(missing, extra) if is_header else []
        fix = "; ".join(renamed) or "Give a file with the contract's header"
        raise DataRefusedError(f"The source of {contract.dataset} lacks columns: {said}", f"{fix}.")
    if extra and contract.extra_columns == "refuse":
        raise DataRefusedError(
            f"The source of {contract.dataset} has {len(extra)} columns that its contract does not name: "
            f"{', '.join(map(_shown, extra[:SHOWN_NAMES]))}{', …' if len(extra) > SHOWN_NAMES else ''}",
            "Add them to the contract, or write `extraColumns: keep_raw` in it.",
        )
    return extra


def _renamed(missing: Sequence[str], extra: Sequence[str]) -> list[str]:
    plain = {_plain(name): name for name in extra}
    pairs = {name: difflib.get_close_matches(_plain(name), plain, n=1, cutoff=SIMILAR) for name in missing}
    return [f"Rename {_shown(plain[near[0]])} to {name}" for name, near in pairs.items() if near]


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _shown(name: str) -> str:
    """A name from a file, without control characters and not longer than a name."""
    return repr(name[:SHOWN_NAME])


def _read(text: Readable, size: int) -> bytes:
    """As many bytes as wanted; fewer only at the end."""
    blocks: list[bytes] = []
    while size > 0 and (block := text.read(size)):
        blocks.append(block)
        size -= len(block)
    return b"".join(blocks)
