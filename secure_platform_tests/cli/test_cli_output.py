"""What is printed: readable as lines, harmless to a terminal, valid as JSON."""

import io
import json
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_platform.cli.output import (
    Output,
    brief,
    heading,
    line,
    print_json,
    printable,
    records,
    show,
    table,
)

HOSTILE = "\x1b]0;owned\x07\x1b[2J\rfake\n\x9b31m\u202eedoc\u2066"


@given(st.text())
def test_nothing_that_steers_a_terminal_is_printable(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    if text.isprintable():
        assert shown == text


def test_nothing_printed_steers_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output()
    heading(out, HOSTILE)
    line(out, HOSTILE)
    table(out, (HOSTILE,), [(HOSTILE,)])
    records(out, ["a", HOSTILE], [(HOSTILE, HOSTILE)])
    text = capsys.readouterr().out
    assert text.replace("\n", "").isprintable()
    assert "\\x1b]0;owned" in text


def test_markup_in_data_is_only_text(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output()
    line(out, "[bold]a[/bold] [link=x]b[/link] [/]")
    table(out, ("[red]n",), [("[/red]",)])
    assert "[bold]a[/bold] [link=x]b[/link] [/]" in (text := capsys.readouterr().out)
    assert "[red]n" in text
    assert "[/red]" in text


def test_without_a_terminal_a_row_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output()
    rows = [(f"{number}" * 300, "x" * 300, number) for number in range(3)]
    table(out, ("first", "second", "number"), rows)
    assert len(capsys.readouterr().out.splitlines()) == 2 + 3
    line(out, "y" * 3000)
    assert capsys.readouterr().out == "y" * 3000 + "\n"


def test_the_width_can_be_given(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    table(Output(), ("first", "second"), [("word " * 20, "word " * 20)])
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) > 3
    assert max(len(row) for row in printed) <= 60


@pytest.mark.parametrize(("width", "firm"), [("90", True), ("40", False)])
def test_the_last_column_gives_way_first(
    width: str, *, firm: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    table(Output(), ("first", "second", "third"), [("a" * 30, "b" * 30, "word " * 20)])
    printed = capsys.readouterr().out
    assert ("a" * 30 in printed) == firm
    assert printed.count("a") == printed.count("b") == 30
    assert printed.count("word") == 20
    assert max(len(row) for row in printed.splitlines()) <= int(width)


def test_rows_that_do_not_fit_become_blocks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    columns = [f"column_{number}" for number in range(12)]
    rows = [tuple(range(12)), tuple(f"value {number}" for number in range(12))]
    records(Output(), columns, rows)
    printed = [row.split() for row in capsys.readouterr().out.splitlines()]
    assert ["row", "1"] in printed
    assert ["column_11", "11"] in printed
    assert ["column_11", "value", "11"] in printed
    records(Output(), columns[:2], [row[:2] for row in rows])
    assert ["column_0", "column_1"] in [row.split() for row in capsys.readouterr().out.splitlines()]


def test_numbers_stand_right_and_nothing_is_empty(capsys: pytest.CaptureFixture[str]) -> None:
    table(Output(), ("name", "n", "flag"), [("a", 5, True), ("b", None, False), ("c", 1000, True)])
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split() for row in rows] == [["a", "5", "True"], ["b", "False"], ["c", "1000", "True"]]
    assert rows[0].index("5") == rows[2].index("1000") + 3


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (1.5, 1.5),
        (True, True),
        (None, None),
        (b"\x00\xff", "00ff"),
        (Decimal("1.10"), "1.10"),
        (date(2024, 2, 29), "2024-02-29"),
        ((1, {"a": float("inf")}), [1, {"a": "inf"}]),
        (HOSTILE, HOSTILE),
        ({1: 2}, {"1": 2}),
    ],
)
def test_json_is_json_whatever_the_data(
    value: Any, expected: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    show({"value": value}, as_json=True, render=lambda _out: pytest.fail("not for programs"))
    text = capsys.readouterr().out

    def refuse(name: str) -> None:
        pytest.fail(f"{name} is not JSON")

    assert json.loads(text, parse_constant=refuse) == {"value": expected}
    assert text.replace("\n", "").isprintable()


def test_the_order_of_columns_is_kept_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    print_json([{"z": 1, "a": 2}])
    assert list(json.loads(capsys.readouterr().out)[0]) == ["z", "a"]


def test_long_digests_are_cut_and_words_are_not() -> None:
    digest = "sha256:" + "0123456789abcdef" * 4
    assert brief(f"Release 3 ({digest}) of 2024-01-31") == "Release 3 (sha256:0123456789ab…) of 2024-01-31"
    assert brief("p:" + "a" * 32) == "p:aaaaaaaaaaaa…"
    assert brief("healthcare_build 123456789 deadbeef") == "healthcare_build 123456789 deadbeef"


def test_output_that_is_not_utf8_does_not_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="replace")
    monkeypatch.setattr("sys.stdout", stream)
    table(Output(), ("näme",), [("…",)])
    line(Output(), "é…")
    stream.flush()
    assert stream.buffer.getvalue().isascii()
