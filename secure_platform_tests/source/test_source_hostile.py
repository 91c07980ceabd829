"""CSV and gzip made to exhaust or mislead: exactly what is there, or a clear refusal, in bounded memory."""

import gzip
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
from hostile_support import outcome

from secure_platform.contract.model import Column, Contract
from secure_platform.errors import DataRefusedError
from secure_platform.source import stream
from secure_platform.source.csv import CsvSource, check_header
from secure_platform.taxonomy.classification import Classification

MIB = 1 << 20
BOUND = 600 * MIB
"""Peak memory beyond that of the imports, for whatever file."""


def repeated(block: bytes, size: int) -> Iterator[bytes]:
    block *= max(1, MIB // len(block))
    for _ in range(size // len(block)):
        yield block


def long_line() -> Iterator[bytes]:
    yield b"a,b\n1,"
    yield from repeated(b"x", 200 * MIB)


def unterminated_quote() -> Iterator[bytes]:
    yield b'a,b\n1,"'
    yield from repeated(b'line of text, "" and more\n', 200 * MIB)


def many_columns() -> Iterator[bytes]:
    yield b",".join(b"c%d" % i for i in range(300_000))
    yield b"\n" + b"," * 299_999 + b"\n"


def many_short_lines() -> Iterator[bytes]:
    yield b"a\n"
    yield from repeated(b"1\n", 10 * MIB)


def many_empty_lines() -> Iterator[bytes]:
    yield b"a\n"
    yield from repeated(b"\n", 20 * MIB)


def many_quotes() -> Iterator[bytes]:
    yield b"a,b\n"
    yield from repeated(b'"', 24 * MIB)


def many_malformed() -> Iterator[bytes]:
    yield b"a,b\n"
    yield from repeated(b"x\n", 8 * MIB)


def carriage_returns() -> Iterator[bytes]:
    yield b"a,b\r"
    yield from repeated(b"1,2\r", 40 * MIB)


def long_number() -> Iterator[bytes]:
    yield b"a,b\n1," + b"9" * 1_000_000 + b"\n2,1e999\n3,-1e-999\n"


def no_file() -> Iterator[bytes]:
    yield from repeated(b"\0", 100 * MIB)


CASES: dict[str, tuple[Callable[[], Iterator[bytes]], str | tuple[int, int]]] = {
    "a line of 200 MB": (long_line, "more than 16 MiB that starts on line 2"),
    "a quote that is open for 200 MB": (unterminated_quote, "more than 16 MiB that starts on line 2"),
    "300,000 columns": (many_columns, "has 300,000 columns"),
    "five million lines": (many_short_lines, (5 * MIB, 0)),
    "twenty million empty lines": (many_empty_lines, (0, 0)),
    "nothing but quotes": (many_quotes, "more than 16 MiB that starts on line 2"),
    "nothing but short records": (many_malformed, "too many malformed records"),
    "carriage returns only": (carriage_returns, "more than 16 MiB that starts on line 1"),
    "a million digits": (long_number, (3, 0)),
    "zeros": (no_file, "more than 16 MiB that starts on line 1"),
}


def write(path: Path, content: Iterator[bytes], opened: Callable[[Path], BinaryIO]) -> None:
    with opened(path) as file:
        for block in content:
            file.write(block)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_memory_is_bounded_whatever_the_text(tmp_path: Path, name: str) -> None:
    content, expected = CASES[name]
    write(tmp_path / "d.csv", content(), lambda path: path.open("wb"))
    met = outcome(tmp_path)
    assert met.grown < BOUND
    if isinstance(expected, str):
        assert expected in (met.error or "")
    else:
        assert (met.rows, met.malformed, met.error) == (*expected, None)
    (tmp_path / "d.csv").unlink()


@pytest.mark.slow
def test_gzip_of_valid_rows_is_refused_when_it_is_out_of_proportion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "ALWAYS_ALLOWED", MIB)

    def rows(content: bytes) -> int:
        (tmp_path / "d.csv.gz").write_bytes(gzip.compress(content, mtime=0))
        source = CsvSource(tmp_path / "d.csv.gz")
        return sum(batch.frame.height for batch in source.batches())

    honest = b"a,b\n" + b"".join(b"%d,%d\n" % (number, number * 7) for number in range(200_000))
    assert rows(honest) == 200_000
    assert rows(b"a,b\n" + b"1,2\n" * (MIB // 4 - 1)) == MIB // 4 - 1
    with pytest.raises(DataRefusedError, match=r"'d\.csv\.gz' unpacks to far more than its size allows"):
        rows(b"a,b\n" + b"1,2\n" * (MIB // 4))


def test_a_gzip_bomb_is_met_as_the_line_that_it_is(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "d.csv.gz", "wb", compresslevel=1) as file:
        for _ in range(1024):
            file.write(b"\0" * MIB)
    assert (tmp_path / "d.csv.gz").stat().st_size < 8 * MIB
    met = outcome(tmp_path)
    assert "more than 16 MiB that starts on line 1" in (met.error or "")
    assert met.grown < BOUND


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "cp1252"])
@pytest.mark.parametrize("text", ["naïve,b\n1,2\n", "é,b\r\n1,ü\r\n"])
def test_no_other_encoding_is_taken_for_utf8(tmp_path: Path, encoding: str, text: str) -> None:
    (tmp_path / "d.csv").write_bytes(text.encode(encoding))
    with pytest.raises(DataRefusedError, match=r"breaks the rule '(encoding|nul_byte)'"):
        CsvSource(tmp_path / "d.csv")


@pytest.mark.parametrize("encoding", ["cp1252", "cp037", "shift_jis", "gb18030", "utf-16", "utf-7"])
def test_a_cell_in_another_encoding_is_set_aside_or_what_its_bytes_say(tmp_path: Path, encoding: str) -> None:
    cell = "Grüße".encode(encoding) if encoding != "shift_jis" else "日本語".encode(encoding)
    (tmp_path / "d.csv").write_bytes(b"a,b\n1," + cell + b"\n2,ok\n")
    (batch,) = CsvSource(tmp_path / "d.csv").batches()
    texts = batch.frame["b"].to_list()
    assert texts[-1] == "ok"
    assert (len(batch.malformed), len(texts)) in {(1, 1), (2, 1)} or texts[0].encode() == cell


LOOK_ALIKES = {
    "case": "PATIENT_ID",
    "full width": "\uff50atient_id",
    "zero width": "patient\u200b_id",
    "bidi": "patient\u202e_id",
    "blank behind": "patient_id ",
    "another letter": "p\u0430tient_id",
    "combining": "patient_i\u0323d",
    "mark within": "\ufeffpatient_id",
}


@pytest.mark.parametrize("name", LOOK_ALIKES)
def test_a_column_that_looks_like_another_is_not_taken_for_it(tmp_path: Path, name: str) -> None:
    declared = Contract(
        dataset="d",
        version="1.0.0",
        description="",
        owner="team:x",
        columns=(
            Column("patient_id", "string", "", Classification.INTERNAL),
            Column("b", "string", "", Classification.INTERNAL),
        ),
        source_file="d.csv",
        digest="",
    )
    other = LOOK_ALIKES[name]
    (tmp_path / "d.csv").write_text(f"b,{other}\n1,2\n", encoding="utf-8")
    header = CsvSource(tmp_path / "d.csv").header
    assert header == ("b", other)
    with pytest.raises(DataRefusedError, match="lacks columns: patient_id") as caught:
        check_header(declared, header)
    assert str(caught.value).isprintable()
    (tmp_path / "d.csv").write_text(f"b,patient_id,{other}\n1,2,3\n", encoding="utf-8")
    with pytest.raises(DataRefusedError, match="1 columns that its contract does not name") as caught:
        check_header(declared, CsvSource(tmp_path / "d.csv").header)
    assert str(caught.value).isprintable()


def test_composed_and_decomposed_names_are_two_columns(tmp_path: Path) -> None:
    names = [unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")]
    (tmp_path / "d.csv").write_text(",".join(names) + "\n1,2\n", encoding="utf-8")
    assert list(CsvSource(tmp_path / "d.csv").header) == names
