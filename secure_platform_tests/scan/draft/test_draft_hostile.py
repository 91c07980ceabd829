"""Headers and cells of any kind make a contract that loads, or an error that says what to do."""

import json
import re
from pathlib import Path

import polars as pl
import pytest
from draft_support import SCANNER, drafts, files, loaded

from secure_platform.contract.model import Protect
from secure_platform.errors import DataRefusedError, SecurePlatformError, UsageError
from secure_platform.scan.columns import Scanner
from secure_platform.scan.draft.document import contract_text
from secure_platform.scan.draft.drafting import drafted
from secure_platform.scan.draft.names import fitting_names, usable_names
from secure_platform.scan.draft.tables import converted, read_table
from secure_platform.taxonomy.info_types import info_types

HOSTILE = [
    *(
        ": {}",
        "!!python/object:os.system",
        "a\nb: c",
        "- x",
        "# y",
        "&a",
        "*a",
        "{{ 7*7 }}",
        "'",
        "\U0001f600",
    ),
    *(
        "%YAML 1.1",
        "a'); drop table t; --",
        "=cmd|' /C calc'!A0",
        "\u202eabc",
        "a\x85b",
        "^.*$",
        "*",
        "__line2",
    ),
    *("x" * 64, " lead", "trail ", "-", "5", "ünï", "a.b", "$x", "\ufeffz", "null\u2028- evil: 1"),
]
WORDS = [
    "select",
    "Order",
    "group",
    "null",
    "true",
    "no",
    "y",
    "on",
    "off",
    "yes",
    "Null",
    "table",
    "id",
    "to",
]


def csv_of(header: list[str], rows: int = 30) -> str:
    cells = ",".join('"' + name.replace('"', '""') + '"' for name in header)
    return cells + "\n" + "".join(",".join(f"v{n}" for _ in header) + "\n" for n in range(rows))


def test_hostile_names_stay_in_raw_and_inject_nothing(tmp_path: Path) -> None:
    (draft,) = drafts(files(tmp_path, {"t.csv": csv_of([*HOSTILE, "good"])})).values()
    contract = loaded(draft)
    assert [column.name for column in contract.columns] == ["good"]
    assert (contract.extra_columns, len(draft.left_out)) == ("keep_raw", len(HOSTILE))


def test_words_of_sql_and_yaml_are_names_as_any(tmp_path: Path) -> None:
    (draft,) = drafts(files(tmp_path, {"t.csv": csv_of(WORDS)})).values()
    names = [column.name for column in loaded(draft).columns]
    assert names == [name for name in WORDS if name != "Null"]


def test_three_hundred_columns_are_drafted(tmp_path: Path) -> None:
    header = [f"c{number}" for number in range(300)]
    (draft,) = drafts(files(tmp_path, {"t.csv": csv_of(header, rows=3)})).values()
    assert len(loaded(draft).columns) == 300


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.csv", "a,a\n1,2\n", "same name"),
        ("t.csv", "a,,b\n1,2,3\n", "no name"),
        ("t.csv", "", "is empty"),
        ("t.csv", "a,b\n" + "é,x\n".encode("latin-1").decode("latin-1") * 5, None),
        ("t.csv", b"a,b\n" + b"\xe9,x\n" * 5, "none of a table"),
        ("t.csv", "a,b\n1\n2\n3\n4,5\n", "none of a table"),
        ("t.csv", "\U0001f600\nx\n", "can name"),
        ("t.tsv", "a\tb\n1\n", "none of a table"),
        ("t.tsv", b"\xff\xfe\x00", "encoding"),
        ("t.ndjson", "[1]\nnothing\n", "no record"),
        ("t.ndjson", '{"a": ' * 100_000, "no record"),
        ("t.parquet", "PAR1", "Parquet"),
        ("t.xyz", "a,b\n", "no kind"),
        ("\U0001f600.csv", "a,b\nx,y\n", "no name for a dataset"),
    ],
    ids=lambda value: ascii(value)[:20] if isinstance(value, str) else None,
)
def test_what_is_no_table_is_refused(
    name: str, content: str | bytes, said: str | None, tmp_path: Path
) -> None:
    paths = files(tmp_path, {name: content})
    if said is None:
        loaded(*drafts(paths).values())
        return
    with pytest.raises(SecurePlatformError, match=said):
        drafts(paths)


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    paths = files(tmp_path, {"a b.csv": "x,y\na,b\n", "a_b.csv": "x,y\na,b\n"})
    with pytest.raises(UsageError, match="a_b"):
        drafts(paths)


def test_nested_records_and_numbers_keep_their_text(tmp_path: Path) -> None:
    records = [{"n": 10**30, "f": 1.10, "in": {"a": [n]}, "s": f"t{n}"} for n in range(30)]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (draft,) = drafts(files(tmp_path, {"t.ndjson": lines})).values()
    kinds = {column.name: column.logical_type for column in draft.columns}
    assert kinds == {"n": "string", "f": "number", "in": "string", "s": "string"}


def test_a_draft_is_the_same_every_time(tmp_path: Path) -> None:
    rows = "".join(f"{n},p{n}@example.org,{'ab'[n % 2]},{n}.5,2020-01-0{n % 9 + 1}\n" for n in range(200))
    paths = files(tmp_path, {"t.csv": f"id,mail,kind,amount,day\n{rows}", "u.csv": f"id,mail,k,a,d\n{rows}"})
    texts = {"".join(contract_text(draft, "x") for draft in drafts(paths).values()) for _ in range(2)}
    assert len(texts) == 1


def test_converted_names_are_all_usable_and_distinct(tmp_path: Path) -> None:
    (path,) = files(tmp_path, {"t.csv": csv_of([*HOSTILE, "Name", "name", "_name"])})
    table = converted(read_table(path, Scanner(info_types())))
    assert usable_names(table.header) == table.header
    assert table.frame.collect().columns == list(table.header)
    assert table.frame.collect().height == 30


def test_a_name_made_shorter_takes_no_name_that_is_there() -> None:
    assert fitting_names(["\u00e9", "e", "e_1"]) == ("e_1_1", "e", "e_1")


def test_a_converted_column_is_what_the_file_calls_it(tmp_path: Path) -> None:
    header = "Stra\u00dfe;\u6c0f\u540d;amount\n"
    rows = "".join(f"Lindenallee {n};\u5c71\u7530\u592a\u90ce {n};{n}.5\n" for n in range(40))
    (path,) = files(tmp_path, {"t.csv": header + rows})
    (draft,) = drafted([converted(read_table(path, SCANNER))], SCANNER)
    assert [(column.name, column.info_type) for column in draft.columns] == [
        ("Strasse", "STREET_ADDRESS"),
        ("column_2", "PERSON_NAME"),
        ("amount", None),
    ]


def test_a_cell_that_holds_several_kinds_is_dropped_until_somebody_decides(tmp_path: Path) -> None:
    record = '{"home": {"line": ["1 Main St"], "city": "Boston", "postalCode": "02101"}, "n": 1}\n'
    (draft,) = drafts(files(tmp_path, {"t.ndjson": record * 40})).values()
    home = draft.column("home")
    assert home.protect == Protect("drop")
    assert any("it holds CITY" in doubt for doubt in home.doubts)


def test_a_column_of_json_is_dropped_until_somebody_says_what_is_in_it(tmp_path: Path) -> None:
    records = [{"id": n, "tags": ["a", "b"], "more": {"note": f"n {n}"}, "text": "[sic]"} for n in range(40)]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (draft,) = drafts(files(tmp_path, {"t.ndjson": lines})).values()
    dropped = {column.name for column in draft.columns if column.protect == Protect("drop")}
    assert dropped == {"tags", "more"}
    assert all(any("JSON" in doubt for doubt in draft.column(name).doubts) for name in dropped)
    loaded(draft)


def test_a_nested_column_of_parquet_is_refused_by_its_name(tmp_path: Path) -> None:
    frame = pl.DataFrame({"id": [1], "tags": [["a"]], "jane@example.org": [{"a": 1}]})
    told = {("id", "tags"): "nested column 2, tags", ("jane@example.org",): "nested column 1$"}
    for columns, said in told.items():
        frame.select(columns).write_parquet(tmp_path / "t.parquet")
        with pytest.raises(DataRefusedError) as refused:
            drafts([tmp_path / "t.parquet"])
        assert re.search(said, refused.value.culprit)
        assert "JSON as text" in refused.value.fix


def test_a_large_promise_of_text_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secure_platform.scan.draft.tables.HELD", 1000)
    with pytest.raises(DataRefusedError, match="1 GiB"):
        drafts(files(tmp_path, {"t.ndjson": '{"a": "x", "b": "y"}\n' * 1000}))
    (draft,) = drafts(files(tmp_path, {"t.csv": csv_of(["a", "b"], rows=500)})).values()
    assert draft.rows == 500
    loaded(draft)


@pytest.mark.parametrize(("name", "value"), [("COLUMN_LIMIT", 20), ("HELD", 4000)], ids=["columns", "cells"])
def test_objects_whose_members_are_data_do_not_fill_the_memory(
    name: str, value: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"secure_platform.scan.draft.tables.{name}", value)
    lines = "".join(f'{{"user{n}": 1}}\n' for n in range(40))
    with pytest.raises(DataRefusedError, match="different members"):
        drafts(files(tmp_path, {"t.ndjson": lines}))


def test_an_object_with_a_member_twice_is_no_record(tmp_path: Path) -> None:
    lines = "".join(f'{{"id": {n}, "note": "n"}}\n' for n in range(40))
    twice = '{"id": 41, "note": "jane@example.org", "note": "n"}\n'
    (draft,) = drafts(files(tmp_path, {"t.ndjson": lines + twice})).values()
    assert (draft.rows, draft.malformed) == (40, 1)


@pytest.mark.parametrize("name", ["t.psv", "t.csv"])
def test_other_separators_are_read_by_the_rules_of_commas(name: str, tmp_path: Path) -> None:
    text = "a|b\r\n" + '"x|1"|\r\n' * 39 + '"y\nz""|"|2\r\n' + "one\r\n"
    (path,) = files(tmp_path, {name: text})
    table = read_table(path, SCANNER)
    assert (table.rows, table.malformed, table.as_it_is) == (40, 1, False)
    assert table.frame.collect().rows()[-2:] == [("x|1", None), ('y\nz"|', "2")]
