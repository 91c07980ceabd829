"""Parquet as a source: the same table as its CSV, and nothing that a hostile file promises is believed."""

import io
import os
import tarfile
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hostile_support import outcome

from secure_platform.errors import DataRefusedError, SecurePlatformError
from secure_platform.source import parquet_process
from secure_platform.source.csv import LINE, CsvSource, Malformed
from secure_platform.source.parquet import MEMORY, ParquetSource

BOUND = 300 << 20
CANARY = "canary-5d1e"


def read(path: Path) -> tuple[pl.DataFrame, list[Malformed]]:
    batches = list(ParquetSource(path).batches())
    return pl.concat([batch.frame for batch in batches]), [m for batch in batches for m in batch.malformed]


def refusal(path: Path) -> str:
    with pytest.raises(DataRefusedError) as caught:
        read(path)
    assert caught.value.__cause__ is None
    assert path.name in str(caught.value)
    assert CANARY not in str(caught.value)
    return str(caught.value)


def test_a_table_is_the_same_as_its_csv(tmp_path: Path) -> None:
    at = datetime(2020, 2, 29, 3, 4, 5, 120_000, tzinfo=UTC)
    table = pa.table(
        {
            "text": ["é", "", None],
            "bytes": pa.array([b"a", b"=1", None], pa.binary()),
            "word": pa.array(["x", "y", "x"]).dictionary_encode(),
            "small": pa.array([-1, 0, None], pa.int8()),
            "large": pa.array([2**64 - 1, 0, 1], pa.uint64()),
            "number": [0.1, 1e20, float("nan")],
            "single": pa.array([0.1, -0.0, float("-inf")], pa.float32()),
            "money": pa.array([Decimal("1.10"), Decimal("-0.01"), None], pa.decimal128(20, 2)),
            "flag": [True, False, None],
            "day": [date(1, 1, 1), date(9999, 12, 31), None],
            "seen": pa.array([at, at + timedelta(microseconds=5), None], pa.timestamp("us", "UTC")),
            "local": pa.array([at.replace(tzinfo=None), None, None], pa.timestamp("ms")),
            "nothing": pa.nulls(3),
        }
    )
    pq.write_table(table, tmp_path / "d.parquet")
    frame, malformed = read(tmp_path / "d.parquet")
    assert malformed == []
    (tmp_path / "d.csv").write_text(
        ",".join(table.column_names) + "\n"
        "é,a,x,-1,18446744073709551615,0.1,0.1,1.10,true,0001-01-01,2020-02-29T03:04:05.12Z,"
        "2020-02-29T03:04:05.12,\n"
        ",=1,y,0,0,1e+20,-0,-0.01,false,9999-12-31,2020-02-29T03:04:05.120005Z,,\n"
        ",,x,,1,nan,-inf,,,,,,\n",
        encoding="utf-8",
    )
    (expected,) = CsvSource(tmp_path / "d.csv").batches()
    assert frame.drop(LINE).equals(expected.frame.drop(LINE))
    assert frame[LINE].to_list() == [1, 2, 3]


def test_hostile_texts_come_back_exactly(naughty_strings: list[str], tmp_path: Path) -> None:
    texts = [text for text in naughty_strings if "\0" not in text]
    assert len(texts) > 500
    pq.write_table(pa.table({"a.b": texts}), tmp_path / "d.parquet")
    frame, malformed = read(tmp_path / "d.parquet")
    assert frame["a.b"].to_list() == [text or None for text in texts]
    assert malformed == []


def test_text_that_is_not_utf8_or_holds_nul_is_set_aside_alone(tmp_path: Path) -> None:
    values = [b"good", b"\xff", b"a\0b", None, b"\xed\xa0\x80"]
    column = pa.array(values, pa.binary())
    for name, arranged in {"bytes": column, "text": column.view(pa.string())}.items():
        path = tmp_path / f"{name}.parquet"
        pq.write_table(pa.table({"n": range(5), "t": arranged}), path)
        frame, malformed = read(path)
        assert frame.rows() == [(1, "0", "good"), (4, "3", None)]
        assert [(m.line, m.rule, m.record) for m in malformed] == [
            (2, "encoding", b"1,\xff"),
            (3, "nul_byte", b"2,a\0b"),
            (5, "encoding", b"4,\xed\xa0\x80"),
        ]


def test_rows_are_numbered_across_row_groups_and_an_empty_table_has_its_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": range(50_000)}), tmp_path / "d.parquet", row_group_size=7_000)
    frame, _ = read(tmp_path / "d.parquet")
    assert frame[LINE].to_list() == list(range(1, 50_001))
    assert frame["n"].cast(pl.Int64).to_list() == list(range(50_000))
    pq.write_table(pa.table({"a": pa.array([], pa.int64())}), tmp_path / "none.parquet")
    frame, _ = read(tmp_path / "none.parquet")
    assert frame.schema == {LINE: pl.UInt64, "a": pl.String}
    assert frame.height == 0


@pytest.mark.parametrize(
    ("name", "rows"), [("userdata/userdata1", 1_000), ("credit_scoring/loan_table", 28_638)]
)
def test_real_parquet_is_read(shared_data: Path, name: str, rows: int) -> None:
    path = shared_data / "finance" / f"{name}.parquet"
    frame, malformed = read(path)
    assert (frame.height, malformed) == (rows, [])
    polars = pl.read_parquet(path)
    for column, kind in polars.schema.items():
        if kind.is_integer() or kind.is_float():
            assert frame[column].cast(kind).equals(polars[column], null_equal=True)
        elif kind == pl.String:
            assert frame[column].equals(polars[column].replace("", None))


def test_upstream_bad_files_are_refused_or_read(shared_data: Path) -> None:
    said = {}
    for path in sorted((shared_data / "torture" / "parquet_bad").glob("*.parquet")):
        try:
            said[path.stem] = str(read(path)[0].height)
        except DataRefusedError as error:
            said[path.stem] = error.culprit.removeprefix(f"The source file '{path.name}' ")
    assert said == {
        "ARROW-GH-41317": "has a nested column 32, list_boolean",
        "ARROW-GH-41321": "has a nested column 32, list_boolean",
        "ARROW-GH-43605": "21186",
        "ARROW-GH-45185": "has a nested column 1, x",
        "ARROW-GH-47662": "is not a whole Parquet file",
        "ARROW-RS-GH-6229-DICTHEADER": "has a column that does not lie in it as promised",
        "ARROW-RS-GH-6229-LEVELS": "has a nested column 1, outer",
        "PARQUET-1481": "is not a whole Parquet file",
    }


def test_encrypted_files_are_refused_as_such(shared_data: Path, tmp_path: Path) -> None:
    with tarfile.open(shared_data / "torture" / "parquet_encrypted.tar.gz") as archive:
        members = {m.name: archive.extractfile(m).read() for m in archive if m.isfile()}  # type: ignore[union-attr]
    files = [content for name, content in members.items() if name.endswith(".parquet.encrypted")]
    assert len(files) == 13
    path = tmp_path / "d.parquet"
    for content in files:
        path.write_bytes(content)
        readable_footer = content.endswith(b"PAR1")
        assert ("nested column" if readable_footer else "is encrypted Parquet") in refusal(path)
    for keys in ({}, {"a": bytes(32)}):
        for plaintext_footer in (True, False):
            secret = pl.ParquetEncryptionProperties(
                footer_key=bytes(32), column_keys=keys, plaintext_footer=plaintext_footer
            )
            pl.LazyFrame({"a": [CANARY]}).sink_parquet(path, encryption=secret)
            # Arrow ends its process over a column that has a key of its own below a readable footer.
            assert "encrypted" in refusal(path)


def test_shapes_that_are_no_table_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "d.parquet"
    for column in (
        pa.array([[CANARY]]),
        pa.array([{CANARY: 1}]),
        pa.array([timedelta(1)], pa.duration("us")),
        pa.array([b"x" * 16], pa.binary(16)),
        pa.array([1], pa.time64("us")),
        pa.array([1.0], pa.float16()),
    ):
        pq.write_table(pa.table({"n": column}), path)
        assert "column 1, n" in refusal(path)
        pq.write_table(pa.table({"a": [1], f"{CANARY}@example.com": column}), path)
        assert "column 2" in refusal(path)
        assert CANARY not in refusal(path), "a name that no contract could have may be anything"
    pq.write_table(pa.table([[1], [2]], names=["a", "a"]), path)
    assert "columns 1 and 2 the same name" in refusal(path)
    pq.write_table(pa.table({f"c{i}": [1] for i in range(10_001)}), path)
    assert "10,001 columns" in refusal(path)
    pq.write_table(pa.table({LINE: [1]}), path)
    assert LINE in refusal(path)


def damaged() -> dict[str, bytes]:
    sink = io.BytesIO()
    pq.write_table(pa.table({"a": [CANARY] * 2_000, "b": range(2_000)}), sink)
    good = sink.getvalue()
    footer = int.from_bytes(good[-8:-4], "little")
    return {
        "empty": b"",
        "magic only": b"PAR1",
        "two magics": b"PAR1PAR1",
        "text": b"a,b\n1,2\n",
        "cut off": good[:-100],
        "no head": b"XXXX" + good[4:],
        "endless footer": good[:-8] + b"\xff\xff\xff\xff" + good[-4:],
        "no footer": good[:-8] + b"\0\0\0\0" + good[-4:],
        "long footer": good[:-8] + (footer + 7).to_bytes(4, "little") + good[-4:],
        "zeros for pages": good[:4] + b"\0" * (len(good) - footer - 12) + good[-footer - 8 :],
        "ones for pages": good[:4] + b"\xff" * (len(good) - footer - 12) + good[-footer - 8 :],
        "random footer": good[: -footer - 8] + os.urandom(footer) + good[-8:],
    }


@pytest.mark.parametrize("name", damaged())
def test_a_damaged_file_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "d.parquet"
    path.write_bytes(damaged()[name])
    refusal(path)


def rows_bomb(path: Path) -> None:
    """200 million rows in some tens of kilobytes."""
    table = pa.table({"n": pa.array([0]).take(pa.array([0] * 1_000_000))})
    with pq.ParquetWriter(path, table.schema, compression="zstd") as writer:
        for _ in range(200):
            writer.write_table(table)


def flags_bomb(path: Path) -> None:
    """200 million of the narrowest cells."""
    table = pa.table({"n": pa.nulls(2_000_000, pa.bool_())})
    with pq.ParquetWriter(path, table.schema, compression="zstd") as writer:
        for _ in range(100):
            writer.write_table(table)


def dictionary_bomb(path: Path) -> None:
    """One long word a million times: no footer tells its length."""
    words = pa.DictionaryArray.from_arrays(pa.array([0]).take(pa.array([0] * 1_000_000)), ["x" * 4_000_000])
    pq.write_table(pa.table({"n": words}), path, compression="zstd", store_schema=False)


def longer_dictionary_bomb(path: Path) -> None:
    """Words short enough for every batch, and too many of them together."""
    words = pa.DictionaryArray.from_arrays(pa.array([0]).take(pa.array([0] * 1_000_000)), ["x" * 4_000])
    pq.write_table(pa.table({"n": words}), path, compression="zstd", store_schema=False)


def wide_bomb(path: Path) -> None:
    """Many columns of nothing."""
    table = pa.table({f"c{i}": pa.nulls(100_000, pa.string()) for i in range(500)})
    pq.write_table(table, path, compression="zstd")


def lying_page(path: Path) -> None:
    """A page header that says it unpacks to 1.9 GB."""
    sink = io.BytesIO()
    pq.write_table(pa.table({"n": range(3_000)}), sink, compression="zstd", use_dictionary=False)
    good = sink.getvalue()
    begin = pq.ParquetFile(io.BytesIO(good)).metadata.row_group(0).column(0).data_page_offset
    # Thrift: field 1 (type) and field 2 (uncompressed size), each 0x15 and a zigzag varint.
    assert good[begin : begin + 3] == b"\x15\x00\x15"
    end = next(place for place in range(begin + 3, begin + 8) if good[place] < 0x80) + 1
    size, lie = 2 * 1_900_000_000, b""
    while size:
        lie += bytes([size & 0x7F | (0x80 if size > 0x7F else 0)])
        size >>= 7
    path.write_bytes(good[: begin + 3] + lie + good[end:])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bomb", "words"),
    [
        (rows_bomb, "unpacks to far more than its size allows"),
        (flags_bomb, "unpacks to far more than its size allows"),
        (wide_bomb, "unpacks to far more than its size allows"),
        (dictionary_bomb, "unpack to more than can be held"),
        (longer_dictionary_bomb, "unpacks to far more than its size allows"),
        (lying_page, ""),
    ],
)
def test_a_bomb_is_refused_in_bounded_memory(
    tmp_path: Path, bomb: Callable[[Path], None], words: str
) -> None:
    bomb(tmp_path / "d.parquet")
    assert (tmp_path / "d.parquet").stat().st_size < 1 << 20
    met = outcome(tmp_path)
    assert met.error is not None
    assert words in met.error
    assert met.grown < BOUND
    assert met.reader < MEMORY


@pytest.mark.slow
def test_memory_is_that_of_batches(tmp_path: Path) -> None:
    table = pa.table({name: [f"{name}{i}" * 20 for i in range(100_000)] for name in "abcd"})
    with pq.ParquetWriter(tmp_path / "d.parquet", table.schema, compression="none") as writer:
        for _ in range(8):
            writer.write_table(table)
    met = outcome(tmp_path)
    assert (met.rows, met.error) == (800_000, None)
    assert met.grown < BOUND
    assert met.reader < MEMORY // 2


def test_a_file_that_changes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "d.parquet"
    pq.write_table(pa.table({"a": range(40_000)}), path)
    source = ParquetSource(path)
    batches = source.batches()
    next(batches)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(DataRefusedError, match=r"changed while it was read|not a whole Parquet file"):
        list(batches)
    with pytest.raises(DataRefusedError, match="changed while it was read"):
        source.fingerprint()


def test_a_reader_that_dies_is_a_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "d.parquet"
    pq.write_table(pa.table({"a": [1]}), path)
    source = ParquetSource(path)
    # A process that is asked in words it does not know ends as one that broke.
    monkeypatch.setattr(parquet_process, "__name__", "secure_platform.store.query_process")
    with pytest.raises(DataRefusedError, match="breaks its reader"):
        list(source.batches())


def test_a_reader_that_cannot_be_started_says_nothing_about_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "d.parquet"
    pq.write_table(pa.table({"a": [1]}), path)
    source = ParquetSource(path)
    monkeypatch.setattr(parquet_process, "__name__", "secure_platform.source.absent")
    with pytest.raises(SecurePlatformError, match="The process absent could not be started") as caught:
        list(source.batches())
    assert not isinstance(caught.value, DataRefusedError)
