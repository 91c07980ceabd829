"""What is done with each document and table: tables go through the scanner, everything else is text.

What claims to be a table and is none is searched as text; what cannot be read is skipped with the reason, and
ends nothing. What is in an archive is looked into as if it were unpacked.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import PurePosixPath
from typing import Final, TypeAlias

import polars as pl

from secure_platform.errors import DataRefusedError
from secure_platform.scan.columns import Finding, Scanner, secret_findings
from secure_platform.scan.report import Reported, Scanned, Section, Skipped
from secure_platform.scan.secrets.archives import SEPARATOR, Budget, entries, is_archive
from secure_platform.scan.secrets.scanner import SecretScanner, is_binary
from secure_platform.scan.sources import json
from secure_platform.scan.sources.csv import csv_rows
from secure_platform.scan.sources.documents import (
    UNREADABLE,
    Document,
    FileDocument,
    MemoryDocument,
    SkippedError,
    UnpackedDocument,
    in_reach,
)
from secure_platform.scan.sources.encodings import utf8
from secure_platform.scan.sources.names import found_in, shown
from secure_platform.scan.sources.parquet import parquet_rows
from secure_platform.scan.sources.spool import spool
from secure_platform.scan.sources.stray import Stray
from secure_platform.scan.sources.texts import TextFindings
from secure_platform.scan.sources.workbook import sheets
from secure_platform.scan.text.scanner import TextScanner
from secure_platform.store.parquet import value_free

Rows: TypeAlias = Iterable[pl.DataFrame | Stray]
_HEAD: Final = 8 << 10
_PARQUET: Final = b"PAR1"
_GZIP: Final = b"\x1f\x8b"
_WORKBOOK: Final = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
_WORKBOOKS: Final = frozenset({".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"})
_PACKED: Final = frozenset({".gz", ".bz2", ".xz"})
_READ: Final = (
    "xl/worksheets/sheet", "xl/sharedStrings.xml",
    "[Content_Types].xml", "_rels/.rels", "xl/_rels/", "xl/workbook.xml", "xl/styles.xml", "xl/theme/",
)  # fmt: skip
"""Members of a workbook that its sheets are read from, and those that hold nobody's words."""
IN_THE_NAME: Final = "in the name of the column"


class Inspection:
    """Looks into documents and tables.

    Args:
        scanner: For tables.
        secrets: For secrets in texts.
        texts: For personal data in texts; None if only secrets are looked for there.
        key: For the fingerprints.
        own_rules: Whether `secrets` has rules that the scanner does not have.
    """

    def __init__(
        self,
        scanner: Scanner,
        secrets: SecretScanner,
        texts: TextScanner | None,
        key: bytes,
        *,
        own_rules: bool = False,
    ) -> None:
        self._scanner = scanner
        self._secrets = secrets
        self._texts = texts
        self._key = key
        self._own_rules = own_rules

    def document(self, document: Document) -> Section:
        """Look into a file, a member of an archive, or an object."""
        return self._guarded(document.name, lambda section: self._look(document, section, Budget()))

    def table(self, source: str, rows: Rows) -> Section:
        """Look into rows that come from anywhere."""
        return self._guarded(source, lambda section: self._rows(source, rows, section))

    def frame(self, source: str, frame: pl.LazyFrame) -> Section:
        """Look into a table that can be read again."""
        return self._guarded(source, lambda section: self._frame(source, frame, section))

    def _guarded(self, source: str, look: Callable[[Section], None]) -> Section:
        section = Section()
        try:
            look(section)
        except SkippedError as reason:
            section.skipped.append(Skipped(source, str(reason)))
        except DataRefusedError as refused:
            section.skipped.append(Skipped(source, refused.culprit))
        except OSError:
            section.skipped.append(Skipped(source, UNREADABLE))
        return section

    def _look(self, document: Document, section: Section, budget: Budget) -> None:
        with document.open() as stream:
            head = stream.read(_HEAD)
        if head.startswith(_PARQUET):
            self._path(document, section)
            self._rows(document.name, parquet_rows(in_reach(document)), section)
        elif head.startswith(_WORKBOOK) and is_workbook(document.name):
            self._workbook(in_reach(document), section, budget)
        elif head.startswith(_GZIP) and isinstance(document, FileDocument) and _is_table(document.name):
            self._plain(UnpackedDocument(document), section)
        elif is_archive(head):
            self._members(in_reach(document), section, budget, whole=is_workbook)
        elif is_binary(head):
            self._path(document, section)
            section.skipped.append(Skipped(document.name, "binary"))
        else:
            self._plain(document, section)

    def _members(
        self,
        document: Document,
        section: Section,
        budget: Budget,
        *,
        leave: tuple[str, ...] = (),
        whole: Callable[[str], bool],
    ) -> None:
        with document.open() as stream:
            for entry in entries(stream, document.name, budget, whole=whole):
                if entry.stream is None:
                    section.skipped.append(Skipped(entry.path, entry.why))
                elif entry.stream is not stream and not entry.path.startswith(leave):
                    section.add(self._member(MemoryDocument(entry.path, entry.stream), budget))

    def _member(self, document: MemoryDocument, budget: Budget) -> Section:
        return self._guarded(document.name, lambda section: self._look(document, section, budget))

    def _workbook(self, document: Document, section: Section, budget: Budget) -> None:
        """Its sheets as tables, and notes and properties as text; if it is none, everything in it."""
        self._path(document, section)
        leave: tuple[str, ...] = ()
        try:
            for place, (name, rows) in enumerate(sheets(document), start=1):
                called = f"sheet {place}" if found_in(self._scanner, [name]) else name
                self._rows(f"{document.name}{SEPARATOR}{called}", chain([Stray(1, name)], rows), section)
            leave = tuple(f"{document.name}{SEPARATOR}{member}" for member in _READ)
        except DataRefusedError as refused:
            section.skipped.append(Skipped(document.name, refused.culprit))
        self._members(document, section, budget, leave=leave, whole=_nothing)

    def _plain(self, document: Document, section: Section) -> None:
        """A table in text, if its name says so and it is one; else text."""
        self._path(document, section)
        read, table = _reader(document.name), Section()
        if read is not None:
            with suppress(DataRefusedError, json.NoTableError):
                self._rows(document.name, read(document), table)
                section.add(table)
                return
        self._text(document, section)

    def _path(self, document: Document, section: Section) -> None:
        section.findings += map(Reported.of_secret, self._secrets.path(document.name))

    def _text(self, document: Document, section: Section) -> None:
        with document.open() as stream:
            secrets = self._secrets.stream(stream, document.name)
        section.findings += map(Reported.of_secret, secrets)
        if self._texts is not None:
            found = TextFindings(self._texts, document.name, self._key)
            with utf8(document) as stream:
                found.add_stream(stream)
            section.findings += found.reported()
        section.scanned.append(Scanned(document.name, "text", bytes=document.size))

    def _rows(self, source: str, rows: Rows, section: Section) -> None:
        found = TextFindings(self._texts, source, self._key) if self._texts else None
        with spool() as spooled:
            for part in rows:
                if isinstance(part, pl.DataFrame):
                    spooled.add(part)
                    continue
                section.findings += self._aside(part, source)
                if found is not None:
                    found.add(part.text, part.line)
            self._frame(source, spooled.frame(), section, rows=spooled.rows)
        section.findings += found.reported() if found is not None else []

    def _aside(self, stray: Stray, source: str) -> Iterator[Reported]:
        for finding in self._secrets.text(stray.text, source):
            place, more = finding.place, stray.line - 1
            there = replace(place, line=place.line + more, end_line=place.end_line + more)
            yield Reported.of_secret(replace(finding, place=there))

    def _frame(self, source: str, frame: pl.LazyFrame, section: Section, *, rows: int | None = None) -> None:
        with value_free("scan a table"):
            names = frame.collect_schema().names()
            called = shown(names, hidden := found_in(self._scanner, names))
            found = self._findings(frame) if names else []
            counted = rows if rows is not None else int(frame.select(pl.len()).collect().item())
        named = [
            replace(each, column=name, reasons=(*each.reasons, IN_THE_NAME))
            for name in hidden
            for each in hidden[name]
        ]
        section.findings += [
            Reported.of_column(source, each, self._key, column=called[each.column])
            for each in (*named, *found)
        ]
        section.scanned.append(Scanned(source, "table", tuple(called.values()), counted))

    def _findings(self, frame: pl.LazyFrame) -> list[Finding]:
        found = self._scanner.scan(frame)
        if not self._own_rules:
            return found
        known = {(each.column, each.info_type) for each in found}
        filled = frame.count().collect(engine="streaming").row(0, named=True)
        others = secret_findings(self._secrets.engine, frame, filled)
        return found + [each for each in others if (each.column, each.info_type) not in known]


def is_workbook(name: str) -> bool:
    """Whether a file of this name is read by its sheets."""
    return PurePosixPath(name).suffix.lower() in _WORKBOOKS


def _nothing(_: str) -> bool:
    return False


def _is_table(name: str) -> bool:
    return _reader(name) is not None


def _reader(name: str) -> Callable[[Document], Rows] | None:
    """What reads a table from text, by the suffix before those of packing."""
    suffixes = [suffix.lower() for suffix in PurePosixPath(name).suffixes]
    plain = [suffix for suffix in suffixes if suffix not in _PACKED]
    return _READERS.get(plain[-1]) if plain else None


_READERS: Final[dict[str, Callable[[Document], Rows]]] = {
    **dict.fromkeys((".csv", ".tsv", ".tab", ".psv"), csv_rows),
    **dict.fromkeys((".ndjson", ".jsonl"), json.lines),
    ".json": json.array,
}
