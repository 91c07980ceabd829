"""CSV text of every honest and dishonest kind, against Python's own reader where the two must agree."""

import csv
import gzip
import hashlib
import io
import json
import os
import random
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from secure_platform.errors import DataRefusedError
from secure_platform.source import csv as source_csv
from secure_platform.source.csv import LINE, CsvSource, Malformed
from secure_platform.source.records import RECORD_LIMIT

Row = tuple[str | None, ...]
Write = Callable[[bytes], Path]

CANARY = "CANARY-7f3a"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(content: bytes, name: str = "data.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


def read(path: Path, size: int = 16 << 20) -> tuple[tuple[str, ...], list[Row], list[int], list[Malformed]]:
    """Header, rows, the line of each row, and malformed records."""
    source = CsvSource(path)
    batches = list(source.batches(bytes_per_batch=size))
    frame = pl.concat([batch.frame for batch in batches])
    assert frame.schema == {LINE: pl.UInt64, **dict.fromkeys(source.header, pl.String)}
    malformed = [record for batch in batches for record in batch.malformed]
    return source.header, frame.drop(LINE).rows(), frame[LINE].to_list(), malformed


def refusal(path: Path) -> str:
    with pytest.raises(DataRefusedError) as caught:
        read(path)
    error = caught.value
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None
    assert CANARY not in f"{error!r} {error}"
    return str(error)


# Agreement with Python's csv module

cells = st.text(st.sampled_from(list("ab,\"\n\r \té😀\ufeff\u2028\x01^x'#\\")), max_size=6)
forced_quotes = st.booleans()


@st.composite
def tables(draw: st.DrawFn) -> tuple[str, str]:
    """An RFC 4180 text and its line end: quotes where they must be, and at random elsewhere."""
    width = draw(st.integers(min_value=1, max_value=4))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    rows = draw(st.lists(st.lists(cells, min_size=width, max_size=width), max_size=8))

    def field(cell: str) -> str:
        must = any(character in cell for character in ',"\r\n') or (width == 1 and not cell)
        return '"' + cell.replace('"', '""') + '"' if must or draw(forced_quotes) else cell

    lines = [",".join(f"c{i}" for i in range(width)), *(",".join(map(field, row)) for row in rows)]
    last = draw(st.sampled_from([end, "", end + end]))
    return end.join(lines) + last, end


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(tables(), st.sampled_from([1, 7, 64, 1 << 20]))
@example(("c0\nx^\nx\x01\n\ufeff\n", "\n"), 1)
def test_reads_what_the_csv_module_reads(tmp_path: Path, table: tuple[str, str], size: int) -> None:
    text, _ = table
    path = tmp_path / "data.csv"
    path.write_bytes(text.encode())
    records = [record for record in csv.reader(io.StringIO(text, newline=""), strict=True) if record]
    header, rows, lines, malformed = read(path, size)
    assert malformed == []
    assert list(header) == records[0]
    assert rows == [tuple(cell or None for cell in record) for record in records[1:]]
    assert lines == lines_of(text)[1:]


def lines_of(text: str) -> list[int]:
    """The physical line on which each record starts; after an odd number of quotes, a line feed ends none."""
    starts, line, start, quotes = [], 1, 0, 0
    for position, character in enumerate(text + "\n"):
        quotes += character == '"'
        if character == "\n":
            if quotes % 2 == 0:
                if text[start:position].strip("\r"):
                    starts.append(line - text[start:position].count("\n"))
                start = position + 1
            line += 1
    return starts


def test_reads_megabytes_of_quoted_line_breaks_as_the_csv_module_does(write: Write) -> None:
    pick = random.Random(3)  # noqa: S311 — any repeatable choice will do.
    values = ["", "a", 'say ""x""', "one\ntwo", "\r\n\r\n", "x,y", "é" * 40, "1.5", "\n\n\n", '""']
    lines = [",".join(f'"{pick.choice(values)}"' for _ in range(3)) for _ in range(60_000)]
    text = "\n".join(["a,b,c", *lines])
    _, rows, _, malformed = read(write(text.encode()), 1 << 20)
    records = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert malformed == []
    assert rows == [tuple(cell or None for cell in record) for record in records[1:]]


# Third-party torture files


def test_csv_spectrum(shared_data: Path, write: Write) -> None:
    directory = shared_data / "torture" / "csv_spectrum"
    paths = sorted((directory / "csvs").glob("*.csv"))
    assert len(paths) == 12
    # Degrees, minutes and seconds with bare quotes: lenient readers guess, RFC 4180 does not allow it.
    stray = directory / "csvs" / "location_coordinates.csv"
    assert [(record.line, record.rule) for record in read(stray)[3]] == [(2, "quoting")]
    for path in set(paths) - {stray}:
        expected = json.loads((directory / "json" / f"{path.stem}.json").read_text("utf-8"))
        content = path.read_bytes()
        if path.stem.endswith("_crlf"):  # Stored with LF; what it should be read as has CRLF.
            content = content.replace(b"\n", b"\r\n")
        header, rows, _, malformed = read(write(content))
        assert malformed == [], path.name
        assert [dict(zip(header, row, strict=True)) for row in rows] == [
            {name: value or None for name, value in record.items()} for record in expected
        ], path.name


def test_every_record_of_the_dataprofiler_files_is_accounted_for(shared_data: Path, write: Write) -> None:
    with tarfile.open(shared_data / "torture" / "dataprofiler_csv.tar.gz") as archive:
        members = {m.name: archive.extractfile(m).read() for m in archive if m.isfile()}  # type: ignore[union-attr]
    outcomes = {name: account(write(content), content) for name, content in members.items()}
    assert len(outcomes) == 60
    assert sum(outcome == "read" for outcome in outcomes.values()) >= 25
    refused = {Path(name).name for name, outcome in outcomes.items() if outcome == "refused"}
    assert {"empty.csv", "iris-utf-16.csv", "iris-utf-32.csv"} <= refused


def account(path: Path, content: bytes) -> str:
    """Read a file of unknown quality; whatever happens, nothing is lost and nothing is told."""
    try:
        header, rows, lines, malformed = read(path, 4096)
    except DataRefusedError as error:
        told = str(error)
        assert not any(word in told for word in content.decode("latin-1").split() if len(word) > 8)
        return "refused"
    text = content.decode("utf-8-sig", errors="replace")
    assert len(set(lines)) == len(lines)
    if malformed:
        told_lines = {record.line for record in malformed} | set(lines)
        plain = [
            number for number, line in enumerate(text.split("\n"), 1) if line.strip("\r") and '"' not in line
        ]
        assert '"' in text or set(plain[1:]) <= told_lines
        return "malformed"
    records = [record for record in csv.reader(io.StringIO(text, newline="")) if record]
    assert list(header) == records[0]
    assert rows == [tuple(cell or None for cell in record) for record in records[1:]]
    return "read"


def test_hostile_strings_come_back_exactly(
    naughty_strings: list[str], shared_data: Path, write: Write
) -> None:
    payloads = (shared_data / "torture" / "csv_injection_payloads.txt").read_text("utf-8").splitlines()
    strings = [text for text in naughty_strings + payloads if "\0" not in text]
    assert len(strings) > 500
    content = "id,text\n" + "".join(
        f'{i},"{text.replace(chr(34), chr(34) * 2)}"\n' for i, text in enumerate(strings)
    )
    _, rows, _, malformed = read(write(content.encode()), 512)
    assert malformed == []
    assert rows == [(str(i), text or None) for i, text in enumerate(strings)]


# What is set aside


@pytest.mark.parametrize(
    ("record", "rule"),
    [
        (b"1", "field_count"),
        (b"1,2,3", "field_count"),
        (b"1,2,", "field_count"),
        (b'"1,2"', "field_count"),
        (b" ", "field_count"),
        (b"1,\xff", "encoding"),
        (b"1,\xc0\xaf", "encoding"),
        (b"1,\xed\xa0\x80", "encoding"),
        (b"1,\xc3", "encoding"),
        (b'1,"\xe9"', "encoding"),
        (b"1,a\0b", "nul_byte"),
        (b'1,"\0"', "nul_byte"),
        (b'1,a"b', "quoting"),
        (b'1,"a"b', "quoting"),
        (b'1, "a"', "quoting"),
        (b'1,"a" ', "quoting"),
        (b'1,a""', "quoting"),
        (b'1,"a""b"c"', "quoting"),
        (b"1,a\rb", "quoting"),
        (b'1,"a"\rb', "quoting"),
        (b"1,2,\xff\0", "encoding"),
        (b"1,2,\0", "nul_byte"),
    ],
)
@pytest.mark.parametrize("size", [1, 1 << 20])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_malformed_record_is_set_aside_alone(
    write: Write, record: bytes, rule: str, size: int, end: bytes
) -> None:
    content = end.join([b"a,b", b'first,"x\ny"', record, b"last,z", b""])
    _, rows, lines, malformed = read(write(content), size)
    assert rows == [("first", "x\ny"), ("last", "z")]
    assert lines == [2, 5]
    assert [(m.line, m.rule, m.record) for m in malformed] == [(4, rule, record)]


def test_the_last_record_is_judged_without_a_line_end(write: Write) -> None:
    for record, rule in [(b"1", "field_count"), (b'1,a"', "quoting"), (b"1,\xc3", "encoding")]:
        _, rows, _, malformed = read(write(b"a,b\nx,y\n" + record))
        assert rows == [("x", "y")]
        assert [(m.line, m.rule, m.record) for m in malformed] == [(3, rule, record)]
    assert read(write(b"a,b\nx,y\r"))[1] == [("x", "y")]


def test_every_line_that_a_stray_quote_swallows_is_counted(write: Write) -> None:
    content = b'a,b\n1,"open\n2,x\n3,y\n4,"z"\n5,w\n'
    _, rows, lines, malformed = read(write(content))
    assert rows == [("5", "w")]
    assert lines == [6]
    assert [(m.line, m.rule, m.record) for m in malformed] == [
        (2, "quoting", b'1,"open'),
        (3, "quoting", b"2,x"),
        (4, "quoting", b"3,y"),
        (5, "quoting", b'4,"z"'),
    ]


def test_line_numbers_are_those_of_an_editor(write: Write) -> None:
    content = b'\xef\xbb\xbf\r\n\na,b\r\n\r\n1,"x\r\n\r\ny"\r\n\n2,z\n3\n4,q'
    header, rows, lines, malformed = read(write(content), 5)
    assert header == ("a", "b")
    assert rows == [("1", "x\r\n\r\ny"), ("2", "z"), ("4", "q")]
    assert lines == [5, 9, 11]
    assert [m.line for m in malformed] == [10]


def test_empty_fields_are_null_and_nothing_else_is(write: Write) -> None:
    _, rows, _, _ = read(write(b'a,b,c\n,"", \nnull,NA,""""\n'))
    assert rows == [(None, None, " "), ("null", "NA", '"')]


def test_malformed_records_are_not_shown(write: Write) -> None:
    source = CsvSource(write(f"a,b\n{CANARY}\n{CANARY},x\n".encode()))
    (batch,) = source.batches()
    assert batch.malformed[0].record == CANARY.encode()
    assert CANARY not in f"{batch!r} {batch.malformed!r} {source!r}"


def test_the_header_is_no_row_wherever_blocks_end(write: Write) -> None:
    wide = ",".join(f"column_{i}" for i in range(9_000))
    path = write(f"{wide}\n{','.join(['x'] * 9_000)}\n".encode())
    assert len(wide) > source_csv.HEADER_BLOCK
    header, rows, lines, _ = read(path, 1000)
    assert (len(header), len(rows), lines) == (9_000, 1, [2])


# What is refused as a whole


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n\r\n\n", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"a,a\n", "columns 1 and 2 the same name"),
        (b'a,"a"\n', "columns 1 and 2 the same name"),
        (b"a,,b\n", "no name for column 2"),
        (b'a,""\n', "no name for column 2"),
        (b"a,__line\n", "__line"),
        (b"a,\xff\n", "'encoding'"),
        ("a,b\n1,2\n".encode("utf-16"), "'encoding'"),
        ("a,b\n1,2\n".encode("utf-16-le"), "'nul_byte'"),
        (b'a,b"c\n', "'quoting'"),
        (b"a,b\rc,d\r", "'quoting'"),
        (f"{CANARY},{CANARY}\n1,2\n".encode(), "columns 1 and 2 the same name"),
        (f'a,b\n1,"{CANARY}\n2,x\n'.encode(), "record that starts on line 2"),
        (b'a,b\n1,2\n"', "record that starts on line 3"),
        (b'a,"b\n1,2\n', "record that starts on line 1"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0), "'encoding'"),
    ],
)
def test_a_file_that_cannot_be_trusted_is_refused(write: Write, content: bytes, words: str) -> None:
    message = refusal(write(content))
    assert words in message
    assert "data.csv" in message


def test_too_many_columns_are_refused(write: Write) -> None:
    names = [f"c{i}" for i in range(10_001)]
    assert len(CsvSource(write(",".join(names[:-1]).encode())).header) == 10_000
    assert "10,001 columns" in refusal(write(",".join(names).encode()))


def test_a_header_alone_is_an_empty_dataset(write: Write) -> None:
    for content in (b"a,b", b"a,b\n", b"a,b\r\n\r\n"):
        assert read(write(content)) == (("a", "b"), [], [], [])


def test_a_record_may_not_exceed_the_limit_whatever_the_batch(write: Write) -> None:
    limit = RECORD_LIMIT
    for excess, broken in [(0, b""), (1, b""), (1, b"x")]:
        inner = b"x\n" * ((limit - 6) // 2)
        content = b'a\n1\n"' + inner + b"z" * (limit - len(inner) - 3 + excess) + b'"' + broken + b"\n"
        path = write(content)
        for size in (1 << 20, 64 << 20):
            if excess:
                with pytest.raises(DataRefusedError, match=r"more than 16 MiB that starts on line 3"):
                    read(path, size)
            else:
                assert len(read(path, size)[1]) == 2


def test_a_file_of_malformed_records_ends_in_refusal_not_in_memory(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_csv, "MALFORMED_BUDGET", 300 * (source_csv.MALFORMED_COST + len(b"x\n")))
    assert len(read(write(b"a,b\n" + b"x\n" * 300), 64)[3]) == 300
    assert "too many malformed" in refusal(write(b"a,b\n" + b"x\n" * 301))


def test_a_disagreement_with_polars_is_refused(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(b"a,b\n1,2\n")
    source = CsvSource(path)
    monkeypatch.setattr(
        pl, "read_csv", lambda *_args, **_options: pl.DataFrame({"0": ["1", "2"], "1": ["x", "y"]})
    )
    with pytest.raises(DataRefusedError, match="in another way"):
        list(source.batches())


# Files, gzip, memory

BODY = b"a,b\n" + b"".join(b"%d,value %d\n" % (i, i * 7919) for i in range(60_000))


def test_gzip_is_read_like_the_plain_file(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_bytes(BODY)
    half = len(BODY) // 2
    members = {
        "one.csv.gz": gzip.compress(BODY, mtime=0),
        "many.csv.gz": gzip.compress(BODY[:half], mtime=0)
        + gzip.compress(b"", mtime=0)
        + gzip.compress(BODY[half:], mtime=0),
        "padded.csv.gz": gzip.compress(BODY, mtime=0) + b"\0" * 512,
    }
    expected = read(tmp_path / "p.csv")
    assert len(expected[1]) == 60_000
    for name, content in members.items():
        (tmp_path / name).write_bytes(content)
        assert read(tmp_path / name, 100_000) == expected, name


@pytest.mark.parametrize(
    "damage",
    [
        lambda z: z[:-1],
        lambda z: z[:-8],
        lambda z: z[: len(z) // 2],
        lambda z: z[:5],
        lambda z: z[: len(z) // 2] + bytes([z[len(z) // 2] ^ 0x55]) + z[len(z) // 2 + 1 :],
        lambda z: z[:-5] + bytes([z[-5] ^ 1]) + z[-4:],
        lambda z: z + b"garbage",
        lambda z: z + z[:20],
        lambda z: z[:10] + b"\xff" * 40,
        lambda _: BODY,
    ],
)
def test_damaged_gzip_is_refused(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "data.csv.gz"
    path.write_bytes(damage(gzip.compress(BODY, mtime=0)))
    assert "not a complete gzip file" in refusal(path)


def test_an_empty_gzip_file_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "data.csv.gz"
    for content in (b"", gzip.compress(b"", mtime=0)):
        path.write_bytes(content)
        assert "is empty" in refusal(path)


def test_only_regular_files_are_opened(tmp_path: Path, write: Write) -> None:
    target = write(b"a\n1\n")
    (tmp_path / "link.csv").symlink_to(target)
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "directory.csv").mkdir()
    assert "cannot be opened" in refusal(tmp_path / "link.csv")
    assert "cannot be opened" in refusal(tmp_path / "missing.csv")
    assert "not a regular file" in refusal(tmp_path / "pipe.csv")
    assert "not a regular file" in refusal(tmp_path / "directory.csv")
    assert "not a regular file" in refusal(Path("/dev/null"))


@pytest.mark.parametrize("change", ["append", "replace", "truncate"])
def test_a_file_that_changes_is_refused(write: Write, change: str) -> None:
    path = write(BODY)
    source = CsvSource(path)
    batches = source.batches(bytes_per_batch=20_000)
    next(batches)
    if change == "append":
        with path.open("ab") as file:
            file.write(b"1,2\n")
    elif change == "truncate":
        os.truncate(path, 100_000)
    else:
        os.utime(path, ns=(1, 1))
    with pytest.raises(DataRefusedError, match="changed while it was read"):
        list(batches)
    with pytest.raises(DataRefusedError, match="changed while it was read"):
        source.fingerprint()


def test_fingerprint_is_of_the_stored_bytes(tmp_path: Path) -> None:
    for name, content in {"a.csv": BODY, "a.csv.gz": gzip.compress(BODY, mtime=0)}.items():
        (tmp_path / name).write_bytes(content)
        assert CsvSource(tmp_path / name).fingerprint() == f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_memory_does_not_grow_with_the_file_or_the_line(tmp_path: Path) -> None:
    rows = b"".join(b"%d,%s\n" % (i, b"v" * 90) for i in range(10_000))
    with gzip.open(tmp_path / "rows.csv.gz", "wb", compresslevel=1) as file:
        file.write(b"a,b\n")
        for _ in range(300):
            file.write(rows)
    with gzip.open(tmp_path / "line.csv.gz", "wb", compresslevel=1) as file:
        file.write(b'a,b\n1,"')
        for _ in range(200):
            file.write(b"x" * (1 << 20))
    outcomes = [peak(tmp_path / name) for name in ("rows.csv.gz", "line.csv.gz")]
    assert [outcome["rows"] for outcome in outcomes] == [3_000_000, None]
    assert outcomes[1]["error"] == "DataRefusedError"
    assert all(outcome["grown"] < 400 << 20 for outcome in outcomes), outcomes


def peak(path: Path) -> dict[str, Any]:
    """Read a file in a process of its own; peak memory beyond that of the imports, in bytes."""
    program = """
import json, sys
from pathlib import Path
from secure_platform.errors import DataRefusedError
from secure_platform.source.csv import CsvSource
def high_water():
    status = Path("/proc/self/status").read_text().split()
    return int(status[status.index("VmHWM:") + 1])
before = high_water()
rows, error = 0, None
try:
    for batch in CsvSource(Path(sys.argv[1])).batches():
        rows += batch.frame.height
        del batch
except DataRefusedError as refused:
    rows, error = None, type(refused).__name__
print(json.dumps({"rows": rows, "error": error, "grown": (high_water() - before) << 10}))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    outcome: dict[str, Any] = json.loads(done.stdout)
    return outcome
