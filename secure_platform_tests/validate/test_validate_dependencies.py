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


_CELL = st.one_of(st.none(), st.sampled_from("abc"))


@settings(deadline=None)
@given(st.lists(st.tuples(_CELL, _CELL, _CELL), max_size=24), st.booleans())
def test_it_is_what_counting_by_hand_says(rows: list[tuple[str | None, ...]], both: bool) -> None:  # noqa: FBT001
    wrong, open_, believed = (set[int]() for _ in range(3))
    for place in (0, 1) if both else (0,):
        groups: dict[str, list[int]] = defaultdict(list)
        for line, row in enumerate(rows):
            if row[place] is not None and row[2] is not None:
                groups[row[place]].append(line)  # type: ignore[index]
        for lines in groups.values():
            counts = Counter(rows[line][2] for line in lines)
            (most, often), *others = counts.most_common()
            decided = 2 * often > len(lines)
            believed |= {line for line in lines if decided and often > 1 and rows[line][2] == most}
            if others:
                (wrong if decided else open_).update(
                    line for line in lines if not decided or rows[line][2] != most
                )
    given_rows = text(
        zip=[row[0] for row in rows], phone=[row[1] for row in rows], city=[row[2] for row in rows]
    )
    result = validate(contract(ZIP, *([PHONE] if both else [])), given_rows)
    assert invalid(result) == sorted(wrong | (open_ - believed))


@pytest.mark.parametrize("order", [1, -1])
def test_nothing_hangs_on_the_order_of_rows(order: int) -> None:
    cells = [("1", "a")] * 3 + [("1", "b")] + [("2", "c")] * 2
    rows = cells[::order]
    found = invalid(validate(contract(ZIP), text(zip=[z for z, _ in rows], city=[c for _, c in rows])))
    assert [rows[line] for line in found] == [("1", "b")]
