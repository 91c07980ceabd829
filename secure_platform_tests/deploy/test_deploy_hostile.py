"""Hostile cells and names from a release through production to the reader, cell for cell."""

import csv
import io
from pathlib import Path

import polars as pl
import pytest
from deploy_support import Home, new_home

from secure_platform.cli.output import printable
from secure_platform.errors import UsageError
from secure_platform.spreadsheet import csv_lines


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return new_home(tmp_path / "home")


def test_hostile_cells_reach_readers_exactly(home: Home, naughty_strings: list[str]) -> None:
    frame = pl.DataFrame({"n": range(len(naughty_strings)), "text": naughty_strings})
    home.release(1, things=frame)
    home.publish(1, None)
    read = home.target.query("healthcare", "FROM things ORDER BY n", limit=1_000, actor="ana")
    assert read["text"].to_list() == naughty_strings
    exported = io.StringIO("\n".join(csv_lines(read.columns, read.rows())), newline="")
    assert [row[1].removeprefix("'") for row in csv.reader(exported)][1:] == naughty_strings
    assert all(printable(text).isprintable() for text in naughty_strings)


def test_hostile_column_names_reach_readers_exactly(home: Home, naughty_strings: list[str]) -> None:
    distinct = {name.casefold(): name for name in naughty_strings if name.strip() and "\0" not in name}
    names = [name for name in distinct.values() if len(name) < 200]
    home.release(1, things=pl.DataFrame({name: [place] for place, name in enumerate(names)}))
    home.publish(1, None)
    read = home.target.query("healthcare", "FROM things", limit=1, actor="ana")
    assert read.columns == names
    assert read.row(0) == tuple(range(len(names)))


def test_hostile_strings_are_no_queries(home: Home, naughty_strings: list[str]) -> None:
    home.release(1)
    home.publish(1, None)
    for text in [*naughty_strings[::12], "select '\udc80'", "\udcff"]:
        with pytest.raises(UsageError) as caught:
            home.target.query("healthcare", text, limit=1, actor="ana")
        assert printable(str(caught.value)).isprintable()
    home.audit.verify()
