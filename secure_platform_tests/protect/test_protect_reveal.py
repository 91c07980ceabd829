"""A cell says which transform of several made it, under a condition and inside JSON; none is another's."""

import json
from collections.abc import Sequence
from typing import Any, Final

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protect_examples import KEYS, column, dataset_plan, token, typed

from secure_platform.contract.model import Column
from secure_platform.errors import IntegrityError, UsageError
from secure_platform.protect.execute import apply
from secure_platform.protect.plan import DatasetPlan
from secure_platform.protect.reveal import CELL, VALUE, Made, made_by, released_cells, told

FREE: Final = "gdpr_pseudonymous"
SAME: Final = {"transform": "encrypt", "mode": "deterministic"}
OTHER: Final = {"transform": "encrypt", "mode": "randomized"}
STORED: Final = {"transform": "vault", "ttl": 3650}
NUMBER: Final = column("n", "integer", level="public")
VALUES: Final = [f"value {number}" for number in range(12)]


def conditional(then: Any, otherwise: Any, below: int = 1) -> dict[str, Any]:
    return {
        "transform": "conditional",
        "when": {"column": "n", "below": below},
        "then": then,
        "otherwise": otherwise,
    }


def treated(
    protect: Any, values: Sequence[Any] = VALUES, **more: Any
) -> tuple[DatasetPlan, pl.LazyFrame, list[str]]:
    """The plan of a column, its rows with `n` 0, 1, 2, 0, …, and what becomes of the values."""
    subject = column("v", protect=protect, **more)
    plan = dataset_plan(subject, NUMBER, profile=FREE)
    rows = {"v": list(values), "n": [place % 3 for place in range(len(values))]}
    frame = typed([subject, NUMBER], rows)
    return plan, frame, apply(plan, frame, KEYS).collect(engine="streaming")["v"].to_list()


def no_rows() -> pl.LazyFrame:
    raise AssertionError("nothing of this is looked up")


def revealed(
    plan: DatasetPlan, cells: Sequence[str], rows: pl.LazyFrame | None, name: str = "v"
) -> list[Any]:
    made = made_by({"people": plan}, "people", name)
    given = pl.Series(cells, dtype=pl.String)
    frame = told(made, given, no_rows if rows is None else lambda: rows, KEYS)
    assert frame[CELL].to_list() == list(cells)
    return frame[VALUE].to_list()


@pytest.mark.parametrize(
    ("then", "otherwise", "looked_up"),
    [
        (SAME, STORED, False),
        (STORED, SAME, False),
        (SAME, OTHER, False),
        (OTHER, SAME, False),
        (SAME, "tokenize", True),
        ("tokenize", STORED, True),
        (OTHER, "redact", False),
        ({**STORED, "format": "uuid"}, OTHER, False),
        (conditional(OTHER, SAME), conditional("tokenize", STORED, 2), True),
    ],
)
@pytest.mark.parametrize("backwards", [False, True])
def test_what_a_condition_parts_comes_back_from_every_part(
    then: Any, otherwise: Any, *, looked_up: bool, backwards: bool
) -> None:
    plan, rows, cells = treated(conditional(then, otherwise))
    pairs = [(cell, value) for cell, value in zip(cells, VALUES, strict=True) if cell is not None]
    pairs = pairs[::-1] if backwards else pairs
    found = revealed(plan, [cell for cell, _ in pairs], rows if looked_up else None)
    assert found == [value for _, value in pairs]


@given(st.lists(st.text(max_size=20), min_size=1, max_size=30, unique=True))
@settings(max_examples=25)
def test_any_text_comes_back(values: list[str]) -> None:
    plan, rows, cells = treated(conditional(conditional(OTHER, SAME), "tokenize", 2), values)
    assert revealed(plan, cells, rows) == values


def test_what_no_part_made_is_unknown_and_what_was_changed_refuses_all() -> None:
    plan, rows, cells = treated(conditional(SAME, "tokenize"))
    strangers = ["value 1", "e2_" + cells[0][3:], "v_" + "0" * 32, token("never", "people.v"), ""]
    assert revealed(plan, [*strangers, cells[0]], rows) == [None] * len(strangers) + [VALUES[0]]
    changed = cells[0][:-6] + ("A" if cells[0][-6] != "A" else "B") + cells[0][-5:]
    for forged in (changed, "e1_", "e1_AAAA", "e1_" + "A" * 44):
        with pytest.raises(IntegrityError):
            revealed(plan, [cells[3], forged], rows)
        plain = conditional(SAME, OTHER)
        with pytest.raises(IntegrityError):
            revealed(treated(plain)[0], [*treated(plain)[2], forged], None)


def test_a_cell_of_another_column_does_not_open_under_a_condition() -> None:
    _, _, others = treated(SAME)
    subject = column("w", protect=conditional(SAME, OTHER))
    plan = dataset_plan(subject, NUMBER, profile=FREE)
    with pytest.raises(IntegrityError):
        revealed(plan, others[:1], None, "w")


@pytest.mark.parametrize(
    ("then", "otherwise"), [("hash", "redact"), ("redact", "redact"), ("fake", "hash"), ("fpe", "hash")]
)
def test_what_all_parts_lost_nobody_undoes(then: Any, otherwise: Any) -> None:
    more = {"info_type": "PERSON_NAME"} if "fake" in (then, otherwise) else {}
    if "fpe" in (then, otherwise):
        more["pattern"] = "^[0-9]{12}$"
    plan, _, _ = treated(conditional(then, otherwise), ["123456789012"], **more)
    with pytest.raises(UsageError, match="nobody can undo"):
        made_by({"people": plan}, "people", "v")


def test_numbers_in_their_format_are_told_where_no_other_transform_makes_any() -> None:
    numbers = [f"{number:012}" for number in range(12)]
    more = {"pattern": "^[0-9]{12}$"}
    plan, _, cells = treated(conditional("fpe", "redact"), numbers, **more)
    kept = [cell for cell in cells if cell is not None]
    assert revealed(plan, kept, None) == numbers[::3]
    plan, _, cells = treated(conditional("fpe", SAME), numbers, **more)
    expected = [None if place % 3 == 0 else number for place, number in enumerate(numbers)]
    assert revealed(plan, cells, None) == expected


MEMBERS: Final = [
    column("details.mail", protect=SAME),
    column("details.phone", protect="tokenize"),
    column("details.visits.day", "date", protect=OTHER),
    column("details.secret", protect="hash"),
    column("details.gone", protect="drop"),
]
DOCUMENTS: Final[list[dict[str, Any]]] = [
    {
        "mail": f"person{number}@example.com",
        "phone": [f"0{number}", f"1{number}"],
        "visits": [{"day": f"2024-01-{number + 1:02}"}, {"day": None}],
        "secret": "x",
        "gone": "y",
    }
    for number in range(9)
]


def documents(
    members: list[Column] = MEMBERS, values: Sequence[Any] = DOCUMENTS
) -> tuple[DatasetPlan, Any, Any]:
    subject = column("details", members=tuple(members))
    plan = dataset_plan(subject, NUMBER, profile=FREE)
    texts = [None, "no JSON", *map(json.dumps, values)]
    rows = typed([subject, NUMBER], {"details": texts, "n": [1] * len(texts)})
    return plan, rows, apply(plan, rows, KEYS).collect(engine="streaming").lazy()


def cells_of(made: Made, protected: pl.LazyFrame) -> list[str]:
    frame = released_cells(protected, made.outer, made).unique(maintain_order=True)
    return frame.collect()[CELL].to_list()


@pytest.mark.parametrize(
    ("name", "expected", "looked_up"),
    [
        ("details.mail", [each["mail"] for each in DOCUMENTS], False),
        ("details.phone", [phone for each in DOCUMENTS for phone in each["phone"]], True),
        ("details.visits.day", [each["visits"][0]["day"] for each in DOCUMENTS], False),
    ],
)
def test_a_value_inside_json_is_named_and_told(name: str, expected: list[str], *, looked_up: bool) -> None:
    plan, rows, protected = documents()
    made = made_by({"people": plan}, "people", name)
    cells = cells_of(made, protected)
    assert [str(value) for value in revealed(plan, cells, rows if looked_up else None, name)] == expected
    assert not set(cells) & set(expected)


def test_a_list_of_values_is_named_as_its_column() -> None:
    plan, rows, protected = documents([column("details", protect="tokenize")], [["a", "b"], ["c", "a"]])
    made = made_by({"people": plan}, "people", "details")
    assert revealed(plan, cells_of(made, protected), rows, "details") == ["a", "b", "c"]


@pytest.mark.parametrize("name", ["details", "details.nothing", "details.gone", "details.visits", "$.mail"])
def test_what_is_no_value_in_json_is_refused_with_those_that_are(name: str) -> None:
    plan, _, _ = documents()
    with pytest.raises(UsageError, match=r"has no column people\.") as refused:
        made_by({"people": plan}, "people", name)
    assert "people.details.mail" in refused.value.fix
    assert "people.details.gone" not in refused.value.fix


def test_what_is_hashed_inside_json_stays_so() -> None:
    plan, _, _ = documents()
    with pytest.raises(UsageError, match="nobody can undo"):
        made_by({"people": plan}, "people", "details.secret")


def test_a_value_of_one_path_does_not_open_as_that_of_another() -> None:
    plan, _, protected = documents(
        [column("details.a", protect=SAME), column("details.b", protect=SAME)], [{"a": "x"}]
    )
    cells = cells_of(made_by({"people": plan}, "people", "details.a"), protected)
    with pytest.raises(IntegrityError):
        revealed(plan, cells, None, "details.b")
