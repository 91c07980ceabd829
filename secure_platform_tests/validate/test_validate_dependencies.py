"""Who agrees in the determining columns agrees in the determined one, wherever in the file."""

from collections import Counter, defaultdict
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secure_platform.contract.model import Column, Contract, Dependency, LogicalType
from secure_platform.source.csv import LINE
from secure_platform.taxonomy.classification import Classification
from secure_platform.validate.dependencies import contradictions
from secure_platform.validate.rules import Failure, Validation, validate

Cells = list[str | None]
Types = dict[str, LogicalType]
CANARY = "CANARY-51c0"
ZIP = Dependency(("zip",), ("city",))
PHONE = Dependency(("phone",), ("city",))


def contract(*dependencies: Dependency, types: Types | None = None, **terms: Any) -> Contract:
    names = ("zip", "phone", "city")
    kinds: Types = {**dict.fromkeys(names, "string"), **(types or {})}
    return Contract(
        dataset="places",
        version="1.0.0",
        description="",
        owner="team:x",
        columns=tuple(Column(name, kinds[name], "", Classification.INTERNAL) for name in names),
        source_file="places.csv",
        dependencies=dependencies,
        digest="",
        **{"minimum_rows": 0, **terms},
    )


def text(**columns: Cells) -> pl.LazyFrame:
    """Rows on lines 0, 1, 2, …; columns that are not given are empty."""
    height = len(next(iter(columns.values())))
    cells = {name: columns.get(name, [None] * height) for name in ("zip", "phone", "city")}
    frame = pl.DataFrame(cells, schema=dict.fromkeys(cells, pl.String))
    return frame.with_columns(pl.int_range(pl.len(), dtype=pl.UInt64).alias(LINE)).lazy()


def invalid(result: Validation, name: str = "city") -> list[int]:
    said = f"{name}:dependency"
    return [line for line, rules in result.quarantine.iter_rows() if said in rules.split(", ")]


def test_the_minority_is_invalid_and_the_rows_count_once() -> None:
    rows = text(
        zip=["1", "1", "1", "2", "2"], phone=["7", "7", "7", "8", "8"], city=["a", "x", "a", "b", "b"]
    )
    result = validate(contract(ZIP, PHONE), rows)
    assert result.failures == (Failure("city", "dependency", 1),)
    assert invalid(result) == [1]
    assert not result.passed
    assert validate(contract(ZIP, on_invalid="quarantine", max_invalid_ratio=0.2), rows).passed


def test_where_nobody_has_the_majority_all_are_invalid() -> None:
    rows = text(zip=["1", "1", "2", "2", "2", "3"], city=["a", "b", "c", "d", "e", "f"])
    assert invalid(validate(contract(ZIP), rows)) == [0, 1, 2, 3, 4]


def test_another_dependency_decides_what_one_cannot() -> None:
    rows = text(zip=["1", "1", "2"], phone=["7", "8", "7"], city=["a", "b", "a"])
    assert invalid(validate(contract(ZIP), rows)) == [0, 1]
    assert invalid(validate(contract(ZIP, PHONE), rows)) == [1]
    # Rows that are alone there decide nothing.
    alone = text(zip=["1", "1"], phone=["7", "8"], city=["a", "b"])
    assert invalid(validate(contract(ZIP, PHONE), alone)) == [0, 1]


def test_empty_cells_and_values_of_no_type_contradict_nothing() -> None:
    rows = text(zip=["1", "1", "1", None, None, "2", "2"], city=["a", None, "a", "b", "c", "d", "x"])
    assert invalid(validate(contract(ZIP), rows)) == [5, 6]
    numbers = text(zip=["1", "1", "1"], city=["1", "1.0", "one"])
    result = validate(contract(ZIP, types={"city": "number"}), numbers)
    assert invalid(result) == []
    assert result.failures == (Failure("city", "type", 1),)


def test_several_columns_determine_together_only() -> None:
    both = Dependency(("zip", "phone"), ("city",))
    rows = text(zip=["1", "1", "1", "1"], phone=["7", "8", "7", "7"], city=["a", "b", "a", "c"])
    assert invalid(validate(contract(both), rows)) == [3]
    # Nor are "1" and "78" what "17" and "8" are.
    joined = text(zip=["1", "17"], phone=["78", "8"], city=["a", "b"])
    assert validate(contract(both), joined).passed


def test_what_is_told_holds_no_value() -> None:
    rows = text(zip=[CANARY, CANARY], city=[CANARY, "x"])
    result = validate(contract(ZIP), rows)
    assert not result.passed
    assert CANARY not in f"{result!r}{result.quarantine}"


@pytest.mark.parametrize("dependencies", [(ZIP,), (ZIP, PHONE)])
def test_no_valid_row_is_held(monkeypatch: pytest.MonkeyPatch, dependencies: tuple[Dependency, ...]) -> None:
    heights = []
    collect = pl.LazyFrame.collect

    def watched(query: pl.LazyFrame, **how: Any) -> pl.DataFrame:
        found: pl.DataFrame = collect(query, **how)
        heights.append(found.height)
        return found

    monkeypatch.setattr(pl.LazyFrame, "collect", watched)
    # One wrong cell in each of two places, and one place where nobody can tell by the first alone.
    cells = [("1", "7", "a")] * 500 + [("2", "8", "b")] * 500 + [("1", "7", "x"), ("2", "8", "y")]
    cells += [("3", "7", "a"), ("3", "9", "b")]
    zips, phones, cities = (list(column) for column in zip(*cells, strict=True))
    (found,) = contradictions(contract(*dependencies), text(zip=zips, phone=phones, city=cities))
    assert found[1].to_list() == [1000, 1001, *([1002] if len(dependencies) == 1 else []), 1003]
    assert 0 < max(heights) < 10


def by_hand(rows: list[tuple[Any, ...]], ways: list[tuple[int, ...]]) -> list[int]:
    """Lines that are wrong in the third column by the rule of the module, with every row in memory."""
    wrong, open_, believed = (set[int]() for _ in range(3))
    for way in ways:
        groups: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        for line, row in enumerate(rows):
            by = tuple(row[place] for place in way)
            if None not in by and row[2] is not None:
                groups[by].append(line)
        for lines in groups.values():
            counts = Counter(rows[line][2] for line in lines)
            (most, often), *others = counts.most_common()
            decided = 2 * often > len(lines)
            believed |= {line for line in lines if decided and often > 1 and rows[line][2] == most}
            if others:
                (wrong if decided else open_).update(
                    line for line in lines if not decided or rows[line][2] != most
                )
    return sorted(wrong | (open_ - believed))


WAYS: list[tuple[int, ...]] = [(0,), (1,), (0, 1)]
NAMES = ("zip", "phone", "city")
_TEXT = st.one_of(st.none(), st.sampled_from("abc"))
_NUMBER = st.one_of(st.none(), st.sampled_from(["0", "-0.0", "1", "1.00", "1e0", "0.5"]))


@settings(deadline=None)
@given(st.data(), st.sampled_from([1, 2, 3]), st.booleans())
def test_it_is_what_counting_by_hand_says(data: st.DataObject, ways: int, numbers: bool) -> None:  # noqa: FBT001
    cell = _NUMBER if numbers else _TEXT
    rows = data.draw(st.lists(st.tuples(cell, cell, cell), max_size=24))
    dependencies = [Dependency(tuple(NAMES[place] for place in way), ("city",)) for way in WAYS[:ways]]
    types: Types = dict.fromkeys(NAMES, "number") if numbers else {}
    given_rows = text(**{name: [row[place] for row in rows] for place, name in enumerate(NAMES)})
    result = validate(contract(*dependencies, types=types), given_rows)
    read: type = float if numbers else str
    values = [tuple(None if each is None else read(each) for each in row) for row in rows]
    assert invalid(result) == by_hand(values, WAYS[:ways])


@pytest.mark.parametrize("order", [1, -1])
def test_nothing_hangs_on_the_order_of_rows(order: int) -> None:
    cells = [("1", "a")] * 3 + [("1", "b")] + [("2", "c")] * 2
    rows = cells[::order]
    found = invalid(validate(contract(ZIP), text(zip=[z for z, _ in rows], city=[c for _, c in rows])))
    assert [rows[line] for line in found] == [("1", "b")]
