"""The content digest: the specification in its docstring, written a second time and much slower."""

import hashlib
import hmac
import math
import struct
from collections.abc import Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing.parametric import dataframes

from secure_platform.errors import DataRefusedError
from secure_platform.keys.material import DigestKey
from secure_platform.store.digest import BATCH_ROWS, ContentDigest, content_digest, type_name

KEY = bytes(range(32))
SUPPORTED: list[pl.DataType | type[pl.DataType]] = [
    pl.Boolean,
    pl.Int8,
    pl.Int64,
    pl.UInt16,
    pl.UInt64,
    pl.Float32,
    pl.Float64,
    pl.String,
    pl.Binary,
    pl.Date,
    pl.Time,
    pl.Datetime("us", "UTC"),
    pl.Datetime("ns"),
    pl.Duration("ms"),
    pl.Decimal(18, 2),
]
FORMATS = {
    pl.Int8: "<b",
    pl.Int64: "<q",
    pl.UInt16: "<H",
    pl.UInt64: "<Q",
    pl.Float32: "<f",
    pl.Float64: "<d",
    pl.Date: "<i",
}


def digest_of(frame: pl.DataFrame, key: bytes = KEY) -> str:
    digest = ContentDigest(DigestKey(1, key), frame.schema)
    digest.update(frame)
    return digest.finish()


def bits(values: Sequence[bool]) -> bytes:
    packed = bytearray((len(values) + 7) // 8)
    for index, value in enumerate(values):
        packed[index // 8] |= value << (index % 8)
    return bytes(packed)


def number(column: pl.Series, value: Any) -> bytes:
    if isinstance(value, float) and math.isnan(value):
        return (
            struct.pack("<I", 0x7FC00000) if column.dtype == pl.Float32 else struct.pack("<Q", 0x7FF8 << 48)
        )
    return struct.pack(FORMATS.get(column.dtype.base_type(), "<q"), value)


def cells(column: pl.Series) -> bytes:
    nulls = [value is None for value in column]
    head = b"\x01" + bits([not null for null in nulls]) if any(nulls) else b"\x00"
    if column.dtype == pl.Boolean:
        return head + bits([bool(value) for value in column])
    if column.dtype in (pl.String, pl.Binary):
        values = [value.encode() if isinstance(value, str) else value or b"" for value in column]
        return head + b"".join(struct.pack("<I", len(v)) for v in values) + b"".join(values)
    if isinstance(column.dtype, pl.Decimal):
        scale = column.dtype.scale
        unscaled = [0 if value is None else int(value.scaleb(scale)) for value in column]
        return head + b"".join(value.to_bytes(16, "little", signed=True) for value in unscaled)
    return head + b"".join(number(column, 0 if value is None else value) for value in column.to_physical())


def reference(frame: pl.DataFrame) -> str:
    stream = b"secure-platform content digest 1\x00" + struct.pack("<I", frame.width)
    for column in frame:
        name, kind = column.name.encode(), type_name(column.dtype, column=column.name).encode()
        stream += struct.pack("<I", len(name)) + name + struct.pack("<I", len(kind)) + kind
    for start in range(0, frame.height, BATCH_ROWS):
        batch = frame.slice(start, BATCH_ROWS)
        stream += struct.pack("<I", batch.height) + b"".join(cells(column) for column in batch)
    stream += struct.pack("<IQ", 0, frame.height)
    return f"hmac-sha256:1:{hmac.new(KEY, stream, hashlib.sha256).hexdigest()}"


EXAMPLE = pl.DataFrame(
    {
        "text": ["a", "", None, "\U0001f600é"],
        "number": pl.Series([1, -1, None, 2**62], dtype=pl.Int64),
        "real": [0.5, float("nan"), None, -0.0],
        "flag": [True, False, None, True],
        "day": [date(1970, 1, 2), None, date(1969, 12, 31), date(2026, 1, 1)],
        "money": pl.Series([Decimal("1.25"), None, Decimal("-0.01"), Decimal(0)], dtype=pl.Decimal(18, 2)),
        "raw": [b"\x00", b"", None, b"\xff\x00"],
    }
)


def test_known_answer() -> None:
    expected = "hmac-sha256:1:1f9dd5af35a654261536578cc37fbc324e3d6ed2fa068405e3858a201cd0793d"
    assert digest_of(EXAMPLE) == expected
    assert reference(EXAMPLE) == expected


def test_known_answer_of_an_empty_table() -> None:
    empty = pl.DataFrame(schema={"a": pl.String})
    stream = (
        b"secure-platform content digest 1\x00\x01\x00\x00\x00\x01\x00\x00\x00a\x06\x00\x00\x00string"
        + bytes(12)
    )
    assert digest_of(empty) == f"hmac-sha256:1:{hmac.new(KEY, stream, hashlib.sha256).hexdigest()}"


@settings(deadline=None, max_examples=80)
@given(dataframes(allowed_dtypes=SUPPORTED, max_cols=4, max_size=20, min_cols=1, allow_null=True))
def test_equals_the_specification(frame: pl.DataFrame) -> None:
    assert digest_of(frame) == reference(frame)


@settings(deadline=None, max_examples=40)
@given(
    dataframes(allowed_dtypes=SUPPORTED, max_cols=3, min_cols=1, max_size=30, allow_null=True),
    st.lists(st.integers(0, 30), max_size=4),
)
def test_does_not_depend_on_batches_or_chunks(frame: pl.DataFrame, cuts: list[int]) -> None:
    bounds = [0, *sorted(cuts), frame.height]
    digest = ContentDigest(DigestKey(1, KEY), frame.schema)
    for start, stop in pairwise(bounds):
        digest.update(frame[start:stop])
    pieces = [frame[index : index + 1] for index in range(frame.height)]
    chunked = pl.concat(pieces, rechunk=False) if pieces else frame
    assert digest.finish() == digest_of(chunked) == digest_of(frame)


@pytest.mark.parametrize("rows", [BATCH_ROWS - 1, BATCH_ROWS, BATCH_ROWS + 1, 2 * BATCH_ROWS, 150_001])
def test_long_tables_may_arrive_in_any_portions(rows: int) -> None:
    frame = pl.DataFrame({"n": range(rows), "s": pl.Series(range(rows)).cast(pl.String)})
    digest = ContentDigest(DigestKey(1, KEY), frame.schema)
    for start in range(0, rows, 40_000):
        digest.update(frame.slice(start, 40_000))
    assert digest.rows == rows
    assert digest.finish() == digest_of(frame) == content_digest(DigestKey(1, KEY), frame.lazy())
    assert digest.rows == rows


def other_than(value: Any, dtype: pl.DataType) -> Any:
    if value is None:
        return "" if dtype == pl.String else 0
    return f"{value}x" if isinstance(value, str) else value ^ 1


@settings(deadline=None, max_examples=60)
@given(
    dataframes(allowed_dtypes=[pl.Int64, pl.String], min_cols=2, max_cols=3, min_size=2, max_size=8),
    st.data(),
)
def test_every_changed_cell_changes_it(frame: pl.DataFrame, data: st.DataObject) -> None:
    column = data.draw(st.sampled_from(frame.columns))
    row = data.draw(st.integers(0, frame.height - 1))
    values = frame[column].to_list()
    values[row] = other_than(values[row], frame.schema[column])
    changed = frame.with_columns(pl.Series(column, values, dtype=frame.schema[column]))
    assert digest_of(changed) != digest_of(frame)


@pytest.mark.parametrize(
    "other",
    [
        EXAMPLE.rename({"text": "Text"}),
        EXAMPLE.select(reversed(EXAMPLE.columns)),
        EXAMPLE.reverse(),
        EXAMPLE.head(3),
        pl.concat([EXAMPLE, EXAMPLE.tail(1)]),
        EXAMPLE.drop("raw"),
        EXAMPLE.with_columns(pl.col("text").fill_null("")),
        EXAMPLE.with_columns(pl.col("number").fill_null(0)),
        EXAMPLE.with_columns(pl.col("flag").fill_null(value=False)),
        EXAMPLE.with_columns(pl.col("real").fill_null(float("nan"))),
        EXAMPLE.with_columns(pl.col("real").abs()),
        EXAMPLE.with_columns(pl.col("number").cast(pl.Float64)),
        EXAMPLE.with_columns(pl.col("day").cast(pl.Datetime("us"))),
        EXAMPLE.with_columns(pl.col("money").cast(pl.Decimal(19, 2))),
        EXAMPLE.with_columns(pl.col("text").cast(pl.Binary)),
    ],
)
def test_any_change_of_content_changes_the_digest(other: pl.DataFrame) -> None:
    assert digest_of(other) != digest_of(EXAMPLE)


def test_cells_do_not_run_together() -> None:
    one, two = pl.DataFrame({"a": ["ab", "c"]}), pl.DataFrame({"a": ["a", "bc"]})
    assert digest_of(one) != digest_of(two)
    assert digest_of(pl.DataFrame({"ab": ["c"]})) != digest_of(pl.DataFrame({"a": ["bc"]}))


def test_another_key_gives_another_digest() -> None:
    assert digest_of(EXAMPLE, bytes(32)) != digest_of(EXAMPLE)


def test_what_lies_under_a_null_does_not_count() -> None:
    frame = pl.DataFrame({"s": ["left over", "b"], "n": [7, 8]})
    hidden = frame.with_columns(pl.when(pl.col("n") == 8).then(pl.all()))
    assert digest_of(hidden) == digest_of(pl.DataFrame({"s": [None, "b"], "n": [None, 8]}))


def test_every_nan_is_the_same() -> None:
    odd = pl.Series("x", struct.unpack("<d", struct.pack("<Q", (0xFFF8 << 48) | 5)), dtype=pl.Float64)
    assert digest_of(odd.to_frame()) == digest_of(pl.DataFrame({"x": [float("nan")]}))


def test_type_names_are_stable() -> None:
    types = {
        pl.Datetime("us", "UTC"): "datetime[us,UTC]",
        pl.Datetime("ns"): "datetime[ns,]",
        pl.Duration("us"): "duration[us]",
        pl.Decimal(38, 0): "decimal[38,0]",
        pl.String(): "string",
        pl.Int32(): "int32",
        pl.Time(): "time[ns]",
    }
    assert {dtype: type_name(dtype, column="c") for dtype in types} == types


@pytest.mark.parametrize("values", [[[1]], [{"a": 1}], pl.Series(["a"], dtype=pl.Categorical), [object()]])
def test_other_types_are_refused(values: Any) -> None:
    with pytest.raises(DataRefusedError, match="Column odd has the type"):
        digest_of(pl.DataFrame({"odd": values}))


def test_a_batch_of_other_columns_is_refused() -> None:
    digest = ContentDigest(DigestKey(1, KEY), EXAMPLE.schema)
    with pytest.raises(DataRefusedError, match="other columns"):
        digest.update(EXAMPLE.drop("raw"))


def test_times_and_durations_are_their_physical_numbers() -> None:
    moment = pl.Series([1_577_836_800_000_000, None]).cast(pl.Datetime("us"))
    frame = pl.DataFrame({"t": [time(1, 2, 3), None], "d": [timedelta(days=1), None], "w": moment})
    assert digest_of(frame) == reference(frame)
