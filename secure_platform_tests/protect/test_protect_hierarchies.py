"""A hierarchy is part of the plan, joins and never parts, and its published ones do what they say."""

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protect_examples import KEYS, column, compiled, contract, refused

from secure_platform.errors import PlanRefusedError
from secure_platform.protect.changes import changes
from secure_platform.protect.execute import apply
from secure_platform.protect.hierarchies import MOST_VALUES, read_hierarchy

FREE = "gdpr_pseudonymous"


def write(folder: Path, text: str) -> Path:
    (folder / "hierarchies").mkdir(exist_ok=True)
    (folder / "hierarchies" / "h.csv").write_text(text, encoding="utf-8")
    return folder


def asked(level: int, file: str = "education.csv") -> dict[str, str | int]:
    return {"transform": "generalize", "to": "hierarchy", "file": file, "level": level}


def test_the_hierarchies_of_the_census_data_join_its_values(shared_data: Path, tmp_path: Path) -> None:
    """Every level of every hierarchy that ARX publishes with the adult data, on the data themselves."""
    folder = shared_data / "census" / "arx_adult"
    adults = pl.read_csv(
        io.BytesIO(gzip.decompress((folder / "adult.csv.gz").read_bytes())), separator=";", infer_schema=False
    )
    checked = 0
    for path in sorted(folder.glob("adult_hierarchy_*.csv")):
        name = path.stem.removeprefix("adult_hierarchy_")
        lines = list(csv.reader(path.read_text().splitlines(), delimiter=";"))
        write(tmp_path, path.read_text())
        before = adults[name].to_list()
        groups = len(set(before))
        for level in range(1, len(lines[0])):
            values = read_hierarchy(tmp_path, "h.csv", level)
            after = [values[value] for value in before]
            said = {line[0]: line[level] for line in lines}
            assert all(new == said[old] for old, new in zip(before, after, strict=True))
            assert len(set(after)) <= groups
            groups, checked = len(set(after)), checked + 1
        assert groups == 1, "the last level is one for all"
    assert checked == 18


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a;x;*\nb;x\n", "has no level"),
        ("a;x\nb;y\n", "has no level"),
        ("", "has no level"),
        ("\n".join(f"{i};x;*" for i in range(MOST_VALUES + 1)), "at most 10,000"),
        ("a;x;*\na;y;*\n", "Level 1 .* separates values that level 0 merges"),
        ("a;x;p\nb;x;q\n", "Level 2 .* separates values that level 1 merges"),
        ('"a;x\n', "cannot be read"),
    ],
)
def test_what_is_no_hierarchy_is_refused(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(PlanRefusedError, match=said):
        read_hierarchy(write(tmp_path, text), "h.csv", 2)


@pytest.mark.parametrize("file", ["../h.csv", "/etc/passwd", "h.txt", ".csv", "a/b.csv", "h.csv\n"])
def test_a_file_is_named_and_lies_in_the_folder(file: str, tmp_path: Path) -> None:
    with pytest.raises(PlanRefusedError, match="unusable file name"):
        read_hierarchy(write(tmp_path, "a;x\n"), file, 1)


def test_a_file_that_is_not_there_refuses_the_plan() -> None:
    assert "nowhere.csv cannot be read" in refused(column("v", protect=asked(1, "nowhere.csv")), profile=FREE)


@given(
    st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters=';"\r\n\x00'), min_size=1, max_size=8),
        min_size=1,
    )
)
@settings(max_examples=50, deadline=None)
def test_what_a_plan_holds_is_what_is_done(values: list[str]) -> None:
    """The plan is executed as it stands, wherever that is: the file is not read again."""
    plan = compiled(contract("people", column("v", protect=asked(1))), profile=FREE).datasets["people"]
    frame = pl.LazyFrame({"v": ["Masters", "9th", *values]}, schema={"v": pl.String})
    after = apply(plan, frame, KEYS).collect()["v"].to_list()
    assert after[:2] == ["Graduate", "High School"]
    assert after[2:] == [None] * len(values)
    assert "Graduate" in str(plan.columns[0].params["values"])


def sentences(old: dict[str, str], new: dict[str, str], level: int = 1) -> str:
    """What is said when the file changes, or the level."""

    def plan(values: dict[str, str], level: int) -> dict[str, Any]:
        subject = column("v", protect=asked(level))
        found = compiled(contract("people", subject), profile=FREE).to_json()
        found["datasets"]["people"][0]["params"]["values"] = json.dumps(values)
        return {**found, "digest": str(values)}

    (said,) = changes(plan(old, 1), plan(new, level))
    return said


APART = {"a": "x", "b": "x", "c": "y"}


@pytest.mark.parametrize(
    ("new", "weaker"),
    [
        ({"a": "x", "b": "x", "c": "x"}, False),
        ({"a": "x", "b": "x"}, False),
        ({"a": "1", "b": "1", "c": "2"}, False),
        ({"a": "x", "b": "y", "c": "y"}, True),
        ({"a": "x", "b": "x", "c": "y", "d": "y"}, True),
    ],
)
def test_a_file_that_parts_what_it_had_together_is_weaker(new: dict[str, str], weaker: bool) -> None:  # noqa: FBT001 - a table
    for level in (1, 2):
        assert ("WEAKER" in sentences(APART, new, level)) is weaker
    assert "values sha256:" in sentences(APART, new)


def test_a_lower_level_is_weaker() -> None:
    one, two = (
        compiled(contract("people", column("v", protect=asked(level))), profile=FREE).to_json()
        for level in (1, 2)
    )
    assert "WEAKER" in changes(two, one)[0]
    assert "WEAKER" not in changes(one, two)[0]
