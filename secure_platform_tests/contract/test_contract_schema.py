"""The compiled schema accepts exactly the values that the contract accepts, one row at a time."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pandera.polars as pa
import polars as pl
import pytest
from contract_support import column, contract, enum

from secure_platform.contract.schema import pandera_schema

BIG = 2**53 - 1
RULES: dict[str, tuple[dict[str, Any], list[Any], dict[str, list[Any]]]] = {
    "integer range": (
        column("a", "integer", logicalTypeOptions={"minimum": 1, "maximum": BIG}),
        [1, BIG, None],
        {"range": [0, -5, BIG + 1, 2**63 - 1]},
    ),
    "integer between": (column("a", "integer", logicalTypeOptions={"minimum": 0.5}), [1], {"range": [0]}),
    "number range": (
        column("a", "number", logicalTypeOptions={"minimum": -90, "maximum": 90.5}),
        [-90.0, 90.5, -0.0, None],
        {"range": [-90.1, 91.0, float("nan"), float("inf"), float("-inf")]},
    ),
    "number without limits": (
        column("a", "number"),
        [0.0, 1e300, None],
        {"range": [float("nan"), float("inf"), float("-inf")]},
    ),
    "number with a minimum only": (
        column("a", "number", logicalTypeOptions={"minimum": 0}),
        [0.0],
        {"range": [float("nan"), -1.0]},
    ),
    "date range": (
        column("a", "date", logicalTypeOptions={"minimum": "1850-01-01", "maximum": "2024-02-29"}),
        [date(1850, 1, 1), date(2024, 2, 29), None],
        {"range": [date(1849, 12, 31), date(2024, 3, 1)]},
    ),
    "timestamp range": (
        column("a", "timestamp", logicalTypeOptions={"minimum": "2000-01-01T00:00:00Z"}),
        [datetime(2000, 1, 1, tzinfo=UTC)],
        {"range": [datetime(1999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)]},
    ),
    "length": (
        column("a", logicalTypeOptions={"minLength": 2, "maxLength": 3}),
        ["ab", "äöü", "👩🏽x", None],
        {"length": ["", "a", "abcd"]},
    ),
    "pattern": (
        column("a", logicalTypeOptions={"pattern": "^[0-9]{5}$"}),
        ["02155", None],
        {"pattern": ["2155", "02155-1234", " 02155", "02155\n", "\n02155", "", "٠٢١٥٥"]},
    ),
    "pattern with alternatives": (
        column("a", logicalTypeOptions={"pattern": "^a|b$"}),
        ["a", "b"],
        {"pattern": ["ax", "xb", "ab"]},
    ),
    "pattern with lines": (
        column("a", logicalTypeOptions={"pattern": "^(?m)a$"}),
        ["a"],
        {"pattern": ["a\nb", "b\na"]},
    ),
    "enum": (column("a", quality=enum("M", "F")), ["M", "F", None], {"enum": ["m", "", "X", "MF"]}),
    "boolean": (column("a", "boolean"), [True, False, None], {}),
}


def broken(schema: pa.DataFrameSchema, frame: pl.DataFrame) -> set[str]:
    """Names of the rules that the frame breaks."""
    try:
        schema.validate(frame, lazy=True)
    except pa.errors.SchemaErrors as errors:
        return set(errors.failure_cases["check"].to_list())
    return set()


@pytest.mark.parametrize("name", RULES)
def test_each_rule_accepts_and_refuses(tmp_path: Path, name: str) -> None:
    declared, good, bad = RULES[name]
    loaded = contract(tmp_path, declared)
    schema, dtype = pandera_schema(loaded), loaded.column("a").dtype
    assert broken(schema, pl.DataFrame({"a": good}, schema={"a": dtype})) == set()
    for rule, values in bad.items():
        for value in values:
            frame = pl.DataFrame({"a": [good[0], value]}, schema={"a": dtype})
            assert broken(schema, frame) == {rule}, value


def test_every_broken_rule_is_reported_once_collected(tmp_path: Path) -> None:
    loaded = contract(
        tmp_path,
        column("a", logicalTypeOptions={"maxLength": 3, "pattern": "^[a-z]*$"}, quality=enum("abc")),
        column("b", "integer", required=True, logicalTypeOptions={"minimum": 0}),
    )
    frame = pl.DataFrame({"a": ["ABCD"], "b": [-1]}, schema={"a": pl.String, "b": pl.Int64})
    assert broken(pandera_schema(loaded), frame) == {"length", "pattern", "enum", "range"}


def test_null_is_accepted_only_where_it_is_not_required(tmp_path: Path) -> None:
    loaded = contract(tmp_path, column("a", required=True), column("b"), column("c", primaryKey=True))
    schema, types = pandera_schema(loaded), {"a": pl.String, "b": pl.String, "c": pl.String}
    assert broken(schema, pl.DataFrame({"a": ["x"], "b": [None], "c": ["x"]}, schema=types)) == set()
    assert broken(schema, pl.DataFrame({"a": [None], "b": [None], "c": ["x"]}, schema=types)) == {
        "not_nullable"
    }
    assert broken(schema, pl.DataFrame({"a": ["x"], "b": [None], "c": [None]}, schema=types)) == {
        "not_nullable"
    }


def test_the_frame_has_the_contracts_columns_and_types(tmp_path: Path) -> None:
    schema = pandera_schema(contract(tmp_path, column("a", "integer"), column("b")))
    assert broken(schema, pl.DataFrame({"a": [1], "b": ["x"]})) == set()
    for frame in (
        pl.DataFrame({"a": [1]}),
        pl.DataFrame({"a": [1], "b": ["x"], "c": ["x"]}),
        pl.DataFrame({"a": ["1"], "b": ["x"]}),
        pl.DataFrame({"a": [1.0], "b": ["x"]}),
    ):
        assert broken(schema, frame)


def test_timestamps_are_in_utc(tmp_path: Path) -> None:
    schema = pandera_schema(contract(tmp_path, column("a", "timestamp")))
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    utc = pl.DataFrame({"a": [moment]}, schema={"a": pl.Datetime("us", "UTC")})
    assert broken(schema, utc) == set()
    assert broken(schema, utc.with_columns(pl.col("a").dt.convert_time_zone("Europe/Berlin")))
    assert broken(schema, utc.with_columns(pl.col("a").dt.replace_time_zone(None)))


def test_uniqueness_is_left_to_whole_datasets(tmp_path: Path) -> None:
    schema = pandera_schema(contract(tmp_path, column("a", primaryKey=True), column("b", unique=True)))
    assert broken(schema, pl.DataFrame({"a": ["x", "x"], "b": ["y", "y"]})) == set()


def test_a_lazy_frame_would_be_checked_for_its_schema_only(tmp_path: Path) -> None:
    schema = pandera_schema(contract(tmp_path, column("a", quality=enum("x"))))
    schema.validate(pl.LazyFrame({"a": ["bad"]}), lazy=True).collect()
    assert broken(schema, pl.DataFrame({"a": ["bad"]})) == {"enum"}
