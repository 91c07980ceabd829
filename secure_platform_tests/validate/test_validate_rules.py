"""Every rule finds its rows, wherever batches end, and nothing that comes out carries a value."""

import dataclasses
import json
import logging
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandera.config
import pandera.polars
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secure_platform.contract.load import load_contract
from secure_platform.contract.model import Column, Contract, LogicalType
from secure_platform.errors import ContractError, DataRefusedError, IntegrityError, SecurePlatformError
from secure_platform.source.csv import LINE, CsvSource, Malformed, check_header, find_source
from secure_platform.taxonomy.classification import Classification
from secure_platform.validate.keys import KeySearch
from secure_platform.validate.rules import Failure, Validation, validate

CANARY = "CANARY-7f3a"
Cells = list[str | None]


def column(name: str, kind: LogicalType = "string", **rules: Any) -> Column:
    return Column(name, kind, "", Classification.INTERNAL, **rules)


def contract(*columns: Column, **terms: Any) -> Contract:
    return Contract(
        dataset="visits",
        version="1.0.0",
        description="",
        owner="team:x",
        columns=columns,
        source_file="visits.csv",
        digest="",
        **terms,
    )


def text(**columns: Cells) -> pl.LazyFrame:
    """A raw snapshot whose rows start on lines 10, 12, 14, …"""
    frame = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))
    lines = pl.Series(LINE, range(10, 10 + 2 * frame.height, 2), pl.UInt64)
    return frame.insert_column(0, lines).lazy()


def broken(result: Validation) -> dict[str, list[int]]:
    """What is said in the quarantine: `column:rule` → lines."""
    said: dict[str, list[int]] = {}
    assert result.quarantine.schema == {LINE: pl.UInt64, "rule": pl.String}
    assert result.quarantine[LINE].is_sorted()
    assert result.quarantine[LINE].is_unique().all()
    for line, rules in result.quarantine.rows():
        for rule in rules.split(", "):
            said.setdefault(rule, []).append(line)
    return said


@pytest.mark.parametrize("batch_rows", [1, 2, 1000])
@pytest.mark.parametrize(
    ("declared", "cells", "rule", "lines"),
    [
        (column("x", required=True), ["a", None, "b", None], "not_null", [12, 16]),
        (column("x", "integer"), ["1", None, "1.5", "x"], "type", [14, 16]),
        (column("x", "number"), ["1", "NaN", "1e400", "1.5"], "type", [12, 14]),
        (column("x", "boolean"), ["true", "True", None, "false"], "type", [12]),
        (column("x", "date"), ["2020-02-30", "2020-02-29", None, "x"], "type", [10, 16]),
        (
            column("x", "timestamp"),
            ["2020-01-01T00:00:00Z", "2020-01-01T00:00:00", None, "x"],
            "type",
            [12, 16],
        ),
        (column("x", "integer", minimum=0, maximum=9), ["-1", "0", "9", "10"], "range", [10, 16]),
        (column("x", "number", minimum=0.5), ["0.5", "0.49", None, "1"], "range", [12]),
        (column("x", "date", maximum="2020-01-01"), ["2020-01-02", "2020-01-01", None], "range", [10]),
        (
            column("x", "timestamp", minimum="2020-01-01T00:00:00Z"),
            ["2019-12-31T23:59:59.999999Z", "2020-01-01T00:00:00Z", None],
            "range",
            [10],
        ),
        (column("x", min_length=2, max_length=3), ["é", "éé", "ééé", "éééé", None], "length", [10, 16]),
        (column("x", pattern="^[a-z]+$"), ["abc", "abC", "abc\n", None, "1abc"], "pattern", [12, 14, 18]),
        (column("x", pattern="^a|b$"), ["a", "b", "ax", "xb"], "pattern", [14, 16]),
        (column("x", enum=("F", "M")), ["F", "M", "f", " F", None], "enum", [14, 16]),
        (column("x", unique=True), ["a", "b", "a", None, None], "unique", [10, 14]),
        (column("x", primary_key=True, required=True), ["a", "b", "b"], "primary_key", [12, 14]),
    ],
)
def test_a_rule_finds_its_rows(
    declared: Column, cells: Cells, rule: str, lines: list[int], batch_rows: int
) -> None:
    result = validate(contract(declared), text(x=cells), batch_rows=batch_rows)
    assert broken(result) == {f"x:{rule}": lines}
    assert result.failures == (Failure("x", rule, len(lines)),)
    assert (result.rows, result.invalid_rows, result.passed) == (len(cells), len(lines), False)


def test_what_keeps_every_rule_passes() -> None:
    declared = contract(
        column("id", primary_key=True, required=True, pattern="^[a-z]$"),
        column("n", "integer", minimum=0, maximum=2),
        column("day", "date", required=True, minimum="2020-01-01"),
        minimum_rows=2,
    )
    result = validate(declared, text(id=["a", "b"], n=["0", None], day=["2020-01-01"] * 2))
    assert result == Validation(2, 0, (), passed=True, on_invalid="refuse", quarantine=result.quarantine)
    assert result.quarantine.is_empty()


def test_all_failures_are_found_and_a_row_counts_once() -> None:
    declared = contract(
        column("a", "integer", required=True, minimum=0),
        column("b", min_length=2, pattern="^[a-z]+$", enum=("ab", "cd")),
        column("c", unique=True),
    )
    result = validate(
        declared, text(a=["x", None, "-1", "1"], b=["Q", "ab", None, "cd"], c=["1", "1", "2", "3"])
    )
    assert result.failures == (
        Failure("a", "not_null", 1),
        Failure("a", "range", 1),
        Failure("a", "type", 1),
        Failure("b", "enum", 1),
        Failure("b", "length", 1),
        Failure("b", "pattern", 1),
        Failure("c", "unique", 2),
    )
    assert result.invalid_rows == 3
    assert broken(result) == {
        "a:type": [10],
        "a:not_null": [12],
        "a:range": [14],
        "b:enum": [10],
        "b:length": [10],
        "b:pattern": [10],
        "c:unique": [10, 12],
    }


def test_a_value_of_another_type_is_not_also_missing() -> None:
    result = validate(contract(column("x", "date", required=True)), text(x=["2020-02-30", None]))
    assert broken(result) == {"x:type": [10], "x:not_null": [12]}


def test_a_key_that_is_also_unique_is_told_once() -> None:
    declared = contract(column("x", primary_key=True, required=True, unique=True), minimum_rows=0)
    assert validate(declared, text(x=["a", "a"])).failures == (Failure("x", "primary_key", 2),)


@pytest.mark.parametrize("batch_rows", [1, 3, 100])
def test_a_composite_key_repeats_only_as_a_whole(batch_rows: int) -> None:
    declared = contract(column("a", primary_key=True), column("b", "number", primary_key=True))
    frame = text(a=["x", "x", "y", "x", None, None], b=["1", "2", "1", "1.0", "1", "1"])
    result = validate(declared, frame, batch_rows=batch_rows)
    assert result.failures == (Failure("a+b", "primary_key", 2),)
    assert broken(result) == {"a+b:primary_key": [10, 16]}


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("number", "1", "1.0"),
        ("number", "0", "-0.0"),
        ("timestamp", "2020-01-01T00:00:00Z", "2020-01-01T00:00:00.000Z"),
    ],
)
def test_keys_are_compared_as_values(kind: LogicalType, one: str, other: str) -> None:
    result = validate(contract(column("x", kind, unique=True)), text(x=[one, other]))
    assert broken(result) == {"x:unique": [10, 12]}


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.sampled_from("abcdefgh"))), st.integers(min_value=1, max_value=7))
def test_duplicates_are_found_across_batches(cells: Cells, batch_rows: int) -> None:
    result = validate(
        contract(column("x", unique=True), minimum_rows=0), text(x=cells), batch_rows=batch_rows
    )
    lines = [10 + 2 * i for i, cell in enumerate(cells) if cell is not None and cells.count(cell) > 1]
    assert broken(result) == ({"x:unique": lines} if lines else {})


def test_equal_hashes_of_different_keys_are_no_duplicates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KeySearch, "_hash", lambda *_: pl.lit(7, pl.UInt64))
    result = validate(
        contract(column("x", unique=True)), text(x=["a", "b", None, "c", "b", None]), batch_rows=2
    )
    assert broken(result) == {"x:unique": [12, 18]}


def test_malformed_records_are_invalid_rows() -> None:
    malformed = [
        Malformed(11, "encoding", b""),
        Malformed(13, "field_count", b""),
        Malformed(15, "field_count", b""),
    ]
    result = validate(contract(column("x")), text(x=["a", "b"]), malformed=malformed)
    assert (result.rows, result.invalid_rows) == (5, 3)
    assert result.failures == (Failure("*", "encoding", 1), Failure("*", "field_count", 2))
    assert broken(result) == {"encoding": [11], "field_count": [13, 15]}


@pytest.mark.parametrize(
    ("terms", "invalid", "passed"),
    [
        ({}, 0, True),
        ({}, 1, False),
        ({"on_invalid": "quarantine"}, 1, False),
        ({"on_invalid": "quarantine", "max_invalid_ratio": 0.2}, 1, True),
        ({"on_invalid": "quarantine", "max_invalid_ratio": 0.2}, 2, True),
        ({"on_invalid": "quarantine", "max_invalid_ratio": 0.2}, 3, False),
        ({"on_invalid": "refuse", "max_invalid_ratio": 0.2}, 1, False),
        ({"on_invalid": "quarantine", "max_invalid_ratio": 0.2, "minimum_rows": 8}, 2, True),
        ({"on_invalid": "quarantine", "max_invalid_ratio": 0.2, "minimum_rows": 9}, 2, False),
        ({"minimum_rows": 11}, 0, False),
    ],
)
def test_the_contract_says_what_invalid_rows_mean(
    terms: dict[str, Any], invalid: int, passed: object
) -> None:
    malformed = [Malformed(1, "encoding", b"")] if invalid else []
    cells: Cells = [*["bad"] * (invalid - len(malformed)), *["1"] * (10 - invalid)]
    result = validate(contract(column("x", "integer"), **terms), text(x=cells), malformed=malformed)
    assert (result.rows, result.invalid_rows, result.passed) == (10, invalid, passed)
    assert result.on_invalid == terms.get("on_invalid", "refuse")


def test_too_few_rows_are_a_failure_of_the_whole() -> None:
    result = validate(contract(column("x"), minimum_rows=3), text(x=["a"]))
    assert (result.passed, result.failures, result.invalid_rows) == (
        False,
        (Failure("*", "minimum_rows", 2),),
        0,
    )
    assert validate(contract(column("x"), minimum_rows=0), text(x=[])).passed
    empty = validate(contract(column("x", primary_key=True, required=True)), text(x=[]))
    assert empty.failures == (Failure("*", "minimum_rows", 1),)


def test_columns_beyond_the_contract_are_ignored() -> None:
    assert validate(contract(column("x", "integer")), text(x=["1"], y=["not a number"])).passed


@pytest.mark.parametrize(
    "frame",
    [
        text(y=[CANARY]),
        text(x=[CANARY]).drop(LINE),
        pl.LazyFrame({LINE: [1], "x": [1]}, schema_overrides={LINE: pl.UInt64}),
    ],
)
def test_a_snapshot_without_the_text_is_refused(frame: pl.LazyFrame) -> None:
    with pytest.raises(DataRefusedError, match="visits lacks text columns"):
        validate(contract(column("x")), frame)


@pytest.mark.parametrize("name", ["patients", "encounters", "conditions", "medications", "observations"])
def test_third_party_synthea_rows_are_valid(shared_data: Path, name: str) -> None:
    declared = load_contract(
        Path(__file__).parents[2]
        / "secure_platform"
        / "defs"
        / "healthcare"
        / "contracts"
        / f"{name}.odcs.yaml"
    )
    source = CsvSource(find_source(shared_data / "healthcare" / "synthea_csv", declared))
    assert check_header(declared, source.header) == []
    batches = list(source.batches(bytes_per_batch=50_000))
    result = validate(declared, pl.concat(batch.frame for batch in batches).lazy(), batch_rows=100)
    assert [batch.malformed for batch in batches] == [[] for _ in batches]
    assert (result.passed, result.failures) == (True, ())


# Pandera cannot be talked out of it


@pytest.fixture
def pandera_off() -> Iterator[None]:
    before = dataclasses.asdict(pandera.config.CONFIG)
    pandera.config.set_config(validation_enabled=False, validation_depth="SCHEMA_ONLY")
    yield
    # `set_config` takes None for "leave as it is", and None is what the depth was.
    vars(pandera.config.CONFIG).update(before)


@pytest.mark.usefixtures("pandera_off")
def test_pandera_settings_do_not_switch_validation_off() -> None:
    result = validate(contract(column("x", enum=("a",), required=True)), text(x=["b", None]))
    assert broken(result) == {"x:enum": [10], "x:not_null": [12]}


def test_pandera_environment_does_not_switch_validation_off() -> None:
    program = """
import polars as pl
from secure_platform.contract.model import Column, Contract
from secure_platform.taxonomy.classification import Classification
from secure_platform.validate.rules import validate
column = Column("x", "string", "", Classification.INTERNAL, enum=("a",), required=True)
declared = Contract(dataset="d", version="1.0.0", description="", owner="team:x", columns=(column,),
                    source_file="d.csv", digest="")
frame = pl.LazyFrame({"__line": [2, 3], "x": ["b", None]}, schema_overrides={"__line": pl.UInt64})
print(validate(declared, frame).invalid_rows)
"""
    switches = {"PANDERA_VALIDATION_ENABLED": "False", "PANDERA_VALIDATION_DEPTH": "SCHEMA_ONLY"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | switches, capture_output=True, text=True, check=True
    )
    assert done.stdout == "2\n"


# Nothing that comes out carries a value


def said_of(error: BaseException) -> str:
    """Everything that a log, a crash report or a user interface could print of an error."""
    assert isinstance(error, SecurePlatformError)
    assert error.__cause__ is None
    return "".join(traceback.format_exception(error)) + f"{error!r} {error.args!r}"


@pytest.fixture
def everything_printed(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> Iterator[list[str]]:
    """Collects what a test wants looked at; at its end it, logs and both streams must be free of values."""
    caplog.set_level(logging.DEBUG)
    printed: list[str] = []
    yield printed
    streams = capfd.readouterr()
    everything = "\n".join([*printed, caplog.text, streams.out, streams.err])
    assert printed
    assert CANARY not in everything
    assert "424242" not in everything


def test_reports_carry_no_value(everything_printed: list[str]) -> None:
    declared = contract(
        column("id", primary_key=True, required=True),
        column("s", pattern="^[a-z]$", enum=("a",), max_length=1),
        column("i", "integer", maximum=1),
        column("d", "date", required=True),
        column("u", unique=True),
    )
    frame = text(
        id=[CANARY] * 3,
        s=[CANARY] * 3,
        i=["424242", "424242", CANARY],
        d=[CANARY, None, "4242-42-42"],
        u=[CANARY] * 3,
    )
    result = validate(declared, frame, malformed=[Malformed(3, "encoding", CANARY.encode())])
    assert len(result.failures) == 11
    everything_printed += [
        repr(result),
        str(result),
        repr(result.failures),
        repr(dataclasses.astuple(result)),
    ]
    assert "shape" not in repr(result)


def test_an_unreadable_snapshot_is_told_without_values(everything_printed: list[str]) -> None:
    unreadable = text(x=["1", CANARY]).with_columns(pl.col("x").str.to_integer(strict=True).cast(pl.String))
    with pytest.raises(pl.exceptions.PolarsError, match=CANARY):
        unreadable.collect()
    with pytest.raises(IntegrityError) as caught:
        validate(contract(column("x")), unreadable)
    everything_printed.append(said_of(caught.value))


@pytest.mark.parametrize(
    "declared",
    [
        column("x", pattern="^(?=a)b$"),
        column("x", "integer", pattern="^a$"),
        column("x", "date", max_length=3),
    ],
)
def test_a_rule_that_cannot_be_computed_stops_validation(
    declared: Column, everything_printed: list[str]
) -> None:
    cells: dict[str, Cells] = {"string": [CANARY], "integer": ["424242"], "date": ["2020-01-01"]}
    with pytest.raises(ContractError) as caught:
        validate(contract(declared), text(x=cells[declared.logical_type]))
    everything_printed.append(said_of(caught.value))


def test_a_failure_inside_pandera_is_told_without_values(
    monkeypatch: pytest.MonkeyPatch, everything_printed: list[str]
) -> None:
    def crash(*_: object, **__: object) -> None:
        raise RuntimeError(CANARY)

    monkeypatch.setattr(pandera.polars.DataFrameSchema, "validate", crash)
    with pytest.raises(ContractError) as caught:
        validate(contract(column("x")), text(x=[CANARY]))
    everything_printed.append(said_of(caught.value))


@pytest.mark.slow
def test_memory_is_that_of_batches(tmp_path: Path) -> None:
    path = tmp_path / "big.parquet"
    rows = 300_000
    pl.select(pl.int_range(rows, eager=True).alias("id")).lazy().select(
        pl.col("id").cast(pl.UInt64).alias(LINE),
        pl.col("id").cast(pl.String),
        *(pl.col("id").cast(pl.String).str.pad_start(1000, name).alias(name) for name in "abcd"),
    ).sink_parquet(path, row_group_size=8_192)
    program = """
import json, sys
import polars as pl
from pathlib import Path
from secure_platform.contract.model import Column, Contract
from secure_platform.taxonomy.classification import Classification
from secure_platform.validate.rules import validate
def high_water():
    status = Path("/proc/self/status").read_text().split()
    return int(status[status.index("VmHWM:") + 1])
columns = [Column("id", "integer", "", Classification.INTERNAL, primary_key=True, required=True)]
columns += [Column(name, "string", "", Classification.INTERNAL, max_length=1000) for name in "abcd"]
declared = Contract(dataset="d", version="1.0.0", description="", owner="team:x", columns=tuple(columns),
                    source_file="d.csv", digest="")
before = high_water()
result = validate(declared, pl.scan_parquet(sys.argv[1]), batch_rows=8_192)
print(json.dumps([result.rows, result.passed, (high_water() - before) << 10]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    counted, passed, grown = json.loads(done.stdout)
    assert (counted, passed) == (rows, True)
    assert grown < 850 << 20  # The text alone is 1,200 MB; Polars reads some batches ahead.
