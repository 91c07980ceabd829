"""One spelling for each type: against Python's own readers, and against what lenient readers let through."""

import json
import math
import re
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from secure_platform.contract.formats import FORMATS
from secure_platform.contract.model import Column, Contract, LogicalType
from secure_platform.source.csv import LINE
from secure_platform.taxonomy.classification import Classification
from secure_platform.validate.rules import cast_typed


def contract(*columns: tuple[str, LogicalType]) -> Contract:
    return Contract(
        dataset="d",
        version="1.0.0",
        description="",
        owner="team:x",
        columns=tuple(Column(name, kind, "", Classification.INTERNAL) for name, kind in columns),
        source_file="d.csv",
        digest="",
    )


def cast(kind: LogicalType, texts: list[str | None]) -> list[Any]:
    frame = pl.LazyFrame({"x": texts}, schema={"x": pl.String})
    typed = cast_typed(contract(("x", kind)), frame).collect()["x"]
    assert typed.dtype == Column("x", kind, "", Classification.INTERNAL).dtype
    return typed.to_list()


def spelled(kind: LogicalType, form: str, texts: list[str | None]) -> list[Any]:
    column = replace(contract(("x", kind)).columns[0], format=form)
    declared = replace(contract(("x", kind)), columns=(column,))
    typed = cast_typed(declared, pl.LazyFrame({"x": texts}, schema={"x": pl.String})).collect()["x"]
    assert typed.dtype == column.dtype
    return typed.to_list()


def words(text: str) -> list[str]:
    return text.split()


def wide(text: str) -> str:
    """The text with full-width letters and digits."""
    return "".join(chr(ord(c) + 0xFEE0) if c.isalnum() else c for c in text)


def around(text: str) -> list[str]:
    """The text with something before or behind it that a reader might trim, and in full width."""
    return [f" {text}", f"{text} ", f"\n{text}", f"{text}\n", f"{text}\0", f"\ufeff{text}", wide(text), ""]


REFUSED: dict[LogicalType, list[str]] = {
    "integer": [
        *words("+12 -0 007 1_000 1,000 12.0 12. 1e3 0x1F - nan true \u0661\u0662 \u0967"),
        *("9223372036854775808", "-9223372036854775809", "9" * 23),
        *around("12"),
    ],
    "number": [
        *words("NaN nan inf -inf Infinity 1e400 -1e400 +1.5 .5 5. 1,5 1.5.2 01.5 0x10 1e 1e+ --1 - 1_0 1d5"),
        *("1.5f", "true", "\u0661", "1" + "0" * 400),
        *around("1.5"),
    ],
    "boolean": ["True", "TRUE", "t", "1", "0", "yes", "FALSE", "False", "null", *around("true")],
    "date": [
        *words("2020-02-30 2021-02-29 2020-13-01 2020-00-10 2020-01-00 2020-1-1 20200101 2020/01/01"),
        *words("01-02-2020 2020-01-01T00:00:00Z 0000-01-01 10000-01-01 +2020-01-01 -001-01-01 2020-W01-1"),
        *("2020-001", "today", "2020\u201001\u201001"),
        *around("2020-01-01"),
    ],
    "timestamp": [
        *words("2020-01-01 2020-01-01T00:00:00 2020-01-01T00:00:00+00:00 2020-01-01T24:00:00Z"),
        *words("2020-01-01T00:60:00Z 2020-01-01T00:00:60Z 2016-12-31T23:59:60Z 2020-02-30T00:00:00Z"),
        *words("2020-01-01T00:00:00z 2020-01-01t00:00:00Z 2020-01-01T00:00Z 2020-01-01T00:00:00.Z"),
        *words("2020-01-01T00:00:00.1234567Z 2020-01-01T00:00:00,5Z 0000-01-01T00:00:00Z"),
        *words("10000-01-01T00:00:00Z 20200101T000000Z 1577836800 2020-01-01T-1:00:00Z"),
        "2020-01-01 00:00:00Z",
        *around("2020-01-01T00:00:00Z"),
        *around("2020-01-01T00:00:00.5Z"),
    ],
}

ACCEPTED: dict[LogicalType, list[tuple[str, Any]]] = {
    "string": [("", ""), (" 12 ", " 12 "), ("é\0\n", "é\0\n")],
    "integer": [
        ("0", 0), ("-1", -1), ("12", 12), ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
    ],
    "number": [
        ("0", 0.0), ("-0.0", 0.0), ("1.5", 1.5), ("-71.15168585038569", -71.15168585038569), ("1.0E7", 1e7),
        ("1e-400", 0.0), ("1.7976931348623157e308", 1.7976931348623157e308), ("5e-324", 5e-324),
        ("100", 100.0),
    ],
    "boolean": [("true", True), ("false", False)],
    "date": [
        ("2020-02-29", date(2020, 2, 29)), ("0001-01-01", date.min), ("9999-12-31", date.max),
        ("1900-01-01", date(1900, 1, 1)),
    ],
    "timestamp": [
        ("2020-02-29T23:59:59Z", datetime(2020, 2, 29, 23, 59, 59, tzinfo=UTC)),
        ("2020-01-01T00:00:00.5Z", datetime(2020, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)),
        ("2020-01-01T00:00:00.000001Z", datetime(2020, 1, 1, 0, 0, 0, 1, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime.min.replace(tzinfo=UTC)),
        ("9999-12-31T23:59:59.999999Z", datetime.max.replace(tzinfo=UTC)),
        ("1905-06-01T00:00:00Z", datetime(1905, 6, 1, tzinfo=UTC)),
    ],
}  # fmt: skip


@pytest.mark.parametrize("kind", list(REFUSED))
def test_other_spellings_are_no_values(kind: LogicalType) -> None:
    for text in REFUSED[kind]:
        assert cast(kind, [text]) == [None], text
    assert cast(kind, list(REFUSED[kind])) == [None] * len(REFUSED[kind])


@pytest.mark.parametrize("kind", list(ACCEPTED))
def test_the_one_spelling_is_read_exactly(kind: LogicalType) -> None:
    for text, value in ACCEPTED[kind]:
        (read,) = cast(kind, [text])
        assert read == value, text
        assert kind != "number" or math.copysign(1, read) == math.copysign(1, value), text
    # Mixed with what is refused, so that no value depends on its neighbours.
    texts, values = map(list, zip(*ACCEPTED[kind], strict=True))
    refused = [*REFUSED.get(kind, []), None]
    among = cast(kind, [*texts, *refused, *texts])
    assert among == [*values, *(None for _ in refused), *values]
    assert kind != "number" or "-0.0" not in map(repr, among)


def json_number(text: str) -> float | None:
    try:
        value = json.loads(text, parse_constant=lambda _: None)
    except ValueError:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool) and text == text.strip(" \t\n\r")
    return float(value) if number and math.isfinite(float(value)) else None


def small_integer(text: str) -> int | None:
    plain = re.fullmatch(r"[-0-9]+", text, re.ASCII) and re.fullmatch(r"-?\d+", text, re.ASCII)
    value = int(text) if plain else None
    return value if value is not None and str(value) == text and -(2**63) <= value < 2**63 else None


def calendar_date(text: str) -> date | None:
    parts = re.fullmatch(r"(\d{4})-(\d\d)-(\d\d)", text, re.ASCII)
    try:
        return date(*map(int, parts.groups())) if parts else None
    except ValueError:
        return None


def instant(text: str) -> datetime | None:
    parts = re.fullmatch(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?Z", text, re.ASCII)
    if not parts:
        return None
    year, month, day, hour, minute, second, fraction = parts.groups("")
    time = (int(hour), int(minute), int(second), int(fraction.ljust(6, "0")))
    try:
        return datetime(int(year), int(month), int(day), *time, tzinfo=UTC)
    except ValueError:
        return None


@given(
    st.one_of(
        st.text("0123456789+-.eE", max_size=12),
        st.floats(allow_nan=False, allow_infinity=False).map(repr),
        st.from_regex(r"\A-?[0-9]{1,3}(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?\Z"),
    )
)
@example("1e308")
@example("1e309")
def test_numbers_are_those_of_json(text: str) -> None:
    assert cast("number", [text]) == [json_number(text)]


@given(st.one_of(st.text("0123456789+-_ .", max_size=8), st.integers(-(2**65), 2**65).map(str)))
def test_integers_are_those_that_print_back(text: str) -> None:
    assert cast("integer", [text]) == [small_integer(text)]


@given(
    st.one_of(
        st.dates().map(str),
        st.from_regex(r"\A[0-9]{4}-[01][0-9]-[0-3][0-9]\Z"),
        st.text("0123456789-", min_size=8, max_size=11),
    )
)
def test_dates_are_days_of_the_calendar(text: str) -> None:
    assert cast("date", [text]) == [calendar_date(text)]


@given(
    st.one_of(
        st.datetimes().map(lambda moment: f"{moment.isoformat()}Z"),
        st.from_regex(
            r"\A[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{0,7})?Z\Z",
        ),
    )
)
def test_timestamps_are_instants(text: str) -> None:
    assert cast("timestamp", [text]) == [instant(text)]


def test_is_one_lazy_projection_in_the_contract_order() -> None:
    declared = contract(("b", "integer"), ("a", "date"))
    text = pl.LazyFrame(
        {"x": ["secret"], "a": ["2020-01-01"], LINE: [7], "b": ["3"]}, schema_overrides={LINE: pl.UInt64}
    )
    typed = cast_typed(declared, text)
    assert isinstance(typed, pl.LazyFrame)
    assert typed.collect().to_dict(as_series=False) == {LINE: [7], "b": [3], "a": [date(2020, 1, 1)]}
    assert cast_typed(declared, text.drop(LINE)).collect_schema() == {"b": pl.Int64, "a": pl.Date}


def test_is_pushed_into_the_reader(tmp_path: Any) -> None:
    path = tmp_path / "x.parquet"
    pl.DataFrame({"a": ["1"], "b": ["2"], "unused": ["3"]}).write_parquet(path)
    plan = (
        cast_typed(contract(("a", "integer"), ("b", "integer")), pl.scan_parquet(path)).select("a").explain()
    )
    assert "PROJECT 1/3 COLUMNS" in plan


@pytest.mark.parametrize(
    ("kind", "form", "text", "value", "others"),
    [
        (
            "date",
            "M/d/yyyy",
            "3/8/1971",
            date(1971, 3, 8),
            ["03/8/1971", "13/8/1971", "2/30/2001", "3/8/71", "3/8/0000", "1971-03-08", *around("3/8/1971")],
        ),
        (
            "date",
            "dd.MM.yyyy",
            "08.03.1971",
            date(1971, 3, 8),
            ["8.3.1971", "03.13.1971", "31.04.1971", "08.03.+1971", "08.03.11971"],
        ),
        (
            "timestamp",
            "yyyy-MM-dd HH:mm:ss",
            "2019-01-01 23:46:40",
            datetime(2019, 1, 1, 23, 46, 40, tzinfo=UTC),
            ["2019-01-01T23:46:40", "2019-01-01 24:00:00", "2019-01-01 23:46:60", "2019-01-01 23:46:40.5"],
        ),
        (
            "timestamp",
            "M/d/yyyy H:mm",
            "12/1/2010 8:26",
            datetime(2010, 12, 1, 8, 26, tzinfo=UTC),
            ["12/1/2010 08:26", "12/1/2010 8:26:00", "12/01/2010 8:26"],
        ),
        (
            "timestamp",
            "yyyy-MM-dd'T'HH:mm:ss.SSSxxx",
            "2019-01-01T23:46:40.120+00:00",
            datetime(2019, 1, 1, 23, 46, 40, 120_000, tzinfo=UTC),
            ["2019-01-01T23:46:40.120+01:00", "2019-01-01T23:46:40.12+00:00", "2019-01-01T23:46:40.120Z"],
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_spelling_that_the_contract_names_is_the_only_one(
    kind: LogicalType, form: str, text: str, value: date, others: list[str]
) -> None:
    given: list[str | None] = [text, None, *others]
    assert spelled(kind, form, given) == [value, *[None] * (len(others) + 1)]


def test_every_spelling_reads_what_it_writes() -> None:
    moment = datetime(2021, 3, 4, 15, 6, tzinfo=UTC)
    for form, letters in FORMATS["date"].items():
        assert spelled("date", form, [moment.strftime(letters)]) == [moment.date()], form
    for form, letters in FORMATS["timestamp"].items():
        written = pl.Series([moment]).dt.to_string(letters).to_list()
        assert spelled("timestamp", form, written) == [moment], form
