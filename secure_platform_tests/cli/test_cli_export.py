"""CSV for spreadsheets: nothing in it is executed, and everything in it comes back."""

import csv
import io
import os
import re
import stat
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from cli_support import Cli
from hypothesis import given
from hypothesis import strategies as st

from secure_platform.cli import export
from secure_platform.cli.export import print_csv, write_csv
from secure_platform.errors import StorageError, UsageError
from secure_platform.spreadsheet import csv_lines, is_executed, neutral

FIELD = re.compile(r'"((?:[^"]|"")*)"|([^",\n]*)')


def decoded(record: str) -> list[str | tuple[str] | None]:
    """The cells of a record by the documented rule: texts as they are, other values as one-tuples."""
    cells: list[str | tuple[str] | None] = []
    place = 0
    while True:
        found = FIELD.match(record, place)
        assert found is not None
        if found[1] is None:
            cells.append((found[2],) if found[2] else None)
        else:
            cells.append(found[1].replace('""', '"').removeprefix("'"))
        place = found.end()
        if place == len(record):
            return cells
        assert record[place] == ","
        place += 1


ATTACKS = [
    *(f"{sign}1+1" for sign in "=+-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b\u207a"),
    *(
        f"{before}=1+1"
        for before in (" ", "\u00a0", "\u3000", '"', "'", "\u201c", '"\'" ', "\u200b", "\ufeff")
    ),
    *(f"{control}anything" for control in "\t\r\n\x00\x0b\x0c\x1b\x85\u202e"),
    "  \t=1",
    "-",
    "=",
    "-1.5e3abc",
    "@SUM(A1:A2)",
    "=cmd|' /C calc'!A0",
    "+cmd|' /C calc'!A0",
    '=HYPERLINK("http://x","y")',
    "\uff0dcmd|' /C calc'!A0",
]


@pytest.mark.parametrize("text", ATTACKS, ids=ascii)
def test_what_a_spreadsheet_executes_gets_a_mark(text: str) -> None:
    assert is_executed(text)
    assert neutral(text) == f"'{text}"


def test_third_party_payloads_get_a_mark(shared_data: Path) -> None:
    payloads = (shared_data / "torture" / "csv_injection_payloads.txt").read_text("utf-8").splitlines()
    assert len(payloads) == 6
    for payload in payloads:
        # One of them hides behind a separator, which quotes make a part of the text.
        record = next(iter(csv_lines([payload], [])))
        (cell,) = next(csv.reader([record]))
        assert cell.lstrip()[:1] not in {"=", "+", "-", "@", "\t", "\r"}
        assert decoded(record) == [payload]


@pytest.mark.parametrize("text", ["", "a", "a=b", "1", "1-2", "x@y.org", "(a)", "é", "a\n=b", "#N/A"])
def test_other_texts_are_left_alone(text: str) -> None:
    assert neutral(text) == text


skipped = st.text(
    st.characters(categories=["Mn", "Me", "Zs", "Zl", "Zp", "Cn"])
    | st.sampled_from("\u3164\u115f\u1160\uffa0\u2800\u17b4\u034f\ufe0f"),
    min_size=1,
    max_size=4,
)


@given(skipped, st.sampled_from("=+-@\uff1d\ufe62\t"), st.text(max_size=5))
def test_nothing_invisible_hides_a_formula(before: str, sign: str, after: str) -> None:
    assert neutral(before + sign + after) == f"'{before}{sign}{after}"
    assert not is_executed(before + "a" + sign)


hostile = st.text(st.sampled_from(list("=+-@\t\r\n '\"`,;ab1\uff1d\u200b\u00a0|!")), max_size=8)
texts = st.text(max_size=20) | hostile


@given(st.lists(texts, min_size=1, max_size=4), st.data())
def test_every_text_comes_back_and_none_is_executed(names: list[str], data: st.DataObject) -> None:
    row = data.draw(st.lists(texts | st.none(), min_size=len(names), max_size=len(names)))
    header, record = csv_lines(names, [row])
    assert decoded(header) == names
    assert decoded(record) == row
    seen = next(csv.reader(io.StringIO(record, newline=""), strict=True)) if record else [""]
    assert not any(is_executed(cell) and not cell.startswith("'") for cell in seen)
    assert seen == ["" if cell is None else neutral(cell) for cell in row]


@given(
    st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.decimals(allow_nan=False, allow_infinity=False)
)
def test_numbers_stay_numbers(number: float | Decimal) -> None:
    _, record = csv_lines(["n"], [[number]])
    assert record == str(number)
    assert type(number)(record) == number


def test_every_type_has_one_spelling() -> None:
    assert list(csv_lines(["a", "b"], [[True, False]])) == ['"a","b"', "true,false"]
    row = [
        date(2020, 1, 2),
        datetime(2020, 1, 2, 3, tzinfo=UTC),
        timedelta(days=-1),
        b"\xff",
        [1, "=x"],
        {"=a": 0},
        None,
        "",
        -1.5,
    ]
    assert list(csv_lines(["=a", "b"], [row])) == [
        '"\'=a","b"',
        '2020-01-02,2020-01-02T03:00:00Z,"\'-1 day, 0:00:00","ff","[1, ""=x""]","\'{""=a"": 0}",,"",-1.5',
    ]


def test_a_file_is_private_new_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.csv"
    write_csv(path, ["a"], [["=1"]])
    assert path.read_text("utf-8") == '"a"\n"\'=1"\n'
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(UsageError, match="cannot be written"):
        write_csv(path, ["b"], [])
    with pytest.raises(UsageError, match="cannot be written"):
        write_csv(tmp_path / "none" / "out.csv", ["b"], [])

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, "write_private", full)
    with pytest.raises(StorageError, match="No space left"):
        write_csv(tmp_path / "more.csv", ["a"], [])
    assert [file.name for file in tmp_path.iterdir()] == ["out.csv"]
    assert path.read_text("utf-8") == '"a"\n"\'=1"\n'


def test_a_terminal_gets_nothing_that_it_would_obey(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    print_csv(["a"], [["\x1b[2J\u202e"]])
    assert capsys.readouterr().out == '"a"\n"\'\x1b[2J\u202e"\n'
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    print_csv(["a"], [["\x1b[2J\u202e"]])
    assert capsys.readouterr().out == '"a"\n"\'\\x1b[2J\\u202e"\n'


def test_the_command_takes_one_form_and_a_new_file(cli: Cli, tmp_path: Path) -> None:
    cli.add("ana", "analyst")
    asked = ("sql", "healthcare", "select 1")
    assert cli(*asked, "--csv", "--json", token="ana").code == 2
    (tmp_path / "there.csv").write_text("x")
    result = cli(*asked, "--out", str(tmp_path / "there.csv"), "--json", token="ana")
    assert (result.code, "it exists" in result.json["culprit"]) == (2, True)
    assert (tmp_path / "there.csv").read_text() == "x"
    assert cli(*asked, "--out", str(tmp_path / "new.csv")).code == 4
    assert not os.path.lexists(tmp_path / "new.csv")
