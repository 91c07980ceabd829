"""The labelled tables: which columns hold what, and how each file becomes columns of text.

Labels are keyed by file and column (labels/README.md). A file of many tables is followed by `#` and the
table; files of one schema share a pattern and are read as one table. What is no table is one column, `text`,
of lines.
"""

import csv
import gzip
import io
import json
import sqlite3
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import polars as pl
from sqlalchemy import MetaData, NullPool, create_engine, select
from sqlalchemy import Table as SqlTable

LABELS: Final = Path(__file__).with_name("labels")
NONE: Final = "none"


@dataclass(frozen=True)
class Label:
    """What one column holds.

    Attributes:
        types: Every type that the column holds, each as the set of names that are right for it; `none` among
            them where finding nothing is right as well.
        reason: Why, where a reader could disagree.
    """

    types: tuple[frozenset[str], ...]
    reason: str

    @property
    def required(self) -> tuple[frozenset[str], ...]:
        """The types that a scan must find."""
        return tuple(names for names in self.types if NONE not in names)

    @property
    def allowed(self) -> frozenset[str]:
        """The types that are no false alarm."""
        return frozenset[str]().union(*self.types) - {NONE}


Table = Mapping[str, Label]


@cache
def labels() -> Mapping[str, Table]:
    """Labels by file (with its folder) and column."""
    tables: dict[str, dict[str, Label]] = {}
    for path in sorted(LABELS.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines):
                table = tables.setdefault(f"{path.stem}/{row['file']}", {})
                assert row["column"] not in table, (path.name, row)
                types = tuple(frozenset(part.split("/")) for part in row["labels"].split())
                table[row["column"]] = Label(types, row["reason"])
    return tables


def read(data: Path, name: str) -> pl.DataFrame:
    """One labelled table as columns of text; nested values as JSON."""
    pattern, _, part = name.partition("#")
    paths = sorted(data.glob(pattern))
    assert paths, name
    headed = "column_0" not in labels()[name]
    return pl.concat([_frame(path, part, headed=headed) for path in paths], how="diagonal")


def _frame(path: Path, part: str, *, headed: bool) -> pl.DataFrame:
    kind = path.name.removesuffix(".gz").rsplit(".", 1)[-1]
    if kind == "csv":
        separator = ";" if b";" in _bytes(path).split(b"\n", 1)[0] else ","
        return pl.read_csv(
            path, infer_schema=False, has_header=headed, separator=separator, truncate_ragged_lines=True
        )
    if kind in {"parquet", "avro"}:
        frame = pl.read_parquet(path) if kind == "parquet" else pl.read_avro(path)
        return frame.cast(pl.String)
    if kind == "sqlite":
        return _sqlite(path, part)
    if kind in {"json", "ndjson"} or "cloudtrail" in path.name:
        return _records(record for record in _documents(path) if part in {"", _kind(record)})
    return pl.DataFrame({"text": [line for member in _members(path) for line in _lines(member)]})


def _sqlite(path: Path, table: str) -> pl.DataFrame:
    uri = f"file:{path}?mode=ro&immutable=1"
    engine = create_engine("sqlite://", creator=lambda: sqlite3.connect(uri, uri=True), poolclass=NullPool)
    found = SqlTable(table, MetaData(), autoload_with=engine)
    with engine.connect() as connection:
        rows = [
            [None if cell is None else str(cell) for cell in row] for row in connection.execute(select(found))
        ]
    return pl.DataFrame(rows, schema=dict.fromkeys(found.columns.keys(), pl.String), orient="row")


def _records(records: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    rows = list(records)
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: [_text(row.get(name)) for row in rows] for name in names}
    return pl.DataFrame(columns, schema=dict.fromkeys(names, pl.String))


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _kind(record: Mapping[str, Any]) -> str:
    return str(record.get("resourceType", ""))


def _documents(path: Path) -> Iterator[Mapping[str, Any]]:
    for member in _members(path):
        lined = ".ndjson" in path.name
        documents = [json.loads(line) for line in member.splitlines()] if lined else [json.loads(member)]
        for document in documents:
            yield from _unpacked(document)


def _unpacked(document: Any) -> Iterator[Mapping[str, Any]]:
    """The records of a delivered file, the resources of a bundle, or the document itself."""
    if isinstance(document, list):
        yield from document
    elif "Records" in document:
        yield from document["Records"]
    elif document.get("resourceType") == "Bundle":
        yield from (entry["resource"] for entry in document["entry"])
    else:
        yield document


def _members(path: Path) -> Iterator[bytes]:
    if not path.name.endswith(".tar.gz"):
        yield _bytes(path)
        return
    with tarfile.open(path) as archive:
        for member in archive:
            content = archive.extractfile(member)
            if content is not None:
                packed = content.read()
                yield gzip.decompress(packed) if member.name.endswith(".gz") else packed


def _bytes(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def _lines(content: bytes) -> list[str]:
    return [line for line in io.StringIO(content.decode("utf-8", "replace")).read().splitlines() if line]
