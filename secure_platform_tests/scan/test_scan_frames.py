"""Column types, odd names, laziness, and that counts do not depend on how the counting is arranged."""

import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scan_support import SCANNER, kinds, scan

from secure_platform.errors import DataRefusedError
from secure_platform.scan import evidence
from secure_platform.scan.columns import Finding, Scanner
from secure_platform.taxonomy.info_types import info_types

MAIL = "jane@example.org"


def test_numbers_are_evidence_under_their_header_only() -> None:
    typed: dict[str, Sequence[Any]] = {
        "ssn": [123456789, 999175017],
        "card_number": [4111111111111111, 1],
        "npi": [1234567893, None],
        "zip": [2138, 10001],
        "phone": [2125552368.0, None],
        "latitude": [42.36877, -71.1],
        "amount": [4111111111111111, 123456789],
        "city": [1, 2],
        "birthdate": [1961, 1970],
    }
    found = {pair: finding.count for pair, finding in scan(typed).items()}
    assert found == {
        ("ssn", "US_SSN"): 2,
        ("card_number", "CREDIT_CARD"): 1,
        ("npi", "US_NPI"): 1,
        ("zip", "US_ZIP"): 2,
        ("phone", "PHONE"): 1,
        ("latitude", "GPS_COORDINATE"): 2,
    }


def test_dates_are_found_in_typed_columns_by_their_names() -> None:
    typed: dict[str, Sequence[Any]] = {
        "dob": [date(1961, 4, 12), None],
        "death_date": [datetime(2020, 1, 1, tzinfo=UTC), None],
        "visit": [date(2024, 1, 1), date(2024, 1, 2)],
        "empty": [None, None],
    }
    frame = pl.LazyFrame(typed, schema_overrides={"empty": pl.Date})
    found = {(f.column, f.info_type): (f.count, f.ratio) for f in SCANNER.scan(frame)}
    assert found == {
        ("dob", "DATE_OF_BIRTH"): (1, 1.0),
        ("death_date", "DATE_OF_DEATH"): (1, 1.0),
        ("visit", "DATE"): (2, 1.0),
    }


def test_columns_that_can_hold_no_evidence() -> None:
    frame: dict[str, Sequence[Any]] = {
        "flag": [True],
        "t": [time(1, 2)],
        "d": [timedelta(1)],
        "nothing": [None],
    }
    assert scan(frame) == {}
    assert SCANNER.observe(pl.LazyFrame(frame)).collect_schema().names() == []


def test_values_inside_lists_structs_and_categories() -> None:
    frame = pl.LazyFrame(
        {
            "list": [["x", MAIL], None],
            "struct": [{"a": {"b": "4111111111111111"}}, None],
            "array": pl.Series([["x", "123-45-6789"], ["y", "z"]], dtype=pl.Array(pl.String, 2)),
            "lines": [["first\n4111111111111111\nlast"], None],
            "category": pl.Series([MAIL, "x"], dtype=pl.Categorical),
        }
    )
    assert [(f.column, f.info_type, f.count) for f in SCANNER.scan(frame)] == [
        ("list", "EMAIL", 1),
        ("struct", "CREDIT_CARD", 1),
        ("array", "US_SSN", 1),
        ("lines", "CREDIT_CARD", 1),
        ("category", "EMAIL", 1),
    ]


@pytest.mark.parametrize(
    "dtype", [pl.Binary, pl.List(pl.Binary), pl.Struct({"a": pl.List(pl.Struct({"b": pl.Binary}))})]
)
def test_what_cannot_be_searched_is_refused_and_not_called_clean(dtype: pl.DataType) -> None:
    with pytest.raises(DataRefusedError, match="Column attachment holds bytes"):
        SCANNER.observe(pl.LazyFrame({"attachment": []}, schema={"attachment": dtype}))


@pytest.mark.parametrize(
    "name", ["*", "^.*$", "", "rest", "value", "weight", "filled", 'a"b', "ü 表", "__line"]
)
def test_odd_column_names_are_only_names(name: str) -> None:
    found = scan({name: [MAIL, "x"], "other": ["123-45-6789", "y"]})
    assert set(found) == {(name, "EMAIL"), ("other", "US_SSN")}


@pytest.mark.parametrize(
    "frame", [{}, {"a": []}, {"ssn": pl.Series([], dtype=pl.String)}, {"ssn": [None, None]}]
)
def test_nothing_in_nothing(frame: dict[str, list[str]]) -> None:
    assert SCANNER.scan(pl.LazyFrame(frame)) == []


def test_the_first_look_is_one_row_and_rides_along_with_a_sink(tmp_path: Path) -> None:
    frame = pl.LazyFrame({"a": [MAIL] * 10, "n": range(10), "ssn": ["t1_" + "0" * 32] * 10})
    sink = frame.sink_parquet(tmp_path / "copy.parquet", lazy=True)
    observed, _ = pl.collect_all([SCANNER.observe(frame), sink], engine="streaming")
    assert observed.height == 1
    findings = SCANNER.findings(
        observed, pl.scan_parquet(tmp_path / "copy.parquet"), frame.collect_schema().names()
    )
    assert [(f.column, f.info_type, f.count) for f in findings] == [("a", "EMAIL", 10)]


def test_only_the_columns_asked_for_are_observed() -> None:
    frame = pl.LazyFrame({"a": [MAIL], "b": [MAIL]})
    observed = SCANNER.observe(frame, ["b"]).collect()
    assert observed.columns == ["b"]
    assert [f.column for f in SCANNER.findings(observed, frame, ["a", "b"])] == ["b"]


def test_clean_columns_are_read_again_once_for_secrets_only() -> None:
    read: list[str] = []

    def remembered(name: str) -> pl.Expr:
        def look(values: pl.Series) -> pl.Series:
            read.append(name)
            return values

        return pl.col(name).map_batches(look, return_dtype=pl.String)

    frame = pl.LazyFrame({"clean": ["x"], "mail": [MAIL], "code": ["123456789"]})
    observed = SCANNER.observe(frame).collect()
    watched = frame.with_columns(remembered(name) for name in observed.columns)
    SCANNER.findings(observed, watched, observed.columns)
    reads = Counter(read)
    assert (reads["clean"], reads["code"]) == (1, 1)
    assert reads["mail"] > 1


def test_findings_are_in_column_order_then_taxonomy_order() -> None:
    columns = {"z": [f"{MAIL} 123-45-6789 4111111111111111"], "a": [MAIL]}
    assert list(scan(columns)) == [("z", "US_SSN"), ("z", "CREDIT_CARD"), ("z", "EMAIL"), ("a", "EMAIL")]


def test_a_rare_type_far_behind_the_sample_is_counted() -> None:
    mails = [f"user{step}@example.org" for step in range(evidence.SAMPLE * 3)]
    found = scan({"x": [*mails, "AKIAIOSFODNN7EXAMPLE", "see 123-45-6789"]})
    assert {kind: finding.count for (_, kind), finding in found.items()} == {
        "EMAIL": len(mails),
        "AWS_ACCESS_KEY": 1,
        "US_SSN": 1,
    }


CELLS = st.sampled_from(
    [
        *(MAIL, f"to {MAIL}", "123-45-6789", "999-12-3456", "SSN 999-12-3456", "2024-01-31", "x", "", None),
        *("4111111111111111", "4111111111111112", "00:1B:44:11:3A:B7", "https://a:b@c.d/", "t1_" + "a" * 32),
    ]
)


@settings(deadline=None, max_examples=25)
@given(st.lists(CELLS, min_size=1, max_size=40), st.sampled_from(["x", "ssn", "email", "note"]), st.data())
def test_findings_do_not_depend_on_order_grouping_or_sample(
    cells: list[str], name: str, data: st.DataObject
) -> None:
    one = _scan_with(cells, name, sample=evidence.SAMPLE, few=0)
    shuffled = data.draw(st.permutations(cells))
    assert _scan_with(shuffled, name, sample=1, few=evidence.FEW_DISTINCT) == one


def _scan_with(cells: list[str], name: str, *, sample: int, few: int) -> list[Finding]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evidence, "SAMPLE", sample)
        patch.setattr(evidence, "FEW_DISTINCT", few)
        patch.setattr(evidence, "REPEATS", 1)
        return Scanner(info_types()).scan(pl.LazyFrame({name: pl.Series(cells, dtype=pl.String)}))


def test_all_batches_are_counted() -> None:
    draw = random.Random(7)  # noqa: S311 - the same cells every time
    cells = [MAIL if draw.random() < 0.01 else f"note {number}" for number in range(200_000)]
    assert scan({"x": cells})["x", "EMAIL"].count == cells.count(MAIL)
    assert kinds([cell for cell in cells if cell != MAIL]) == set()


def test_the_work_for_a_column_does_not_grow_with_the_number_of_columns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: Counter[int] = Counter()
    schema_of = pl.LazyFrame.collect_schema

    def counted(frame: pl.LazyFrame) -> pl.Schema:
        schema = schema_of(frame)
        asked[width] += len(schema)
        return schema

    monkeypatch.setattr(pl.LazyFrame, "collect_schema", counted)
    for width in (20, 40):
        SCANNER.scan(pl.LazyFrame({f"k{place}": ["a", "b"] for place in range(width)}))
    assert 0 < asked[40] <= 2 * asked[20]
