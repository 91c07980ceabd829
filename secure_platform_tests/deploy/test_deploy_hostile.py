"""Hostile cells and names from a release through production to the reader, cell for cell."""

import csv
import io
import json
from pathlib import Path

import polars as pl
import pytest
from deploy_support import Home, new_home

from secure_platform.cli.export import csv_lines
from secure_platform.cli.output import printable
from secure_platform.errors import UsageError


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return new_home(tmp_path / "home")


@pytest.fixture
def strings(shared_data: Path) -> list[str]:
    found = json.loads((shared_data / "torture" / "blns.json").read_text("utf-8"))
    assert len(found) == 515
    return list(found)


def test_hostile_cells_reach_readers_exactly(home: Home, strings: list[str]) -> None:
    frame = pl.DataFrame({"n": range(len(strings)), "text": strings})
    home.release(1, things=frame)
    home.publish(1, None)
    read = home.target.query("healthcare", "FROM things ORDER BY n", limit=1_000, actor="ana")
    assert read["text"].to_list() == strings
    exported = io.StringIO("\n".join(csv_lines(read.columns, read.rows())), newline="")
    assert [row[1].removeprefix("'") for row in csv.reader(exported)][1:] == strings
    assert all(printable(text).isprintable() for text in strings)


def test_hostile_column_names_reach_readers_exactly(home: Home, strings: list[str]) -> None:
    distinct = {name.casefold(): name for name in strings if name.strip() and "\0" not in name}
    names = [name for name in distinct.values() if len(name) < 200]
    home.release(1, things=pl.DataFrame({name: [place] for place, name in enumerate(names)}))
    home.publish(1, None)
    read = home.target.query("healthcare", "FROM things", limit=1, actor="ana")
    assert read.columns == names
    assert read.row(0) == tuple(range(len(names)))


def test_hostile_strings_are_no_queries(home: Home, strings: list[str]) -> None:
    home.release(1)
    home.publish(1, None)
    for text in [*strings[::12], "select '\udc80'", "\udcff"]:
        with pytest.raises(UsageError) as caught:
            home.target.query("healthcare", text, limit=1, actor="ana")
        assert printable(str(caught.value)).isprintable()
    home.audit.verify()
