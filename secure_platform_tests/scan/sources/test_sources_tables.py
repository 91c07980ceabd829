"""Tables of every format: all of it is read, wherever it stands, and told by column."""

import gzip
import io
import json
import os
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from inspected import EMAILS, INSPECTION, found, inspect, inspect_bytes, workbook, zipped

from secure_platform.cli.scan_targets import called
from secure_platform.scan.sources import database
from secure_platform.scan.sources import json as json_source
from secure_platform.scan.sources.database import sqlite_tables
from secure_platform.scan.sources.documents import Document, MemoryDocument, SkippedError
from secure_platform.scan.sources.names import unique
from secure_platform.scan.sources.spool import spool
from secure_platform.scan.sources.stray import Stray
from secure_platform.store import parquet as parquet_store

ROWS = [{"id": str(n), "email": email} for n, email in enumerate(EMAILS, start=1)]


def csv(delimiter: str = ",", end: str = "\n") -> str:
    return "".join(delimiter.join(row) + end for row in (("id", "email"), *(tuple(r.values()) for r in ROWS)))


def parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue().to_pybytes())


TABLES = {
    "a.csv": csv().encode(),
    "semicolon.csv": csv(";").encode(),
    "pipe.csv": csv("|", "\r\n").encode(),
    "a.tsv": csv("\t").encode(),
    "mark.csv": csv(";").encode("utf-8-sig"),
    "wide.csv": csv("\t").encode("utf-16"),
    "windows.csv": csv().replace("id,", "größe,").replace("1,", "groß,").encode("cp1252"),
    "packed.csv.gz": gzip.compress(csv().encode()),
    "lines.ndjson": "\n".join(map(json.dumps, ROWS)).encode(),
    "array.json": json.dumps(ROWS, indent=1).encode(),
    "a.parquet": parquet(pa.table({"id": [1, 2, 3], "email": list(EMAILS)})),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_told_by_its_columns(tmp_path: Path, name: str) -> None:
    section = inspect_bytes(tmp_path, name, TABLES[name])
    assert (name, "email", "EMAIL") in found(section)
    (scanned,) = section.scanned
    assert (scanned.kind, scanned.rows, scanned.columns[1]) == ("table", 3, "email")
    assert section.skipped == []


def test_tables_in_archives_are_tables(tmp_path: Path) -> None:
    inner = {f"in/{name}": content for name, content in TABLES.items()}
    section = inspect_bytes(
        tmp_path, "all.zip", zipped({**inner, "b.xlsx": workbook({"S": [["email"], *([e] for e in EMAILS)]})})
    )
    wanted = {f"all.zip!/in/{name}" for name in TABLES} | {"all.zip!/b.xlsx!/S"}
    assert {
        source for source, column, kind in found(section) if (column, kind) == ("email", "EMAIL")
    } == wanted
    assert section.skipped == []


def test_every_sheet_of_a_workbook_is_a_table_and_the_rest_of_it_is_text(tmp_path: Path) -> None:
    sheets = {
        "One": [["id", "email"], *([r["id"], r["email"]] for r in ROWS)],
        "Two": [["mail"], *([e] for e in EMAILS)],
    }
    section = inspect_bytes(tmp_path, "b.xlsx", workbook(sheets, note=f"made by {EMAILS[0]}"))
    assert {
        ("b.xlsx!/One", "email", "EMAIL"),
        ("b.xlsx!/Two", "mail", "EMAIL"),
        ("b.xlsx!/docProps/core.xml", None, "EMAIL"),
    } <= found(section)


def test_a_formula_counts_by_the_value_that_was_saved_with_it(tmp_path: Path) -> None:
    sheets = {"One": [["email"], *([email] for email in EMAILS)]}
    section = inspect_bytes(tmp_path, "b.xlsx", workbook(sheets, formula='HYPERLINK("http://x/"&A2)'))
    assert ("b.xlsx!/One", "email", "EMAIL") in found(section)


def test_records_that_are_none_of_the_table_are_searched_as_text(tmp_path: Path) -> None:
    stray = f"1,2,3,4,write to {EMAILS[0]}"
    section = inspect_bytes(tmp_path, "a.csv", f"id,text\n1,a\n{stray}\n2,b\n".encode())
    (finding,) = [each for each in section.findings if each.info_type == "EMAIL"]
    assert (finding.column, finding.spans[0].line) == (None, 3)
    assert section.scanned[0].rows == 2


@pytest.mark.parametrize(
    "content",
    [
        '{"a": 1}\n{"a": broken EMAIL\n',
        '{"a": "x", "a": "EMAIL"}\n{"a": "y"}\n',
        '["EMAIL"]\n{"a": 1}\n',
        '"EMAIL"\n',
    ],
    ids=["broken", "a member twice", "no object", "a value"],
)
def test_lines_that_are_no_objects_are_searched_as_text(tmp_path: Path, content: str) -> None:
    section = inspect_bytes(tmp_path, "a.ndjson", content.replace("EMAIL", EMAILS[0]).encode())
    assert [each.info_type for each in section.findings if each.column is None] == ["EMAIL"]


@pytest.mark.parametrize(
    "content",
    [
        '[{"a": "EMAIL"}, {"a": ',
        '{"a": "EMAIL"}',
        '[{"a": 1}] "EMAIL"',
        '["EMAIL"]',
        "[" * 100_000 + '"EMAIL"',
    ],
    ids=["cut", "object", "more", "array of texts", "deep"],
)
def test_json_that_is_no_array_of_objects_is_text(tmp_path: Path, content: str) -> None:
    section = inspect_bytes(tmp_path, "a.json", content.replace("EMAIL", EMAILS[0]).encode())
    assert [each.kind for each in section.scanned] == ["text"]
    assert found(section) >= {("a.json", None, "EMAIL")}


def test_objects_need_not_have_the_same_members(tmp_path: Path) -> None:
    rows = [{"a": 1}, {"b": {"email": EMAILS[0]}}, {"a": "\ud800", "mail": EMAILS[1]}]
    section = inspect_bytes(tmp_path, "a.ndjson", "\n".join(map(json.dumps, rows)).encode())
    assert section.scanned[0].columns == ("a", "b", "mail")
    assert {("a.ndjson", "b", "EMAIL"), ("a.ndjson", "mail", "EMAIL")} <= found(section)


@pytest.mark.parametrize("read", [json_source.lines, json_source.array], ids=["lines", "array"])
def test_long_cells_are_given_on_before_they_fill_the_memory(
    read: Callable[[Document], Iterator[pl.DataFrame | Stray]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_source, "_CHARACTERS", 1000)
    objects = [json.dumps({"note": "x" * 400}) for _ in range(20)]
    text = f"[{','.join(objects)}]" if read is json_source.array else "\n".join(objects)
    heights = [
        len(rows)
        for rows in read(MemoryDocument("a", io.BytesIO(text.encode())))
        if isinstance(rows, pl.DataFrame)
    ]
    assert sum(heights) == 20
    assert max(heights) == 3


def test_nested_columns_and_foreign_types_of_parquet_are_searched(tmp_path: Path) -> None:
    people = [{"contact": {"mails": [email]}} for email in EMAILS]
    table = pa.table(
        {
            "people": people,
            "raw": pa.array([e.encode() for e in EMAILS]),
            "t": pa.array([1, 2, 3], pa.time64("us")),
        }
    )
    section = inspect_bytes(tmp_path, "a.parquet", parquet(table))
    assert {("a.parquet", "people", "EMAIL"), ("a.parquet", "raw", "EMAIL")} <= found(section)


def test_every_table_of_an_sqlite_file_is_scanned(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with sqlite3.connect(path) as connection:
        connection.execute('CREATE TABLE "od""d name" ("email;--" TEXT, data BLOB)')
        connection.executemany('INSERT INTO "od""d name" VALUES (?, ?)', [(e, b"\xff") for e in EMAILS])
        connection.execute("CREATE TABLE empty (email TEXT)")
    connection.close()
    section = sqlite_tables(path, "a.db", INSPECTION)
    assert ('a.db!/od"d name', "email;--", "EMAIL") in found(section)
    assert [(each.source, each.rows) for each in section.scanned] == [
        ("a.db!/empty", 0),
        ('a.db!/od"d name', 3),
    ]


def sqlite_file(path: Path, *cells: str, beside: str = "") -> Path:
    """A table with one column of cells, and what else its schema says."""
    with sqlite3.connect(path) as connection:
        connection.execute(f"CREATE TABLE t (a{beside})")
        connection.executemany("INSERT INTO t (a) VALUES (?)", [(cell,) for cell in cells])
    connection.close()
    return path


@pytest.mark.parametrize("length", [300, 16])
def test_an_sqlite_file_that_cannot_be_read_is_told_as_one(length: int, tmp_path: Path) -> None:
    path = sqlite_file(tmp_path / "a.db")
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(SkippedError, match="an SQLite file"):
        sqlite_tables(path, "a.db", INSPECTION)


def test_a_cell_that_only_the_schema_makes_long_is_not_held(tmp_path: Path) -> None:
    path = sqlite_file(tmp_path / "a.db", "x", beside=", b AS (hex(zeroblob(20000000)))")
    (skipped,) = sqlite_tables(path, "a.db", INSPECTION).skipped
    assert skipped.source == "a.db!/t"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere file names are text")
def test_a_database_whose_name_is_no_text_is_scanned(tmp_path: Path) -> None:
    path = sqlite_file(tmp_path / "a.db", *EMAILS)
    odd = path.rename(tmp_path / os.fsdecode(b"\xff.db"))
    assert found(sqlite_tables(odd, "x", INSPECTION)) == {("x!/t", "a", "EMAIL")}


def test_long_rows_of_a_database_come_in_smaller_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "FIRST_ROWS", 4)
    monkeypatch.setattr(database, "BYTES", 3000)
    path = sqlite_file(tmp_path / "a.db", *["x" * 1000] * 10)
    heights: list[int] = []
    frame = database._frame

    def watched(part: Sequence[Sequence[str]], names: Sequence[str]) -> pl.DataFrame:
        heights.append(len(part))
        return frame(part, names)

    monkeypatch.setattr(database, "_frame", watched)
    sqlite_tables(path, "a.db", INSPECTION)
    assert heights == [4, 3, 3]


def test_a_table_larger_than_memory_may_hold_is_read_in_encrypted_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    seen: list[bytes] = []
    write = parquet_store.write

    def watched(path: Path, frame: pl.LazyFrame, secret: parquet_store.FileKey) -> list[pl.DataFrame]:
        result = write(path, frame, secret)
        seen.append(path.read_bytes())
        return result

    monkeypatch.setattr(parquet_store, "write", watched)
    with spool(part=1000) as spooled:
        for batch in range(6):
            spooled.add(pl.DataFrame({"email": [f"user{batch}.{n}@example.org" for n in range(40)]}))
        assert len(seen) > 2
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
        spooled.add(pl.DataFrame({"other": ["x"]}))
        frame = spooled.frame()
        assert frame.filter(pl.col("other") == "x").select("email").collect().to_series().to_list() == [None]
        assert frame.head(41).collect().height == 41
        assert frame.collect().height == frame.collect().height == spooled.rows == 241
    assert not any(b"example.org" in content or b"email" in content for content in seen)
    assert list(tmp_path.iterdir()) == []


def test_column_names_that_are_missing_or_repeated_are_made_unique(tmp_path: Path) -> None:
    assert unique([None, "a", "a", "a (2)", ""]) == ("column 1", "a", "a (2)", "a (2) (2)", "column 5")
    section = inspect_bytes(tmp_path, "a.csv", b",a,a\n1,2,3\n")
    assert section.scanned[0].columns == ("column 1", "a", "a (2)")


def test_files_are_called_as_the_user_called_them(tmp_path: Path) -> None:
    assert (called(tmp_path), called(tmp_path / "a.txt"), called(Path())) == (
        f"{tmp_path}/",
        f"{tmp_path}/a.txt",
        "",
    )
    (tmp_path / "a.csv").write_bytes(TABLES["a.csv"])
    assert [each.source for each in inspect(tmp_path).scanned] == ["a.csv"]
